"""Finding a customer by what a person has at hand, and what forgetting one counts."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import importing
from services.portal.models import AppointmentRow, CustomerRow
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import NotFound
from tests.unit.portal.builders import NOW, add_business, add_customer


def test_a_number_of_several_businesses_is_said_to_be_one(session: Session) -> None:
    """The host numbers customers anew in each business: without its name none is taken, and the error names those that know it."""
    for business_id in ("sunrise", "moon", "star"):
        add_business(session, business_id)
        if business_id != "star":
            add_customer(session, "1001", business_id=business_id)
    with pytest.raises(
        NotFound, match=r"several businesses know .*: name the business \(sunrise, moon\)"
    ):
        importing.find(session, OWN, "1001", None)
    assert importing.find(session, OWN, "1001", "moon").business_id == "moon"
    add_customer(session, "7", business_id="star")
    with pytest.raises(NotFound, match=r"there are several businesses, and one knows .*\(star\)"):
        importing.find(session, OWN, "7", None)
    with pytest.raises(NotFound, match="no such customer"):
        importing.find(session, OWN, "8", None)


def test_an_erasure_counts_every_row_that_went(session: Session) -> None:
    """The customer's own row and their appointments, not only what was kept of the Stripe customer; nothing the second time."""
    add_business(session)
    public_id = add_customer(session).customer_id
    key = session.scalars(select(CustomerRow.id)).one()
    for number in range(2):
        session.add(
            AppointmentRow(
                customer_pk=key, external_id=str(number), starts_at=NOW, status="confirmed",
                title="Cleaning", updated_at=NOW,
            )
        )  # fmt: skip
    session.flush()
    done = importing.erase(session, OWN, customer_id=public_id, stripe_customer_id=None, now=NOW)
    assert (done.customer, done.rows) == (True, 3)
    assert session.scalars(select(CustomerRow)).all() == []
    again = importing.erase(session, OWN, customer_id=public_id, stripe_customer_id=None, now=NOW)
    assert (again.customer, again.rows) == (False, 0)
