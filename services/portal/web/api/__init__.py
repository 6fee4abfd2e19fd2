"""The HTTP API for host applications: `/api/v1`, on a listener of its own."""
