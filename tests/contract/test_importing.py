"""An account with a past, imported from the sandbox through Stripe's own library: killed on the way, complete, none doubled."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter

import pytest
import stripe  # noqa: TID251
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

CUSTOMERS = 200
KILLS = 1


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
    advance, read = imports.advance, lists.page

    def dies(*given: object, **options: object) -> object:
        done = advance(*given, **options)  # type: ignore[arg-type]
        if done is not None and deaths and done.reads >= deaths[0]:
            deaths.pop(0)
            raise Killed  # before the commit
        return done

    def sometimes(*given: object, **options: object) -> object:
        if dice.random() < 0.05:
            raise StripeRateLimited("429")
        return read(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(imports, "advance", dies)
    monkeypatch.setattr(lists, "page", sometimes)
    monkeypatch.setattr(outbox.OUTBOX, "backlog", lambda *_: (0, 0.0))
    holder = refused = 0
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


def test_the_length_of_the_account_is_told_about_right(house: House) -> None:
    """By a few reads of each list."""
    plan = importing.plan(house.billing, StripeLists(house.gateway), OWN, pause=pytest.fail)
    assert plan.lacking == ()
    for what, number in (("customers", CUSTOMERS), ("subscriptions", CUSTOMERS * 3 // 5 + 1)):
        assert 0.6 * number <= plan.sizes[what] <= 1.6 * number  # type: ignore[index]


def test_a_page_is_read_without_the_librarys_objects(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would make thousands of a page: tens of milliseconds in which nobody else is answered."""

    def made(*given: object, **options: object) -> None:
        raise AssertionError("one of the library's objects was made")

    monkeypatch.setattr(stripe.StripeObject, "_refresh_from", made)
    with pytest.raises(AssertionError, match="was made"):
        house.gateway.api.customers.list({"limit": 1})
    lists = StripeLists(house.gateway)
    for what in ("customers", "subscriptions", "invoices"):
        assert len(lists.page(what, None).objects) > 5
    since = house.now() - dt.timedelta(days=7)
    pages = house.gateway.events_since(since, ["invoice.payment_failed"], 1)
    assert [len(page) for page in pages] == [1]
