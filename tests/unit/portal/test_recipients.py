"""Who emails were meant for, as people's command line is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from services.portal.rpc.recipients import MOST_RECIPIENTS, Recipients
from shared.contracts.rpc.errors import InvalidArgument
from tests.unit.portal.builders import add_business, add_customer


@pytest.fixture
def portal(session: Session) -> Recipients:
    """The entrypoints on the session of the test."""

    @contextmanager
    def reading() -> Iterator[Session]:
        yield session

    made = Recipients()
    made.db = SimpleNamespace(reading=reading)
    return made


def test_an_address_is_told_only_where_it_is_asked_for(
    portal: Recipients, session: Session
) -> None:
    """The name is enough to know a customer by; nobody who only looks learns where they can be written to."""
    add_business(session)
    add_customer(session, platform_stripe_customer_id="cus_1")
    told = portal.recipients(["cus_1", "cus_unknown"])
    assert set(told) == {"cus_1"}
    assert (told["cus_1"].name, told["cus_1"].email) == ("Maria Lopez", "m•••@e•••.com")
    assert (told["cus_1"].business_id, told["cus_1"].external_id) == ("sunrise", "c1")
    assert portal.recipients(["cus_1"], addresses=True)["cus_1"].email == "maria@example.com"
    assert "aria" not in repr(told)


def test_a_customer_of_portico_s_own_id_is_found_too(portal: Recipients, session: Session) -> None:
    """An email that was asked for by it names no Stripe customer."""
    add_business(session)
    made = add_customer(session)
    assert portal.recipients([made.customer_id])[made.customer_id].external_id == "c1"


def test_a_stripe_customer_is_looked_for_in_its_own_account(
    portal: Recipients, session: Session
) -> None:
    """Another account may have one of the same id."""
    add_business(session)
    add_customer(session, platform_stripe_customer_id="cus_1")
    assert portal.recipients(["cus_1"], account="acct_1Other") == {}


def test_one_call_is_bounded(portal: Recipients) -> None:
    """More are refused before the database is asked."""
    with pytest.raises(InvalidArgument, match="at most 500"):
        portal.recipients(["cus_1"] * (MOST_RECIPIENTS + 1))
