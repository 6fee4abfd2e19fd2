"""The business, or the customer, that must be there for what a caller asks."""

from __future__ import annotations

from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow
from services.portal.queries import customers as people
from shared.contracts.rpc.errors import NotFound


def business(session: Session, business_id: str, *, lock: bool = False) -> BusinessRow:
    """A business by the host's id. Raises NotFound."""
    row = people.business(session, business_id, lock=lock)
    if row is None:
        raise NotFound("business_id: no such business")
    return row


def customer(session: Session, customer_id: str, *, lock: bool = False) -> CustomerRow:
    """A customer by Portico's id, their own or that of one who was merged into them. Raises NotFound."""
    row = people.customer(session, customer_id, lock=lock)
    if row is None:
        raise NotFound("customer_id: no such customer")
    return row
