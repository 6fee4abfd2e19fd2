"""An account with a past, imported from the sandbox through Stripe's own library: killed on the way, complete, none doubled."""

from __future__ import annotations

import datetime as dt
import os
import random
import resource
import time
from collections import Counter

import pytest
from sqlalchemy import func, select

from services.billing.adapters.stripe.lists import StripeLists
from services.billing.domain.errors import StripeRateLimited
from services.billing.models import OutboxEvent
from services.billing.queries import imports, outbox
from services.billing.stripe_events.imports import Run
from services.billing.workflows import importing
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import ImportRunning
from tests.unit.stories.house import House
from tests.unit.stories.steps import opens, renewal_fails

CUSTOMERS = int(os.environ.get("IMPORT_CUSTOMERS", "200"))
pytestmark = pytest.mark.timeout(300 + CUSTOMERS // 10)
KILLS = 1 if CUSTOMERS < 1000 else 3


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def house() -> House:
    """An account of CUSTOMERS customers, of whom three in five are subscribed and one in twenty-five owes."""
    house = House()
    opens()(house)
    renewal_fails("insufficient_funds")(house)
    (failed,) = house.failed_invoices()
    house.call(
        "/sandbox/crowd",
        customers=CUSTOMERS - 1,
        subscriptions=CUSTOMERS * 3 // 5,
        invoices=CUSTOMERS // 25,
        customer=house.customer_id,
        subscription=house.subscription_id,
        invoice=failed["id"],
    )
    return house


def test_an_account_with_a_past_is_imported_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after commits, slowed down by Stripe: each customer, subscription and open invoice is told once, by as many
    reads as there are pages and one for each that was killed."""
    lists = StripeLists(house.gateway)
    dice, clock = random.Random(1), [dt.datetime.now(dt.UTC)]
    pages = CUSTOMERS // 100 + 3
    deaths = sorted(dice.sample(range(1, pages), min(KILLS, pages - 1)))
    advance, read, limited = imports.advance, lists.page, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def dies(*given: object, **options: object) -> object:
        done = advance(*given, **options)  # type: ignore[arg-type]
        if done is not None and deaths and done.reads >= deaths[0]:
            deaths.pop(0)
            raise Killed  # before the commit
        return done

    def sometimes(*given: object, **options: object) -> object:
        nonlocal limited
        if dice.random() < 0.05:
            limited += 1
            raise StripeRateLimited("429")
        return read(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(imports, "advance", dies)
    monkeypatch.setattr(lists, "page", sometimes)
    monkeypatch.setattr(outbox.OUTBOX, "backlog", lambda *_: (0, 0.0))
    holder, refused, began = 0, 0, time.monotonic()
    while True:
        run = Run(OWN, False, "", clock[0])
        try:
            step = importing.step(
                house.billing, lists, None, run, holder=f"holder-{holder}", clock=lambda: clock[0]
            )
        except Killed:
            holder += 1
            continue
        except ImportRunning:  # the dead one's lease
            refused += 1
            clock[0] += importing.LEASE
            continue
        if step.progress.finished:
            break
    seconds = time.monotonic() - began
    done = step.progress
    assert (done.customers, done.subscriptions) == (CUSTOMERS, CUSTOMERS * 3 // 5 + 1)
    assert done.invoices == CUSTOMERS // 25 + 1
    assert holder == refused == KILLS
    with house.billing.reading() as session:
        types = Counter(dict(session.execute(select(OutboxEvent.type, func.count()).group_by(OutboxEvent.type)).tuples().all()))  # fmt: skip
    assert types["subscription.imported"] == done.subscriptions
    assert types["invoice.imported"] == done.invoices
    # The first customer's own webhooks have told of it before.
    with house.billing.reading() as session:
        told = session.scalar(
            select(func.count()).where(OutboxEvent.event_id.like("import/%/customer.seen"))
        )
    assert told == done.customers + done.subscriptions
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(
        f"{CUSTOMERS:,} customers, {done.subscriptions:,} subscriptions, {done.invoices:,} open invoices: {done.reads:,} reads, "
        f"{limited} times 429, killed {holder} times, {seconds:.1f} s, "
        f"{(done.customers + done.subscriptions + done.invoices) / seconds:,.0f} objects a second, {grown} MB more at the most"
    )


def test_the_length_of_the_account_is_told_about_right(house: House) -> None:
    """By a few reads of each list."""
    plan = importing.plan(house.billing, StripeLists(house.gateway), OWN)
    assert plan.lacking == ()
    for what, number in (("customers", CUSTOMERS), ("subscriptions", CUSTOMERS * 3 // 5 + 1)):
        assert 0.6 * number <= plan.sizes[what] <= 1.6 * number  # type: ignore[index]
