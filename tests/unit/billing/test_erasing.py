"""Forgetting a customer in what billing keeps: that one, and nobody whose id begins alike."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.billing.handlers.erasure import erase
from services.billing.models import InboxEvent, OutboxEvent
from services.billing.queries.erasure import ERASED
from services.billing.service import BillingService
from services.portal.domain.people import STRIPE_CUSTOMER
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.errors import InvalidArgument
from shared.database import Transactions
from tests.unit.billing.conftest import payload, with_fields
from tests.unit.billing.test_inbox import outbox, receive, stored

EVENTS = ("invoice.payment_failed", "customer.deleted")


def forget(database: Transactions, stripe_customer_id: str, also: list[str]) -> None:
    after: str | None = "inbox:"
    while after is not None:
        with database.transaction() as session:
            found = StripeId(OWN, stripe_customer_id)
            after = erase(session, found, also=also, after=after).next


def kept(database: Transactions) -> tuple[list[InboxEvent], list[OutboxEvent]]:
    return [row for row in stored(database) if row.reason != ERASED], outbox(database)


@pytest.fixture
def customer(database: Transactions) -> str:
    """Stripe's id of a customer of whom two webhooks came."""
    told = json.loads(payload("invoice.payment_failed"))["data"]["object"]["customer"]
    receive(database, EVENTS[0])
    receive(database, EVENTS[1], with_fields(id=told))
    return str(told)


@pytest.mark.whole
def test_somebody_whose_id_begins_alike_is_left_alone(
    database: Transactions, customer: str
) -> None:
    """Whoever may name a Stripe customer of their own can make an id up for that."""
    before = kept(database)
    assert len(before[0]) == len(before[1]) == 2
    for other in (customer[:-1], customer[:6], customer[1:], f"{customer}x"):
        forget(database, other, [])
        forget(database, "cus_somebodyelse", [other])
    assert [len(rows) for rows in kept(database)] == [2, 2]


def test_a_customer_is_forgotten_by_the_id(database: Transactions, customer: str) -> None:
    """Bodies are emptied, our own events go, those whose key names them among them."""
    forget(database, customer, [])
    assert kept(database) == ([], [])


def test_an_id_in_a_text_inside_the_body_counts(database: Transactions) -> None:
    """As other tools write JSON into metadata."""
    noted = with_fields(metadata={"crm": json.dumps({"customer": "cus_inside"})})
    receive(database, EVENTS[0], noted)
    forget(database, "cus_inside", [])
    assert kept(database)[0] == []


@pytest.mark.parametrize("also", [[], ["dana@example.com"]])
def test_what_was_said_of_a_profile_goes_too(database: Transactions, also: list[str]) -> None:
    """Name and address stand in the outbox: they go with the customer, or, where only the address is known, by that."""
    made = json.loads(payload("customer.created"))["data"]["object"]["id"]
    receive(database, "customer.created")
    receive(database, "invoice.paid")
    assert sum("dana@example.com" in row.body for row in outbox(database)) == 2
    forget(database, "cus_somebodyelse" if also else made, also)
    assert not any("dana@example.com" in row.body for row in outbox(database))


def test_the_shortest_id_that_a_host_may_give_is_forgotten(database: Transactions) -> None:
    """One that was mistyped is no reason to keep the customer: it is refused nowhere else."""
    assert re.fullmatch(STRIPE_CUSTOMER, "cus_1")
    receive(database, EVENTS[0], with_fields(customer="cus_1"))
    service: Any = BillingService()
    service.database = database
    told = service.erase_customer("cus_1", also=["a@b.cc"])
    assert (told.emptied, kept(database)[0]) == (1, [])
    with pytest.raises(InvalidArgument, match="marks"):
        service.erase_customer("cus_")
