"""Every statement that the portal sends to its database."""

from services.portal.queries.page import lookup_many

__all__ = ["lookup_many"]
