"""Every statement that the portal sends to its database."""
