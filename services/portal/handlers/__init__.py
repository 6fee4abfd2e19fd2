"""The portal's use cases: plain functions of a session, ports and a message."""
