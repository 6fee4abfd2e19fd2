"""The portal's pure rules. Standard library only."""
