"""The import of an account: everything once, wherever it dies."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from services.billing.adapters.stripe.webhook import TOLERANCE_SECONDS
from services.billing.domain.budget import BURST_SECONDS, SHARE, Budget
from services.billing.domain.errors import (
    ObjectGone,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.list_sizes import ObjectPage, estimate
from services.billing.handlers.erasure import erase
from services.billing.models import OutboxEvent, StripeImportCustomer
from services.billing.queries import imports, outbox, reconciliation
from services.billing.stripe_events.imports import DONE, Listed, Run
from services.billing.workflows import importing
from services.billing.workflows.importing import LEASE, MOST_WAITING, NEXT_CALL, Step
from shared import events
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.errors import ImportRunning
from shared.contracts.rpc.imports import LIVE_WORK, OUTBOX, STRIPE
from shared.database import Transactions
from tests.unit.billing.conftest import NOW, Clock

SIZE = 3
"""Objects of a page here."""


@dataclass
class FakeLists:
    """Stripe's lists in memory, newest first."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    troubles: list[Exception] = field(default_factory=list)
    reads: int = 0

    def page(
        self, what: str, after: str | None, *, before: dt.datetime | None = None
    ) -> ObjectPage:
        self.reads += 1
        if what in self.forbidden:
            raise StripePermissionMissing
        if self.troubles:
            raise self.troubles.pop(0)
        listed = self.objects.get(what, [])
        start = 0
        if after is not None:
            start = [one["id"] for one in listed].index(after) + 1
        if before is not None:
            start = sum(one["created"] >= before.timestamp() for one in listed)
        found = listed[start : start + SIZE]
        return ObjectPage(
            [json.dumps(one).encode() for one in found],
            len(listed) > start + SIZE,
            found[-1]["id"] if found else None,
            found[0]["created"] if found else 0,
            found[-1]["created"] if found else 0,
        )


def never(seconds: float) -> None:
    """There is nothing to wait for."""
    raise AssertionError(f"waited {seconds} s")


def customer(number: int, **given: Any) -> dict[str, Any]:
    return {
        "id": f"cus_{number:05d}",
        "object": "customer",
        "created": 1_790_000_000 - number * 60,
        "email": f"c{number}@example.com",
        "name": f"Customer {number}",
        "preferred_locales": [],
        "metadata": {},
    } | given


def subscription(number: int, **given: Any) -> dict[str, Any]:
    return {
        "id": f"sub_{number:05d}",
        "object": "subscription",
        "created": 1_790_000_000 - number * 60,
        "customer": f"cus_{number:05d}",
        "status": "active",
        "items": {"data": []},
    } | given


def invoice(number: int, **given: Any) -> dict[str, Any]:
    return {
        "id": f"in_{number:05d}",
        "object": "invoice",
        "created": 1_790_000_000 - number * 60,
        "customer": customer(number),
        "status": "open",
        "currency": "usd",
        "amount_due": 8900,
        "amount_remaining": 8900,
        "attempted": True,
        "attempt_count": 2,
    } | given


@pytest.fixture
def lists() -> FakeLists:
    return FakeLists(
        {
            "customers": [customer(number) for number in range(8)],
            "subscriptions": [subscription(number) for number in range(5)],
            "invoices": [invoice(number) for number in range(4)],
        }
    )


Walk = Callable[..., Step]


@pytest.fixture
def walk(database: Transactions, lists: FakeLists, clock: Clock) -> Walk:
    def step(holder: str = "holder", budget: Budget | None = None) -> Step:
        run = Run(OWN, False, "", clock())
        return importing.step(
            database, lists, budget or Budget(1e9), run, holder=holder, clock=clock
        )

    return step


def finish(walk: Walk, holder: str = "holder") -> Step:
    for _ in range(50):
        done = walk(holder)
        if done.progress.finished:
            return done
    raise AssertionError("it never ends")


def said(database: Transactions) -> list[events.Event]:
    with database.reading() as session:
        return [events.decode(body) for body in session.scalars(select(OutboxEvent.body))]


def counted(database: Transactions) -> Counter[str]:
    return Counter(one.type for one in said(database))


def test_all_of_an_account_is_told_once(database: Transactions, walk: Walk) -> None:
    """Each customer, each subscription with who pays it, each open invoice; and no failure, which would be mailed."""
    done = finish(walk).progress
    assert (done.customers, done.subscriptions, done.invoices) == (8, 5, 4)
    assert counted(database) == {
        "customer.seen": 8 + 5,
        "subscription.imported": 5,
        "invoice.imported": 4,
    }
    assert done.events == 8 + 5 + 5 + 4
    assert all(one.data.imported for one in said(database) if one.type == "customer.seen")  # type: ignore[attr-defined]


def test_what_happens_while_an_import_reads_is_newer_than_what_it_read(
    database: Transactions, walk: Walk
) -> None:
    """Also by a clock that is as far ahead of Stripe's as its webhooks are still taken: a subscription that falls behind in the second after its page was
    read would else be shown as paid, for good."""
    walk("holder")
    ahead = dt.timedelta(seconds=TOLERANCE_SECONDS)
    assert said(database)
    assert {one.occurred_at for one in said(database)} == {NOW - ahead}


@pytest.mark.whole
@pytest.mark.parametrize("page", range(7))
def test_an_import_that_dies_goes_on_where_it_was(
    database: Transactions, walk: Walk, clock: Clock, lists: FakeLists, page: int
) -> None:
    """Whichever page was the last: the next holder reads what is left, and nothing is said twice."""
    for _ in range(page):
        walk("first-holder")
    before = lists.reads
    clock.forward(seconds=LEASE.total_seconds())
    done = finish(walk, "second-holder").progress
    assert (done.customers, done.subscriptions, done.invoices) == (8, 5, 4)
    assert lists.reads - before == 3 + 2 + 2 - page
    assert counted(database).total() == len({one.id for one in said(database)}) == 22


@pytest.mark.whole
def test_a_page_whose_commit_failed_is_read_again(
    database: Transactions, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between Stripe's answer and the commit, nothing of the page is there, and the cursor stands before it."""

    def dies(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(imports, "advance", dies)
        with pytest.raises(RuntimeError):
            walk()
    assert said(database) == []
    assert finish(walk).progress.customers == 8


def test_two_at_once_the_second_says_so(walk: Walk, clock: Clock) -> None:
    """And from when on it may go on, where the first one was stopped: seconds after its last page."""
    walk("first-holder")
    with pytest.raises(ImportRunning, match="21:04:10 UTC"):
        walk("second-holder")
    clock.forward(seconds=NEXT_CALL.total_seconds())
    assert walk("second-holder").progress.customers == 6
    with pytest.raises(ImportRunning):
        walk("first-holder")


def test_one_who_waits_as_stripe_says_keeps_the_import(
    walk: Walk, lists: FakeLists, clock: Clock
) -> None:
    """Longer than any page takes, and for some seconds after; one who does not come back then was stopped."""
    limited = StripeRateLimited("429")
    limited.retry_after = 60.0
    lists.troubles = [limited]
    walk("first-holder")
    clock.forward(seconds=60 + NEXT_CALL.total_seconds() - 1)
    with pytest.raises(ImportRunning):
        walk("second-holder")
    clock.forward(seconds=1)
    assert walk("second-holder").progress.customers == 3


def test_whoever_dies_over_a_page_has_it_no_longer_than_a_page_may_take(
    walk: Walk, lists: FakeLists, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while Stripe is asked: nobody can tell it from one that is slow."""
    lists.troubles = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        walk("first-holder")
    clock.forward(seconds=NEXT_CALL.total_seconds())
    with pytest.raises(ImportRunning):
        walk("second-holder")
    clock.forward(seconds=(LEASE - NEXT_CALL).total_seconds())
    assert walk("second-holder").progress.customers == 3


def test_whoever_was_overtaken_commits_nothing(
    database: Transactions, walk: Walk, lists: FakeLists, clock: Clock
) -> None:
    """A page that took longer than its lease is the other one's."""
    page = lists.page

    def slow(*given: Any, **options: Any) -> ObjectPage:
        lists.page = page  # type: ignore[method-assign]
        clock.forward(seconds=LEASE.total_seconds())
        walk("second-holder")
        return page(*given, **options)

    lists.page = slow  # type: ignore[method-assign]
    with pytest.raises(ImportRunning):
        walk("first-holder")
    assert counted(database) == {"customer.seen": 3}


@pytest.mark.whole
def test_the_next_import_says_all_again(database: Transactions, walk: Walk) -> None:
    """A business that enrols from Stripe only now hears of customers that an import told when nobody cared. The same holder, whose
    answer was lost, begins nothing."""
    finish(walk)
    assert walk().progress.customers == 8
    assert counted(database).total() == 22
    finish(walk, "another-holder")
    assert counted(database).total() == 44


@pytest.mark.whole
def test_evidence_is_said_as_webhooks_say_it(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """Whom metadata names, under the key of what did not change: once, whoever finds it; and that an import did."""
    lists.objects["customers"][0]["metadata"] = {"customer_id": "1001", "business_id": "sunrise"}
    finish(walk)
    finish(walk, "another-holder")
    (found,) = [one.data for one in said(database) if one.type == "customer.evidence_changed"]
    assert isinstance(found, events.CustomerEvidenceChanged)
    assert (found.customer_id, found.previous_customer_id, found.imported) == ("1001", "1001", True)


def test_a_default_payment_method_pays(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """In either place where Stripe keeps it."""
    lists.objects["customers"][0]["invoice_settings"] = {"default_payment_method": "pm_1"}
    lists.objects["customers"][1]["default_source"] = "card_1"
    walk()
    assert [one.data.pays for one in said(database)] == ["saved_method", "saved_method", None]  # type: ignore[attr-defined]


@pytest.mark.whole
@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired", "canceled"])
def test_a_subscription_that_has_not_begun_is_left_out(
    database: Transactions, walk: Walk, lists: FakeLists, status: str
) -> None:
    """It makes nobody a customer who pays."""
    for one in lists.objects["subscriptions"]:
        one["status"] = status
    finish(walk)
    assert counted(database)["subscription.imported"] == 0
    assert counted(database)["customer.seen"] == 8


@pytest.mark.whole
@pytest.mark.parametrize(("status", "said_of_it"), [("canceled", 1), ("active", 0)])
def test_the_ended_subscription_of_an_open_invoice_is_told_with_it(
    database: Transactions, walk: Walk, lists: FakeLists, status: str, said_of_it: int
) -> None:
    """It stands in no list of ours, and says whether the invoice is collected still: once, however many invoices it has left."""
    whole = {
        "id": "sub_gone",
        "customer": "cus_00000",
        "status": status,
        "ended_at": 1_700_000_000,
        "cancellation_details": {"reason": "cancellation_requested"},
    }
    for one in lists.objects["invoices"]:
        one["parent"] = {"subscription_details": {"subscription": whole}}
    finish(walk)
    found = [
        one.data
        for one in said(database)
        if isinstance(one.data, events.SubscriptionImported)
        and one.data.subscription_id == "sub_gone"
    ]
    assert len(found) == said_of_it
    assert all(one.end_reason == "cancellation_requested" and one.ends_at for one in found)


def test_what_was_there_before_is_announced_by_no_sweep(
    database: Transactions, walk: Walk, clock: Clock
) -> None:
    """The line is drawn with the first page at the latest."""
    walk()
    with database.reading() as session:
        assert (
            reconciliation.moment_of(session, OWN, reconciliation.ANNOUNCED_FROM) == clock() == NOW
        )


@pytest.mark.whole
def test_odd_customers_are_told_and_none_is_lost(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """Without an address, with another's, deleted, a name of 300 characters, a language that nobody speaks."""
    odd = lists.objects["customers"]
    odd[0] |= {"email": None}
    odd[1] |= {"email": "Same@example.com"}
    odd[2] |= {"email": "same@Example.com"}
    odd[3] |= {"name": "x" * 300}
    odd[4] |= {"preferred_locales": ["tlh"]}
    odd[5] |= {"preferred_locales": ["pt-BR"]}
    odd[6] |= {"metadata": 7}
    lists.objects["invoices"][0]["customer"] = {"id": "cus_gone", "deleted": True}
    finish(walk)
    with database.reading() as session:
        found = dict(imports.findings(session, OWN, "", 100))
        pages = [
            imports.findings(session, OWN, after, 1)[0][0] for after in ("", *sorted(found)[:-1])
        ]
    assert found == {
        "cus_00000": ["no_email"],
        "cus_00001": ["same_email"],
        "cus_00002": ["same_email"],
        "cus_00003": ["long_name"],
        "cus_00004": ["unknown_locale"],
        "cus_00006": ["unreadable"],
        "cus_gone": ["deleted"],
    }
    assert pages == sorted(found)
    seen = [one.data for one in said(database) if isinstance(one.data, events.StripeCustomerSeen)]
    assert {one.stripe_customer_id for one in seen if one.deleted} == {"cus_gone"}
    assert {len(one.name or "") for one in seen if one.stripe_customer_id == "cus_00003"} >= {200}
    assert counted(database)["invoice.imported"] == 3


@pytest.mark.whole
def test_nothing_made_of_an_address_is_left_when_an_import_ends(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """While it goes on equal addresses are told by what was made of them, afterwards by what was written down."""
    for one in lists.objects["customers"][:2]:
        one |= {"email": "same@example.com", "name": "x" * 300}
    walk()
    both = ["long_name", "same_email"]
    expected = [("cus_00000", both), ("cus_00001", both)]
    with database.reading() as session:
        assert imports.findings(session, OWN, "", 100) == expected
        assert len(set(session.scalars(select(StripeImportCustomer.email_digest)))) == SIZE - 1
    finish(walk)
    with database.reading() as session:
        assert imports.findings(session, OWN, "", 100) == expected
        assert set(session.scalars(select(StripeImportCustomer.email_digest))) == {None}


@pytest.mark.whole
def test_a_forgotten_customer_is_no_finding_either(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """Erasure takes the import's row, and what was said."""
    lists.objects["customers"][0]["email"] = None
    finish(walk)
    after: str | None = "inbox:"
    while after is not None:
        with database.transaction() as session:
            after = erase(session, StripeId(OWN, "cus_00000"), also=[], after=after).next
    with database.reading() as session:
        assert session.get(StripeImportCustomer, (OWN, "cus_00000")) is None
    assert not any("cus_00000" in events.encode(one).decode() for one in said(database))


def test_stripe_is_obeyed_when_it_says_slow_down(walk: Walk, lists: FakeLists) -> None:
    """For as long as it says, else for a moment; and nothing is lost by it."""
    limited = StripeRateLimited("429")
    limited.retry_after = 7.0
    lists.troubles = [limited, StripeRateLimited("429")]
    steps = [walk() for _ in range(3)]
    assert [(step.wait, step.held) for step in steps] == [(7.0, STRIPE), (2.0, STRIPE), (0.0, None)]
    assert finish(walk).progress.customers == 8


def test_stripe_is_left_a_second_where_it_names_no_wait_at_all(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """`Retry-After: 0`, of a proxy in between it may be, is no leave to ask in a tight loop."""
    limited = StripeRateLimited("429")
    limited.retry_after = 0.0
    lists.troubles = [limited]
    assert walk().wait == 1.0
    lists.troubles = [limited, limited]
    waited: list[float] = []
    importing.plan(database, lists, OWN, pause=waited.append)
    assert waited == [1.0, 1.0]


def test_stripe_is_obeyed_while_it_is_looked_what_there_is(
    database: Transactions, lists: FakeLists
) -> None:
    """A list whose length is asked for is asked again, when Stripe says; and it costs the answer nothing."""
    limited = StripeRateLimited("429")
    limited.retry_after = 7.0
    lists.troubles = [limited, StripeRateLimited("429")]
    waited: list[float] = []
    found = importing.plan(database, lists, OWN, pause=waited.append)
    assert waited == [7.0, 2.0]
    assert found.lacking == ()
    assert found.sizes == importing.plan(database, lists, OWN, pause=never).sizes


def test_live_work_goes_first(walk: Walk, lists: FakeLists) -> None:
    """While half of the account's budget is not there, no page is read, and it is said."""
    budget = Budget(10, clock=lambda: 0.0)
    budget.take(16)
    step = walk(budget=budget)
    assert (step.wait > 0, step.held, lists.reads) == (True, LIVE_WORK, 0)


@pytest.mark.parametrize("rate", [1, 6, 100])
def test_however_much_live_work_takes_an_import_has_its_share(rate: int) -> None:
    """A quarter of the rate, which live work lacks: together they ask no more than the rate."""
    moment, live, shared = 0.0, 0, 0
    budget = Budget(rate, clock=lambda: moment)
    seconds, looks_in_one = 60, 10 * rate
    for _ in range(seconds * looks_in_one):
        moment += 1 / looks_in_one
        while budget.take(1):
            live += 1
        shared += budget.take_share()
    assert shared == pytest.approx(seconds * rate / SHARE, rel=0.1)
    assert live + shared == pytest.approx((seconds + BURST_SECONDS) * rate, abs=2)


@pytest.mark.whole
def test_a_storm_of_looks_does_not_stop_an_import(walk: Walk, lists: FakeLists) -> None:
    """It reads on, more slowly."""
    moment = 0.0
    budget = Budget(4, clock=lambda: moment)
    for _ in range(10):
        moment += 1
        while budget.take(1):
            pass
        walk(budget=budget)
    assert lists.reads == 3 + 2 + 2, "all that there is"


def test_an_outbox_that_is_full_is_waited_for(
    database: Transactions, walk: Walk, lists: FakeLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed charge never stands behind thousands of an import's events."""
    monkeypatch.setattr(outbox.OUTBOX, "backlog", lambda *_: (MOST_WAITING + 1, 0.0))
    step = walk()
    assert (step.wait > 0, step.held, lists.reads) == (True, OUTBOX, 0)


@pytest.mark.whole
def test_a_cursor_that_is_gone_begins_its_list_again(
    database: Transactions, walk: Walk, lists: FakeLists
) -> None:
    """Stripe may not know an object any more: all of the list is read again, and said once."""
    walk()
    lists.troubles = [ObjectGone("cus_00002")]
    done = finish(walk).progress
    assert (done.customers, counted(database)["customer.seen"]) == (8, 13)


def test_a_right_that_is_missing_is_named_before_anything_is_read(
    database: Transactions, lists: FakeLists
) -> None:
    """Each list is looked at; those that may not be read are all told."""
    lists.forbidden = {"customers", "invoices"}
    found = importing.plan(database, lists, OWN, pause=never)
    assert found.lacking == (Listed.CUSTOMERS, Listed.INVOICES)
    assert found.sizes == {Listed.SUBSCRIPTIONS: 6}, "about: there are five"


@pytest.mark.whole
def test_what_is_left_is_expected(
    database: Transactions, walk: Walk, lists: FakeLists, clock: Clock
) -> None:
    """A plan of an import that was begun counts the pages that are still to come, and says where it stands."""
    walk()
    found = importing.plan(database, lists, OWN, pause=never)
    assert found.unfinished is not None
    assert found.unfinished.customers == SIZE
    finish(walk)
    assert importing.plan(database, lists, OWN, pause=never).unfinished is None
    assert finish(walk).progress.what == DONE


@pytest.mark.parametrize(
    "ages",
    [
        [number * 60 for number in range(50_000)],
        [number**2 for number in range(20_000)],
        [number * 7 for number in range(100)],
        [],
        [0] * 250,
        [*(number // 10 for number in range(5_000)), 10**6, 10**7],
        [*(number // 3 for number in range(30_000)), *(10**7 + number for number in range(500))],
        [month * 30 * 86_400 + number * 12 for month in range(36) for number in range(300)],
    ],
    ids=[
        *("even", "slower and slower back", "one page", "none", "all at once"),
        *(
            "moved here at once, after a few tries",
            "moved here twice",
            "on the first of each month",
        ),
    ],
)
def test_the_length_of_a_list_is_about_right(ages: list[int]) -> None:
    """By a dozen reads at most; what came all in one second can't be told from what is more."""
    made, reads = [2_000_000_000 - age for age in ages], 0

    def read(before: int | None) -> ObjectPage:
        nonlocal reads
        reads += 1
        start = 0 if before is None else sum(one >= before for one in made)
        found = made[start : start + 100]
        more = len(made) > start + 100
        ends = (found[0], found[-1]) if found else (0, 0)
        return ObjectPage([b"{}"] * len(found), more, None, *ends)

    about = estimate(read)
    assert reads <= 11
    if len(set(ages)) > 1 or not ages:
        assert 0.6 * len(ages) <= about <= 1.6 * len(ages)
