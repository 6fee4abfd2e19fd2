"""Reconciliation: a webhook that never came becomes the same event; one that came changes nothing."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from sqlalchemy import select

from services.billing.domain.declines import PaymentProblem
from services.billing.domain.errors import InvalidRequest
from services.billing.domain.paying import Invoice
from services.billing.handlers import inbox
from services.billing.models import InboxEvent, OutboxEvent, Reconciliation
from services.billing.queries import inbox as queries
from services.billing.workflows import reconciling
from services.billing.workflows.reconciling import Report, parse_since, reconcile, scheduled
from shared.contracts.payments import PaymentMethod
from shared.contracts.rpc.errors import ReconciliationRunning, StripeUnavailable
from shared.database import Transactions
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import NOW, Clock, payload, with_fields
from tests.unit.billing.fakes import VISA, FakePaymentGateway
from tests.unit.billing.webhooks import store_webhook

SINCE = NOW - dt.timedelta(days=3)


def happened(gateway: FakePaymentGateway, name: str, number: int, **fields: Any) -> bytes:
    """Stripe has this event in its log."""

    def edit(event: dict[str, Any]) -> None:
        event["id"], event["created"] = f"evt_{number}", int(NOW.timestamp()) - 3600 + number
        event["data"]["object"].update(id=f"in_{number}", **fields)

    body = payload(name, edit)
    gateway.log.append(body)
    return body


def webhook(database: Transactions, body: bytes) -> inbox.Outcome:
    with database.transaction() as session:
        return store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), NOW)


def run(database: Transactions, gateway: FakePaymentGateway, clock: Clock) -> Report:
    return reconcile(database, gateway, SINCE, holder="me", clock=clock)


def outbox(database: Transactions) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(OutboxEvent.event_id).order_by(OutboxEvent.id)))


def owed(number: int, **fields: Any) -> Invoice:
    """An autopay invoice that was tried and is still open."""
    known: dict[str, Any] = {
        "id": f"in_{number}",
        "stripe_customer_id": "cus_1",
        "status": "open",
        "currency": "usd",
        "amount_remaining": 8900,
        "attempted": True,
        "attempt_count": 1,
        "collection_method": "charge_automatically",
    }
    return Invoice(**{**known, **fields})


@pytest.mark.whole
def test_a_missed_webhook_becomes_the_same_event_once(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """What the log holds goes through the inbox like a webhook, in order; a second walk finds nothing new."""
    gateway.page = 2
    for number in range(5):
        happened(gateway, "invoice.payment_failed", number)
    assert run(database, gateway, clock) == Report(seen=5, new=5, swept=0)
    assert run(database, gateway, clock) == Report(seen=5, new=0, swept=0)
    assert outbox(database) == [f"evt_{number}/invoice.payment_failed" for number in range(5)]


def test_a_webhook_that_came_is_not_said_again_and_one_that_comes_late_neither(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Webhook before or after the walk: one inbox row, one event."""
    early = happened(gateway, "invoice.payment_failed", 1)
    late = happened(gateway, "invoice.payment_failed", 2)
    webhook(database, early)
    assert run(database, gateway, clock) == Report(seen=2, new=1, swept=0)
    assert webhook(database, late) is inbox.Outcome.DUPLICATE
    assert len(outbox(database)) == 2


def test_an_unpaid_invoice_that_nobody_was_told_about_is_announced_once(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """No event in Stripe's log any more: the sweep says it once. A late webhook goes out too: whether it tells of the same
    charge, the notifier finds out."""
    gateway.invoices["in_1"] = owed(1, amount_due=8900, subscription_id="sub_1")
    assert run(database, gateway, clock).swept == 1
    assert run(database, gateway, clock).swept == 0
    late = happened(gateway, "invoice.payment_failed", 1)
    assert webhook(database, late) is inbox.Outcome.TRANSLATED
    sweep = "sweep/in_1/1/invoice.payment_failed"
    assert outbox(database)[0] == sweep
    assert len(outbox(database)) == 2
    assert run(database, gateway, clock).swept == 0
    with database.reading() as session:
        told = select(OutboxEvent.body).where(OutboxEvent.event_id == sweep)
        body = json.loads(session.scalars(told).one())
    assert body["data"]["invoice_id"] == "in_1"
    assert (body["data"]["amount_due"], body["data"]["own_retry"]) == (8900, False)


def test_a_missed_failure_is_of_the_moment_of_its_charge(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """A card's, which its bank answers at once; a debit comes back after days, so of that the moment isn't known."""
    for number, method in ((1, VISA), (2, PaymentMethod(type="us_bank_account"))):
        gateway.invoices[f"in_{number}"] = owed(number)
        charged_at = clock() - dt.timedelta(hours=30)
        gateway.problems[f"in_{number}"] = PaymentProblem(
            "card_declined", method=method, tried_at=charged_at
        )
    assert run(database, gateway, clock).swept == 2
    with database.reading() as session:
        bodies = [json.loads(one) for one in session.scalars(select(OutboxEvent.body))]
    said = {one["data"]["invoice_id"]: one["occurred_at"] for one in bodies}
    moments = {one: dt.datetime.fromisoformat(at) for one, at in said.items()}
    assert moments == {"in_1": clock() - dt.timedelta(hours=30), "in_2": clock()}


def test_a_second_attempt_is_news_and_a_confirmation_counts_as_said(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Told apart by attempt; `payment_action_required` for an attempt is an announcement of it too."""
    webhook(database, payload("invoice.payment_action_required", with_fields(id="in_1")))
    gateway.invoices["in_1"] = owed(1)
    assert run(database, gateway, clock).swept == 0
    gateway.invoices["in_1"] = owed(1, attempt_count=2)
    assert run(database, gateway, clock).swept == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"attempted": False},
        {"amount_remaining": 0},
        {"status": "paid"},
        {"collection_method": "send_invoice"},
    ],
)
def test_what_is_not_owed_by_autopay_is_not_announced(
    database: Transactions,
    gateway: FakePaymentGateway,
    clock: Clock,
    fields: dict[str, Any],
) -> None:
    """Not tried yet, nothing left, paid, or paid by hand."""
    gateway.invoices["in_1"] = owed(1, **fields)
    assert (run(database, gateway, clock).swept, outbox(database)) == (0, [])


def test_a_debit_under_way_is_no_failure(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Its invoice is open and tried for days. Nothing is said before the bank has answered; what has come back is."""
    gateway.invoices["in_1"] = owed(1)
    gateway.processing.add("in_1")
    assert (run(database, gateway, clock).swept, outbox(database)) == (0, [])
    gateway.processing.clear()
    assert run(database, gateway, clock).swept == 1


def test_a_debit_whose_beginning_was_told_is_not_asked_about(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """A month's debits are under way together: they are not as many reads a day."""
    begun = payload("payment_intent.processing", with_fields(invoice="in_1"))
    webhook(database, begun)
    gateway.invoices["in_1"] = owed(1, attempt_count=0)
    asked: list[str] = []
    gateway.before = asked.append
    assert run(database, gateway, clock).swept == 0
    assert "payment_trace" not in asked


def test_a_try_that_stripe_counted_and_did_not_make_is_no_failure(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """After some declines its count goes on: the invoice's own event tells of it, and of no failure."""
    webhook(database, payload("invoice.payment_failed", with_fields(id="in_1")))
    webhook(database, payload("invoice.updated", with_fields(id="in_1", attempt_count=2)))
    gateway.invoices["in_1"] = owed(1, attempt_count=2)
    assert run(database, gateway, clock).swept == 0


def from_before_the_line(database: Transactions) -> None:
    """The installation is of a release that drew none: nothing counts as older than it."""
    with database.transaction() as session:
        session.add(Reconciliation(name="stripe", until=NOW))


def test_nobody_at_checkout_is_announced(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """A first payment is the customer's to make for 23 hours; what is open after that is a debit that has come back."""
    from_before_the_line(database)
    first = {"billing_reason": "subscription_create"}
    gateway.invoices["in_1"] = owed(1, **first, finalized_at=NOW - dt.timedelta(hours=22))
    gateway.invoices["in_2"] = owed(2, **first, finalized_at=NOW - dt.timedelta(days=4))
    assert run(database, gateway, clock).swept == 1
    assert outbox(database) == ["sweep/in_2/1/invoice.payment_failed"]


def test_an_announcement_has_all_that_a_webhook_would_have(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """What was forgiven, whether Stripe goes on, when it was made: what is left out would count as unsaid, or as nothing."""
    from_before_the_line(database)
    made = NOW - dt.timedelta(days=4)
    gateway.invoices["in_1"] = owed(
        1, amount_due=8900, amount_credited=1000, auto_advance=True, finalized_at=made
    )
    run(database, gateway, clock)
    with database.reading() as session:
        (body,) = session.scalars(select(OutboxEvent.body))
    told = json.loads(body)["data"]
    assert (told["amount_credited"], told["auto_advance"]) == (1000, True)
    assert dt.datetime.fromisoformat(told["finalized_at"]) == made


@pytest.mark.whole
def test_one_replica_walks_at_a_time_and_a_dead_one_gives_way(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """While one is under way another one is refused; the lease of one that died ends."""
    refused: list[str] = []

    def second(operation: str) -> None:
        gateway.before = lambda operation: None
        until = f"{clock() + reconciling.LEASE:%H:%M:%S} UTC"
        with pytest.raises(ReconciliationRunning, match=f"go on after {until}"):
            reconcile(database, gateway, SINCE, holder="other", clock=clock)
        refused.append(operation)

    gateway.before = second
    happened(gateway, "invoice.payment_failed", 1)
    assert run(database, gateway, clock).new == 1
    assert refused

    def dies(operation: str) -> None:
        raise KeyboardInterrupt

    gateway.before = dies
    with pytest.raises(KeyboardInterrupt):
        run(database, gateway, clock)
    gateway.before = lambda operation: None
    clock.forward(seconds=reconciling.LEASE.total_seconds() + 1)
    assert reconcile(database, gateway, SINCE, holder="other", clock=clock).seen == 1


def test_no_call_to_stripe_stands_inside_a_transaction(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """The database has one connection here: inside a transaction this read would wait for itself."""

    def look(operation: str) -> None:
        with database.reading() as session:
            session.scalars(select(InboxEvent.id)).all()

    gateway.before = look
    gateway.invoices["in_9"] = owed(9)
    happened(gateway, "invoice.payment_failed", 1)
    assert run(database, gateway, clock).new == 1


def test_the_schedule_walks_from_its_cursor_and_an_outage_leaves_it_where_it_was(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """The first call sets the cursor; then every quarter of an hour, with an overlap; a failed walk is walked again."""
    happened(gateway, "invoice.payment_failed", 1)
    assert scheduled(database, gateway, holder="me", clock=clock) is None
    assert scheduled(database, gateway, holder="me", clock=clock) is None
    clock.forward(minutes=16)
    gateway.down = True
    with pytest.raises(StripeUnavailable):
        scheduled(database, gateway, holder="me", clock=clock)
    gateway.down = False
    clock.forward(hours=5)
    assert scheduled(database, gateway, holder="me", clock=clock) == Report(1, 1, 0)
    assert scheduled(database, gateway, holder="me", clock=clock) is None


def asked_of_stripe(gateway: FakePaymentGateway) -> list[str]:
    """Writes down each read from now on."""
    asked: list[str] = []
    gateway.before = asked.append
    return asked


@pytest.mark.whole
def test_a_round_that_finds_nothing_reads_stripes_log_alone(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Unpaid invoices are looked through once a day, or when the log held what no webhook had brought."""
    gateway.invoices["in_1"] = owed(1, finalized_at=NOW)
    scheduled(database, gateway, holder="me", clock=clock)
    clock.forward(minutes=16)
    first = scheduled(database, gateway, holder="me", clock=clock)
    assert first is not None
    assert first.swept == 1
    asked = asked_of_stripe(gateway)
    clock.forward(minutes=16)
    scheduled(database, gateway, holder="me", clock=clock)
    assert asked == ["events_since"]
    happened(gateway, "invoice.payment_failed", 3600)
    clock.forward(minutes=16)
    scheduled(database, gateway, holder="me", clock=clock)
    assert "unpaid_invoices" in asked
    asked.clear()
    clock.forward(days=1)
    scheduled(database, gateway, holder="me", clock=clock)
    assert "unpaid_invoices" in asked


def test_rounds_stretch_while_webhooks_arrive(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Every hour while Stripe delivers; every quarter of an hour when it has gone silent."""
    scheduled(database, gateway, holder="me", clock=clock)
    clock.forward(minutes=5)
    with database.transaction() as session:
        body = payload("invoice.payment_failed")
        store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), clock())
    asked = asked_of_stripe(gateway)
    for _ in range(3):
        clock.forward(minutes=15)
        scheduled(database, gateway, holder="me", clock=clock)
    assert asked == []
    clock.forward(minutes=15)
    scheduled(database, gateway, holder="me", clock=clock)
    assert "events_since" in asked
    asked.clear()
    clock.forward(minutes=16)
    scheduled(database, gateway, holder="me", clock=clock)
    assert "events_since" in asked


def test_a_thin_event_is_answered_from_the_log_within_minutes(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """An endpoint of the wrong kind delays an email by minutes and costs none; with nothing thin, rounds are as ever. Neither
    thin events nor those of connected accounts count as webhooks that arrive, nor does an account's parting as one we don't serve."""
    scheduled(database, gateway, holder="me", clock=clock)
    happened(gateway, "invoice.payment_failed", 3600)
    event = {
        "id": "evt_test_thin",
        "object": "v2.core.event",
        "type": "v1.invoice.payment_failed",
        "livemode": False,
        "related_object": {"id": "in_3600"},
    }
    clock.forward(minutes=4)
    with database.transaction() as session:
        received = inbox.read_webhook(json.dumps(event).encode(), directory=OWN_ALONE)
        assert store_webhook(session, received, clock()) is inbox.Outcome.THIN
        connected = payload("invoice.paid", lambda event: event.update(account="acct_1"))
        received = inbox.read_webhook(connected, directory=OWN_ALONE)
        assert store_webhook(session, received, clock()) is inbox.Outcome.CONNECTED
        parting = payload(
            "invoice.paid",
            lambda event: event.update(
                id="evt_parting", account="acct_1", type="account.application.deauthorized"
            ),
        )
        received = inbox.read_webhook(parting, directory=OWN_ALONE)
        assert store_webhook(session, received, clock()) is inbox.Outcome.CONNECTED
        since = NOW - dt.timedelta(days=1)
        assert queries.delivered_kinds(session, since) == {"thin": 1, "connected": 1, "own": 0}
    assert scheduled(database, gateway, holder="me", clock=clock) is None
    clock.forward(minutes=1)
    scheduled(database, gateway, holder="me", clock=clock)
    assert outbox(database) == ["evt_3600/invoice.payment_failed"]
    asked = asked_of_stripe(gateway)
    clock.forward(minutes=14)
    scheduled(database, gateway, holder="me", clock=clock)
    assert asked == []
    clock.forward(minutes=1)
    scheduled(database, gateway, holder="me", clock=clock)
    assert "events_since" in asked


def test_what_was_unpaid_before_us_is_counted_and_told_to_nobody(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """The first start draws the line; an installation of an earlier release has none."""
    scheduled(database, gateway, holder="me", clock=clock)
    gateway.invoices["in_1"] = owed(1, finalized_at=NOW - dt.timedelta(days=20))
    gateway.invoices["in_2"] = owed(2, finalized_at=NOW + dt.timedelta(minutes=1))
    report = run(database, gateway, clock)
    assert (report.swept, report.older) == (1, 1)
    assert outbox(database) == ["sweep/in_2/1/invoice.payment_failed"]


def test_an_installation_from_before_the_line_announces_as_before(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Its cursor was there without a line: nothing is held back."""
    from_before_the_line(database)
    gateway.invoices["in_1"] = owed(1, finalized_at=NOW - dt.timedelta(days=20))
    assert run(database, gateway, clock).swept == 1


@pytest.mark.parametrize(
    "words", ["", "3", "3 weeks", "-3d", "2026-11-20T08:00:00", "99d", "2027-01-01T00:00:00Z"]
)
def test_a_since_that_means_nothing_is_refused(words: str) -> None:
    """Not a length, not a moment with a zone, in the future, or further back than Stripe's log."""
    with pytest.raises(InvalidRequest):
        parse_since(words, NOW)


def test_since_is_a_length_or_a_moment() -> None:
    """`90m`, `12h`, `3d` and ISO 8601."""
    assert parse_since("90m", NOW) == NOW - dt.timedelta(minutes=90)
    assert parse_since(" 3d ", NOW) == SINCE
    assert parse_since("2026-11-22T00:00:00+02:00", NOW) == dt.datetime(
        2026, 11, 21, 22, tzinfo=dt.UTC
    )
