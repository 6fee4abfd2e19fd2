"""The sandbox's mailbox and pages, without a network."""
