"""For which business a Stripe customer is enrolled, where several could be meant."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow, StripeProfileRow
from services.portal.queries.profiles import MOST_ALIKE, stripe_ids_with_email
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import InvalidArgument
from tests.unit.portal.builders import (
    add_business,
    add_customer,
    ahead,
    enrol,
    says,
    seen,
    take_in,
)
from tests.unit.portal.test_enrolling import rows, standings


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session, enrolment="from_stripe")


def test_nothing_is_kept_where_nobody_enrols(session: Session) -> None:
    """By host is the default: no profile, no customer; but an import's Stripe customers with a customer's address are proposed."""
    add_business(session, enrolment=None)
    add_customer(session, "c1", email="c1@example.com")
    enrol(session, seen("cus_1", "c1@example.com", pays="paid"))
    enrol(session, seen("cus_2", "nobody@example.com", pays="paid", imported=True))
    assert session.scalars(select(StripeProfileRow)).all() == []
    enrol(session, seen("cus_1", "C1@example.com", pays="paid", imported=True))
    assert list(rows(session)) == ["c1"]
    assert standings(session) == {"cus_1": ("proposed", None)}


def test_who_stops_enrolling_keeps_customers_and_no_strangers(session: Session) -> None:
    """Those who were enrolled stay; what Stripe told of others goes, but for open proposals."""
    add_customer(session, "c1", email="c1@example.com")
    enrol(
        session, seen(pays="paid"), seen("cus_2", "c1@example.com"), seen("cus_3", "z@example.com")
    )
    add_business(session, enrolment="by_host")
    kept = set(session.scalars(select(StripeProfileRow.stripe_customer_id)))
    assert kept == {"cus_1", "cus_2"}
    assert rows(session)["stripe:cus_1"].platform_stripe_customer_id == "cus_1"


def test_two_businesses_of_one_account_do_not_both_enrol(session: Session) -> None:
    """Refused with the name of the other one, whichever comes second; another account, or another behalf, is another matter."""
    with pytest.raises(InvalidArgument, match="enrolment: sunrise enrols"):
        add_business(session, "second", enrolment="from_stripe")
    session.rollback()


def test_a_business_that_enrols_moves_to_no_account_where_another_does(session: Session) -> None:
    """The rule holds for a change of account as well."""
    add_business(session, "second", stripe_account="acct_2", enrolment="from_stripe")
    with pytest.raises(InvalidArgument, match="enrolment: sunrise enrols"):
        add_business(session, "second", stripe_account=None)


@pytest.mark.whole
def test_on_a_platform_the_payment_says_whose_customer(session: Session) -> None:
    """Who they are is told of the Stripe customer, and which business they pay by what they paid."""
    for one in ("a", "b"):
        add_business(
            session,
            one,
            stripe_account="acct_p",
            on_behalf_of=f"acct_{one}",
            enrolment="from_stripe",
        )
    enrol(session, seen(email=None, pays="paid", account="acct_p", on_behalf_of="acct_a"))
    enrol(session, seen(name="Maria", account="acct_p"))
    (row,) = rows(session).values()
    assert (row.on_behalf_of, row.email, row.platform_stripe_customer_id) == (
        "acct_a",
        "maria@example.com",
        "cus_1",
    )
    enrol(session, seen(email=None, pays="subscribed", account="acct_p", on_behalf_of="acct_b"))
    found = session.scalars(select(CustomerRow.on_behalf_of).order_by(CustomerRow.id)).all()
    assert found == ["acct_a", "acct_b"]


def platform(session: Session, **x: Any) -> None:
    """P has what is charged for nobody, and X what is charged on its behalf; P enrols."""
    add_business(session, "p", stripe_account="acct_p", enrolment="from_stripe")
    add_business(session, "x", stripe_account="acct_p", on_behalf_of="acct_x", **x)


def of_business(session: Session, business_id: str) -> list[str]:
    session.flush()
    return list(
        session.scalars(
            select(CustomerRow.external_id)
            .join(BusinessRow, BusinessRow.id == CustomerRow.business_pk)
            .where(BusinessRow.business_id == business_id)
            .order_by(CustomerRow.id)
        )
    )


@pytest.mark.whole
@pytest.mark.parametrize("pays", ["saved_method", "paid", "subscribed"])
@pytest.mark.parametrize("word", ["host", "metadata", "metadata of one to come"])
def test_another_businesss_stripe_customer_is_neither_enrolled_nor_told(
    session: Session, pays: str, word: str
) -> None:
    """By the other one's host, by metadata, by metadata that names somebody of whom its host has not told yet: this business makes no
    customer of them, and hears nothing, though they have the address of one of its own."""
    platform(session)
    add_customer(session, "p1", business_id="p", email="maria@example.com")
    if word == "host":
        add_customer(
            session, "x1", business_id="x", email="x@x.example", platform_stripe_customer_id="cus_1"
        )
    else:
        if word == "metadata":
            add_customer(session, "x1", business_id="x", email="x@x.example")
        told = says("x1", "cus_1", business="x", account="acct_p", on_behalf_of="acct_x")
        take_in(session, told)
    enrol(session, seen(name="Maria", pays=pays, account="acct_p"))
    enrol(session, seen(email="new@example.com", account="acct_p", at=ahead(hours=1)))
    assert of_business(session, "p") == ["p1"]
    assert standings(session, "p") == {}


@pytest.mark.whole
def test_a_card_saved_for_no_business_in_particular_makes_nobody_a_customer(
    session: Session,
) -> None:
    """On a platform it may have been saved for any; whoever pays without a behalf is the customer of the business without one, though
    the card came first. Where no business names a behalf a card is enough."""
    platform(session, enrolment="from_stripe")
    enrol(session, seen(pays="saved_method", account="acct_p"))
    enrol(session, seen(email=None, pays="paid", account="acct_p", on_behalf_of="acct_x"))
    assert (of_business(session, "p"), of_business(session, "x")) == ([], ["stripe:cus_1"])
    assert standings(session, "p") == {"cus_1": ("not_paying", None)}
    later = ahead(hours=1)
    enrol(session, seen(email=None, pays="subscribed", account="acct_p", at=later))
    assert of_business(session, "p") == ["stripe:cus_1"]


@pytest.mark.whole
def test_the_address_of_another_businesss_customer_is_told_to_nobody(session: Session) -> None:
    """On an account that businesses share, whoever pays with it may be that one's customer: nobody is enrolled, nothing is told, and no
    enrolled one gets the address. On a behalf, the payment says whose customer they are."""
    add_business(session, "other")
    add_customer(session, "v", business_id="other", email="V@example.com")
    enrol(session, seen("cus_1", "v@example.com", pays="paid"))
    enrol(session, seen("cus_2", "v@example.com"), seen("cus_3", "3@example.com", pays="paid"))
    enrol(session, seen("cus_3", "v@example.com", at=ahead(hours=1)))
    assert of_business(session, "sunrise") == ["stripe:cus_3"]
    assert rows(session)["stripe:cus_3"].email == "3@example.com"
    assert standings(session) == {}
    platform(session, enrolment="from_stripe")
    add_customer(session, "p1", business_id="p", email="v@example.com")
    paid = seen("cus_9", "v@example.com", pays="paid", account="acct_p", on_behalf_of="acct_x")
    enrol(session, paid)
    assert of_business(session, "x") == ["stripe:cus_9"]


@pytest.mark.whole
def test_an_address_that_a_crowd_has_is_in_doubt_without_looking_at_all(session: Session) -> None:
    """Anybody can make Stripe customers with a victim's address: of each address a few are looked at, and more than that are in doubt."""
    add_customer(session, "v", email="v@example.com")
    crowd = [f"cus_{number:03d}" for number in range(MOST_ALIKE + 5)]
    enrol(session, *(seen(one, "v@example.com", pays="paid") for one in crowd))
    enrol(session, seen("cus_alone", "w@example.com"))
    emails = {"v@example.com", "w@example.com"}
    found, crowded = stripe_ids_with_email(session, OWN, emails, ["cus_001"])
    assert found == {"cus_000", "cus_alone", *crowd[2 : MOST_ALIKE + 1]}
    assert crowded == {"v@example.com"}
    assert standings(session)["cus_001"] == ("ambiguous", "several_stripe_customers")
