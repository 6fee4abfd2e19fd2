"""A person who is forgotten takes along what Stripe told of them, whether or not anybody was linked with it."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.handlers import customers, importing, proposals
from services.portal.models import CustomerRow, LinkProposalRow, StripeProfileRow
from services.portal.retention import RULES
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.portal import CustomerErasure
from shared.retention import RETENTION, prune_batch
from tests.unit.portal.builders import NOW, add_business, add_customer, ahead, enrol, seen


def kept(session: Session) -> list[str]:
    """The Stripe customers of whom anything is kept."""
    return list(session.scalars(select(StripeProfileRow.stripe_customer_id)))


def forget(session: Session, customer_id: str, *, alone: bool = False) -> CustomerErasure:
    return importing.erase(
        session, OWN, customer_id=customer_id, stripe_customer_id=None, now=NOW, alone=alone
    )


@pytest.mark.parametrize("enrolment", ["by_host", "from_stripe"])
def test_what_stripe_told_of_the_same_address_goes_along(session: Session, enrolment: str) -> None:
    """With what people decided about it; its id is told, since Stripe has it still. What only says that it pays enrols nobody then."""
    add_business(session, enrolment=enrolment)
    customer_id = add_customer(session, "c1", email="M@example.com").customer_id
    enrol(session, seen("cus_x", "m@example.com", name="Maria", pays="paid", imported=True))
    enrol(session, seen("cus_y", "M@example.com", imported=True))
    proposals.refuse(session, proposal_ids=[f"cus_x:{customer_id}"], decided_by="ann", now=NOW)
    done = forget(session, customer_id)
    assert done.same_email == ["cus_x", "cus_y"]
    assert done.rows == 4
    assert kept(session) == []
    assert session.scalars(select(LinkProposalRow)).all() == []
    enrol(session, seen("cus_x", None, pays="subscribed", at=ahead(hours=1)))
    assert session.scalars(select(CustomerRow)).all() == []
    assert forget(session, customer_id).same_email == []


@pytest.mark.whole
def test_what_is_anothers_stays(session: Session) -> None:
    """Of a Stripe customer that is linked with somebody, on another account, and while another customer has the address."""
    add_business(session, enrolment="from_stripe")
    add_business(session, "elsewhere", stripe_account="acct_e", enrolment="from_stripe")
    mine = add_customer(session, "c1", email="m@example.com").customer_id
    other = add_customer(session, "c2", email="M@example.com").customer_id
    linked = add_customer(session, "c3", email="o@example.com").customer_id
    customers.link_customer(session, customer_id=linked, stripe_customer_id="cus_l", now=NOW)
    enrol(
        session,
        *(seen(one, "m@example.com") for one in ("cus_l", "cus_x")),
        seen("cus_e", "m@example.com", account="acct_e"),
    )
    assert forget(session, mine).same_email == []
    assert sorted(kept(session)) == ["cus_e", "cus_l", "cus_x"]
    assert forget(session, other).same_email == ["cus_x"]
    assert sorted(kept(session)) == ["cus_e", "cus_l"]


@pytest.mark.whole
def test_a_business_that_shares_its_account_forgets_no_address(session: Session) -> None:
    """It may give a customer of its own any; one that has the account alone may."""
    add_business(session, enrolment="from_stripe")
    customer_id = add_customer(session, "c1", email="m@example.com").customer_id
    enrol(session, seen("cus_x", "m@example.com"))
    add_business(session, "other")
    theirs = add_customer(session, "o", business_id="other", email="m@example.com").customer_id
    forget(session, customer_id, alone=True)
    assert forget(session, theirs, alone=True).same_email == []
    assert kept(session) == ["cus_x"]
    add_business(session, "single", stripe_account="acct_s", enrolment="from_stripe")
    single = add_customer(session, "s", business_id="single", email="m@example.com").customer_id
    enrol(session, seen("cus_s", "m@example.com", account="acct_s"))
    assert forget(session, single, alone=True).same_email == ["cus_s"]


@pytest.mark.whole
def test_an_address_that_is_nobodys_any_more_goes_in_time(session: Session) -> None:
    """Where nobody enrols: a customer has another one now. Where a business does, it is kept for whoever is to be enrolled."""
    add_business(session)
    add_business(session, "enrols", stripe_account="acct_e", enrolment="from_stripe")
    add_customer(session, "c1", email="m@example.com")
    add_customer(session, "c2", email="Stays@example.com")
    enrol(
        session,
        seen("cus_x", "m@example.com", imported=True),
        seen("cus_y", "stays@example.com", imported=True),
        seen("cus_e", "m@example.com", account="acct_e"),
    )
    name = StripeProfileRow.__tablename__
    assert prune_batch(session, RULES, NOW - RETENTION)[name] == 0
    changed = update(CustomerRow).where(CustomerRow.external_id == "c1")
    session.execute(changed.values(email="new@example.com"))
    assert prune_batch(session, RULES, NOW - RETENTION)[name] == 1
    assert sorted(kept(session)) == ["cus_e", "cus_y"]
    assert Account("acct_e") in set(session.scalars(select(StripeProfileRow.account)))
