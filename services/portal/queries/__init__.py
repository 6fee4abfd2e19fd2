"""Every statement that the portal sends to its database."""

from services.portal.queries.page import lookup, lookup_many

__all__ = ["lookup", "lookup_many"]
