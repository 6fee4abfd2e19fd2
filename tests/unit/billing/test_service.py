"""The entrypoints: what they answer, and that no error or delay of Stripe's passes them unnamed."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from portico.cli.context import Stop
from portico.commands.portal_config import stripe_errors
from services.billing import service
from services.billing.adapters.stripe.breaker import FAILURES, Breaker
from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.domain.card_places import CardPlaces
from services.billing.domain.changes import Wish
from services.billing.domain.errors import (
    OwnKeyRefused,
    StripeBusy,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.paying import Customer, Subscription
from services.billing.domain.per_account import PerAccount
from services.billing.domain.reads import ReadKey, ReadTally
from services.billing.handlers.inbox import Outcome, Received
from services.billing.models import InboxEvent, OutboxEvent, PaymentMethodChange, RecoveryLease
from services.billing.queries import reconciliation
from services.billing.queries.accounts import connect, disconnect, own_keys_back
from services.billing.queries.payment_method_changes import close_change, open_change, postpone
from services.billing.rpc import operations, recovering
from services.billing.service import BillingService
from services.billing.web import store_batch
from services.billing.workflows import recovery
from services.billing.workflows.accounts import AccountHolder
from services.billing.workflows.customer_lease import LEASE
from services.billing.workflows.recovery import PAUSES
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.rpc.errors import (
    ERRORS,
    BillingError,
    BusinessObserves,
    InvalidArgument,
    RpcError,
    StripeRefused,
    StripeUnavailable,
    TemporarilyUnavailable,
    wire_error,
)
from shared.database import Transactions, UnstorableValue
from shared.events import CustomerDeleted, Event, PaymentMethodChanged, decode
from shared.nameko_ext.batching import batch_transactions
from shared.nameko_ext.consumer import Permanent
from shared.nameko_ext.loops import Loop
from shared.nameko_ext.rpc import RpcTimeout
from shared.nameko_ext.turns import Turn
from shared.settings import Secret
from tests.unit.billing.conftest import NOW, payload, with_fields
from tests.unit.billing.fakes import GOOD, FakePaymentGateway, FakePortal, charged_to
from tests.unit.billing.test_recovery import INVOICE
from tests.unit.billing.test_webhook import SECRET, signed

BODY = payload("invoice.payment_failed")
CARD_PLACES = 4


@pytest.fixture
def billing(database: Transactions, gateway: FakePaymentGateway) -> BillingService:
    """The service without its framework: its dependencies set by hand."""
    made: Any = BillingService()
    made.database = database
    made.gateways = gateway
    made.accounts = AccountHolder(livemode=False, database=database)
    made.breakers = PerAccount(Breaker)
    made.portal = FakePortal()
    made.settings = SimpleNamespace(
        livemode=False,
        observes=False,
        stripe_webhook_secrets=(Secret(SECRET),),
        stripe_portal_configuration=None,
        public_url="https://me.example.com",
    )
    made.store = batch_transactions("webhooks", store_batch, database)
    made.wake_relay = lambda: made.woken.append(True)
    made.woken = []
    made.recovering = at_once(made, "resume_recovery", wakes="resume_recoveries")
    made.reconciled = at_once(made, "reconcile_account")
    made.card_places = CardPlaces(CARD_PLACES)
    made.wake_recoveries = lambda: made.woken.append("recoveries")
    gateway.customers["cus_1"] = Customer("cus_1")
    return made


def at_once(billing: Any, method: str, wakes: str = "") -> Any:
    """The turns of a method, each at its end when it has begun. `woken` of it counts how often the loop was to be run again."""
    turns: Any = Turn(wakes=wakes)
    turns.method_name, turns.woken = method, 0

    def spawn_worker(
        entrypoint: Any, args: Any, kwargs: Any, context_data: Any, handle_result: Any
    ) -> None:
        handle_result(None, getattr(billing, method)(*args), None)

    def wake() -> None:
        turns.woken += 1

    loop: Any = Loop(poll=5.0)
    loop.method_name, loop.wake = wakes, wake
    turns.container = SimpleNamespace(spawn_worker=spawn_worker, entrypoints=[loop])
    return turns


def resumes(billing: Any) -> bool:
    """Whether a round went on with a change of card."""
    before = billing.recovering.woken
    assert billing.resume_recoveries() is False
    return bool(billing.recovering.woken > before)


def post(billing: BillingService, body: bytes, header: str | None) -> Response:
    headers = [] if header is None else [("Stripe-Signature", header)]
    environ = EnvironBuilder(method="POST", data=body, headers=headers).get_environ()
    return billing.stripe_webhook(Request(environ))


def stored(database: Transactions) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(InboxEvent)) or 0


def test_a_signed_event_is_stored_acknowledged_and_relayed_at_once(
    billing: Any, database: Transactions
) -> None:
    """200 after the commit; the relay is woken, and not again for a duplicate. Each delivery is one line of the log."""
    header = signed(BODY, at=int(time.time()))
    with capture_logs() as lines:
        first, second = post(billing, BODY, header), post(billing, BODY, header)
    assert [(line["event"], line["outcome"], line["type"]) for line in lines] == [
        ("webhook taken", "translated", "invoice.payment_failed"),
        ("webhook taken", "duplicate", "invoice.payment_failed"),
    ]
    assert {line["correlation_id"] for line in lines} == {lines[0]["event_id"]}
    assert (first.status_code, first.get_json()) == (200, {"received": "translated"})
    assert (second.status_code, second.get_json()) == (200, {"received": "duplicate"})
    assert (stored(database), billing.woken) == (1, [True])


@pytest.mark.parametrize(
    ("body", "age", "secret"),
    [
        (BODY, 301, SECRET),
        (BODY, -310, SECRET),
        (BODY, 0, "whsec_somebody_elses"),
        (b"not json", 0, SECRET),
        (b"[]", 0, SECRET),
        (b'{"id": "evt_1"}', 0, SECRET),
    ],
)
def test_what_stripe_did_not_sign_or_is_no_event_is_400_and_not_stored(
    billing: BillingService, database: Transactions, body: bytes, age: int, secret: str
) -> None:
    """Stale, future, forged and meaningless requests leave no row."""
    answer = post(billing, body, signed(body, secret, int(time.time()) - age))
    assert (answer.status_code, stored(database)) == (400, 0)
    assert post(billing, body, None).status_code == 400


def test_a_signed_event_that_we_cannot_read_is_acknowledged(
    billing: BillingService, database: Transactions
) -> None:
    """2xx for a poison event, or Stripe would switch the endpoint off."""
    body = payload("invoice.payment_failed", lambda event: event["data"].pop("object"))
    answer = post(billing, body, signed(body, at=int(time.time())))
    assert (answer.status_code, answer.get_json()) == (200, {"received": "quarantined"})
    assert stored(database) == 1


@pytest.mark.parametrize(
    ("edit", "outcome", "level"),
    [
        ({"object": "v2.core.event", "type": "v1.invoice.paid"}, "thin", "warning"),
    ],
)
def test_what_is_no_event_of_ours_to_act_on_is_told_apart(
    billing: Any, database: Transactions, edit: dict[str, str], outcome: str, level: str
) -> None:
    """A thin event is a warning; it has a metric of its own, and nothing is relayed."""
    body = payload("invoice.paid", lambda event: event.update(edit))
    with capture_logs() as lines:
        answer = post(billing, body, signed(body, at=int(time.time())))
    assert (answer.status_code, answer.get_json()) == (200, {"received": outcome})
    assert [line["log_level"] for line in lines] == [level]
    type_ = "invoice.paid" if outcome == "connected" else "other"
    counted = REGISTRY.get_sample_value(
        "portico_stripe_webhooks_total", {"type": type_, "outcome": outcome}
    )
    assert counted
    assert (stored(database), billing.woken) == (1, [])


@pytest.mark.parametrize(
    ("number", "told"),
    [('"SUN\\u0000-\\ud800-7"', "SUN\ufffd-\ufffd-7"), ('"SUN\x07-7"', "SUN\ufffd-7"), (f'"{"x" * 500}"', "x" * 100)],
)  # fmt: skip
def test_a_text_that_no_table_takes_does_not_cost_the_event(
    billing: BillingService, database: Transactions, number: str, told: str
) -> None:
    """Control characters, half characters and overlong texts are cleaned or cut; the customer's mail does not depend on them."""
    body = payload("invoice.payment_failed", with_fields(number="N"))
    body = body.replace(b'"number": "N"', b'"number": ' + number.encode())
    answer = post(billing, body, signed(body, at=int(time.time())))
    assert (answer.status_code, answer.get_json()) == (200, {"received": "translated"})
    with database.reading() as session:
        (queued,) = session.scalars(select(OutboxEvent)).all()
    assert decode(queued.body).data.number == told  # type: ignore[attr-defined]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("levels", "answered"),
    [(10_000, (200, {"received": "translated"})), (400_000, (400, {"error": "the body is not a Stripe event"}))],
)  # fmt: skip
def test_an_event_with_levels_without_end_is_read_beside_them(
    billing: BillingService, database: Transactions, levels: int, answered: tuple[int, Any]
) -> None:
    """What is nested too deeply is nothing that we read; a 5xx or 4xx would bring it back for days. One of almost a mebibyte of them is nobody's
    event, and would take a third of a second."""
    body = payload("invoice.payment_failed", with_fields(x="DEEP"))
    body = body.replace(b'"DEEP"', b"[" * levels + b"]" * levels)
    answer = post(billing, body, signed(body, at=int(time.time())))
    assert (answer.status_code, answer.get_json()) == answered


def test_what_can_not_be_stored_is_quarantined(billing: Any, database: Transactions) -> None:
    """Should a value of an event fit no column after all, the event itself is kept, with the reason."""
    store = billing.store

    def picky(received: Received) -> Outcome:
        if received.translation.outgoing:
            raise UnstorableValue("value too long (SQLSTATE 22001)")
        outcome: Outcome = store(received)
        return outcome

    billing.store = picky
    answer = post(billing, BODY, signed(BODY, at=int(time.time())))
    assert (answer.status_code, answer.get_json()) == (200, {"received": "quarantined"})
    with database.reading() as session:
        (row,) = session.scalars(select(InboxEvent)).all()
    assert row.payload.encode() == BODY
    assert row.reason == "can't be stored: value too long (SQLSTATE 22001)"


def test_every_error_of_the_domain_crosses_the_wire_by_its_name() -> None:
    """Callers tell errors apart by class name; a wrong argument is the common InvalidArgument."""
    for error in BillingError.__subclasses__():
        wire = type(wire_error(error("why")))
        assert ERRORS[wire.__name__] is wire
        assert (
            wire is InvalidArgument
            if issubclass(error, InvalidArgument)
            else wire.__name__ == error.__name__
        )


def test_a_click_answers_with_a_url_and_errors_with_a_name(
    billing: Any, gateway: FakePaymentGateway
) -> None:
    """The RPC method's own contract, with the domain's errors translated."""
    back = "https://me.example.com/me/token"
    url = billing.create_portal_session(stripe_customer_id="cus_1", return_url=back).url
    assert url == gateway.sessions[0].url
    for customer, way_back, name in (
        ("cus_2", back, "UnknownStripeCustomer"),
        ("cus_1", "https://evil.test", "InvalidArgument"),
    ):
        with pytest.raises(RpcError) as raised:
            billing.create_portal_session(stripe_customer_id=customer, return_url=way_back)
        assert type(raised.value).__name__ == name
    gateway.down = True
    with pytest.raises(RpcError) as raised:
        billing.invoice_state(invoice_id="in_1")
    assert type(raised.value).__name__ == "StripeUnavailable"


def test_a_refused_key_crosses_the_wire_as_what_every_caller_knows(
    billing: Any, gateway: FakePaymentGateway
) -> None:
    """Portals and notifiers of any release know refused and unavailable; the rest is told by billing's own log."""
    for refusal, name in (
        (StripeKeyRefused("401"), "StripeRefused"),
        (StripePermissionMissing("403"), "StripeRefused"),
        (StripeBusy("409"), "StripeUnavailable"),
        (StripeRateLimited("429"), "StripeUnavailable"),
    ):
        gateway.refusal = refusal
        with pytest.raises(RpcError) as raised:
            billing.invoice_state(invoice_id="in_1")
        assert type(raised.value).__name__ == name
        assert str(refusal) in str(raised.value)


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (StripeKeyRefused, "STRIPE_API_KEY"),
        (OwnKeyRefused, "STRIPE_ACCOUNTS_FILE"),
        (StripePermissionMissing, "Developers, API keys"),
    ],
)
def test_who_asks_hears_which_key_it_is_and_what_to_do(
    billing: Any, gateway: FakePaymentGateway, refusal: type[StripeKeyRefused], remedy: str
) -> None:
    """`code api_key_expired` alone leaves a person at the command line with nothing to do; a command that asks Stripe itself says the same."""
    gateway.refusal = refusal("code api_key_expired")
    with pytest.raises(StripeRefused, match=remedy):
        billing.invoice_state(invoice_id="in_1")
    with pytest.raises(Stop, match=remedy), stripe_errors():
        raise gateway.refusal


def test_a_stripe_that_hangs_is_cut_off(
    billing: Any, gateway: FakePaymentGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the connection hangs, the caller gets our error within the limit."""
    monkeypatch.setattr(service, "STRIPE_AT_A_CALL", 0.05)
    gateway.before = lambda operation: eventlet.sleep(5)
    started = time.monotonic()
    with pytest.raises(RpcError) as raised:
        billing.create_portal_session(
            stripe_customer_id="cus_1", return_url="https://me.example.com/me/token"
        )
    assert type(raised.value).__name__ == StripeUnavailable.__name__
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("limit", [0, 501, -1])
def test_lists_are_bounded(billing: Any, limit: int) -> None:
    """Nobody can ask for the whole table."""
    for method in (billing.inbox_events, billing.recoveries):
        with pytest.raises(InvalidArgument, match="limit"):
            method(limit=limit)


def test_an_event_that_is_not_for_billing_is_a_dead_letter(billing: Any) -> None:
    """It can only come by a wrong binding; trying again would not help."""
    data = CustomerDeleted(stripe_customer_id="cus_1")
    with pytest.raises(Permanent):
        billing.on_event(Event(id="e", occurred_at=NOW, correlation_id="", data=data))


def test_a_card_that_stripe_cannot_take_now_is_gone_on_with_from_its_row(
    billing: Any,
    gateway: FakePaymentGateway,
    database: Transactions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stripe is away: the event is done with, no dead letter; the loop pays when Stripe is back."""
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.invoices["in_1"] = INVOICE
    gateway.down = True
    data = PaymentMethodChanged(stripe_customer_id="cus_1", payment_method_id=GOOD)
    billing.on_event(Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data))
    gateway.down = False
    assert resumes(billing) is False, "not due yet"
    paid = ("portico_card_retries_total", {"outcome": "paid"})
    before = REGISTRY.get_sample_value(*paid) or 0
    later = dt.datetime.now(dt.UTC) + PAUSES[0]
    monkeypatch.setattr(recovering, "utc_now", lambda: later)
    assert resumes(billing) is True
    assert resumes(billing) is False
    assert gateway.invoices["in_1"].status == "paid"
    assert REGISTRY.get_sample_value(*paid) == before + 1


def test_while_the_portal_is_away_a_card_waits_and_a_person_hears_that_nothing_was_done(
    billing: Any, gateway: FakePaymentGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No dead letter: the loop asks again. Whoever has asked by RPC may ask again, and is told so by a name that says it."""
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.invoices["in_1"] = INVOICE
    gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "active")
    billing.portal.failure = RpcTimeout("no answer")
    data = PaymentMethodChanged(stripe_customer_id="cus_1", payment_method_id=GOOD)
    billing.on_event(Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data))
    wanted = {"stripe_customer_id": "cus_1", "subscription_id": "sub_1", "idempotency_key": "k"}
    for method, arguments in (
        (billing.collect_invoice, {"invoice_id": "in_1", "request_id": "one"}),
        (billing.cancel_at_period_end, wanted),
    ):
        with pytest.raises(TemporarilyUnavailable) as raised:
            method(**arguments)
        assert type(wire_error(raised.value)) is TemporarilyUnavailable
    assert (gateway.charges, gateway.cancellations) == ([], [])
    billing.portal.failure = None
    later = dt.datetime.now(dt.UTC) + PAUSES[0]
    monkeypatch.setattr(recovering, "utc_now", lambda: later)
    assert resumes(billing)
    assert gateway.invoices["in_1"].status == "paid"


@pytest.mark.parametrize("whole", [True, False])
def test_a_card_of_a_business_that_observes_is_counted_and_not_charged(
    billing: Any, gateway: FakePaymentGateway, whole: bool
) -> None:
    """By the portal's word, or because the installation observes; then the portal is not asked."""
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.invoices["in_1"] = INVOICE
    billing.settings.observes = whole
    billing.portal = FakePortal(observe=True, failure=RpcTimeout("away") if whole else None)
    observed = ("portico_card_retries_total", {"outcome": "observed"})
    before = REGISTRY.get_sample_value(*observed) or 0
    data = PaymentMethodChanged(stripe_customer_id="cus_1", payment_method_id=GOOD)
    billing.on_event(Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data))
    assert gateway.charges == []
    assert REGISTRY.get_sample_value(*observed) == before + 1
    (one,) = billing.observed_charges(since=NOW).charges
    assert one.invoice_id == "in_1"
    with pytest.raises(BusinessObserves):
        billing.collect_invoice(invoice_id="in_1", request_id="one")
    with pytest.raises(InvalidArgument):
        billing.observed_charges(since=NOW, limit=0)


def test_a_customer_in_other_hands_does_not_stop_the_loop(
    billing: Any,
    gateway: FakePaymentGateway,
    database: Transactions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two changes that are due, the one whose customer is free is gone on with."""
    gateway.down = True
    for customer in ("cus_1", "cus_2"):
        gateway.customers[customer] = Customer(customer, charged_to(GOOD))
        data = PaymentMethodChanged(stripe_customer_id=customer, payment_method_id=GOOD)
        event = f"evt_{customer}"
        billing.on_event(Event(id=f"{event}/c", occurred_at=NOW, correlation_id=event, data=data))
    gateway.down = False
    later = dt.datetime.now(dt.UTC) + PAUSES[0]
    monkeypatch.setattr(recovering, "utc_now", lambda: later)
    with database.transaction() as session:
        session.add(RecoveryLease(stripe_customer_id="cus_1", holder="other", until=later + LEASE))
    assert resumes(billing) is True
    assert resumes(billing) is False
    with database.reading() as session:
        rows = session.scalars(select(PaymentMethodChange).order_by(PaymentMethodChange.id))
        assert [row.outcome for row in rows] == [None, "done"]


def test_a_change_of_what_customers_may_do_is_an_audit_line(billing: BillingService) -> None:
    """Wherever it was made; Stripe does not say by whom."""
    body = payload("billing_portal.configuration.updated")
    with capture_logs() as lines:
        post(billing, body, signed(body, at=int(time.time())))
    (line,) = [line for line in lines if line.get("audit")]
    assert (line["what"], line["who"]) == ("billing_portal.configuration.updated", "not said")
    assert line["configuration_id"].startswith("bpc_")


def test_the_metrics_tell_when_stripes_log_was_read_and_whether_stripe_is_asked(
    billing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 before the first reconciliation, then its moment; the breaker is 1 while it is open."""
    moment = "portico_last_reconciliation_timestamp_seconds"
    billing.measure()
    assert REGISTRY.get_sample_value(moment) == 0
    monkeypatch.setattr(operations, "utc_now", lambda: NOW)
    billing.reconcile("1h")
    billing.measure()
    assert REGISTRY.get_sample_value(moment) == NOW.timestamp()
    breakers = service.click_breakers(billing.settings)
    assert REGISTRY.get_sample_value("portico_stripe_breaker_open") == 0
    for _ in range(FAILURES):
        with pytest.raises(StripeUnavailable), breakers.at(OWN).guard():
            raise StripeUnavailable("away")
    assert REGISTRY.get_sample_value("portico_stripe_breaker_open") == 1


def test_nothing_is_charged_on_an_account_that_shut_us_out(
    billing: Any,
    gateway: FakePaymentGateway,
    database: Transactions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A card that was tried waits, and goes on when the account is let in again."""
    other = Account("acct_1")
    connected = KnownAccount(other, Way.CONNECTED, AccountState.CONNECTED, False)
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False, accounts=[connected]))
    gateway.account = other
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.invoices["in_1"] = INVOICE
    data = PaymentMethodChanged(account=other, stripe_customer_id="cus_1", payment_method_id=GOOD)
    event = Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data)
    gateway.down = True
    assert billing.on_event(event) == "done"
    gateway.down = False
    gone = replace(connected, state=AccountState.DISCONNECTED)
    billing.accounts.directory = Directory(livemode=False, accounts=[gone])
    assert billing.on_event(event) == "not served"
    later = dt.datetime.now(dt.UTC) + PAUSES[0]
    monkeypatch.setattr(recovering, "utc_now", lambda: later)
    assert resumes(billing) is False
    billing.accounts.directory = Directory(livemode=False, read=False)
    with pytest.raises(StripeUnavailable):
        billing.on_event(event)
    billing.accounts.directory = Directory(livemode=False, accounts=[connected])
    assert resumes(billing) is False, "it was put off"
    monkeypatch.setattr(recovering, "utc_now", lambda: later + dt.timedelta(hours=1))
    assert resumes(billing) is True


def test_a_change_that_is_erased_while_it_is_put_off_is_no_error(database: Transactions) -> None:
    """Whoever is forgotten has nothing that waits."""
    recovery.put_off(database, StripeId(Account("acct_1"), "evt_1"), NOW, livemode=False)
    with database.transaction() as session:
        close_change(session, StripeId(OWN, "evt_1"), "done", NOW)
        assert session.scalars(select(PaymentMethodChange)).all() == []


@pytest.mark.whole
def test_a_card_that_comes_while_its_account_is_shut_out_waits_for_it(
    billing: Any, gateway: FakePaymentGateway, database: Transactions
) -> None:
    """Heard twice it is one change; it is carried out as soon as the account is let in again, and not before."""
    other = Account("acct_1")
    gateway.account = other
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.invoices["in_1"] = INVOICE
    with database.transaction() as session:
        connect(session, other, livemode=False, now=NOW)
        disconnect(session, other, NOW + dt.timedelta(minutes=1))
    data = PaymentMethodChanged(account=other, stripe_customer_id="cus_1", payment_method_id=GOOD)
    event = Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data)
    assert [billing.on_event(event), billing.on_event(event)] == ["not served", "not served"]
    assert (resumes(billing), gateway.paid_with) == (False, {})
    with database.reading() as session:
        (waiting,) = session.scalars(select(PaymentMethodChange)).all()
    assert (waiting.account, waiting.closed_at) == (other, None)
    assert waiting.due_at > dt.datetime.now(dt.UTC)
    with database.transaction() as session:
        connect(session, other, livemode=False, now=dt.datetime.now(dt.UTC))
    billing.accounts.refresh(dt.datetime.now(dt.UTC))
    assert resumes(billing)
    assert gateway.invoices["in_1"].status == "paid"


@pytest.mark.parametrize("livemode", [False, True])
@pytest.mark.parametrize("way", Way)
def test_a_card_does_not_wait_an_hour_for_a_process_that_has_not_seen_its_account_let_in(
    billing: Any, gateway: FakePaymentGateway, database: Transactions, way: Way, livemode: bool
) -> None:
    """Its directory is seconds old, its file of keys maybe more: it leaves the card due, whether it hears of it or finds it; of an account
    that is let in in the other mode it puts it off."""
    other = Account("acct_1")
    gateway.account = other
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    now = dt.datetime.now(dt.UTC)
    billing.accounts.refresh(now - dt.timedelta(seconds=5))
    with database.transaction() as session:
        if way is Way.CONNECTED:
            connect(session, other, livemode=livemode, now=now)
        else:
            own_keys_back(session, [other], now, livemode=livemode)
    data = PaymentMethodChanged(account=other, stripe_customer_id="cus_1", payment_method_id=GOOD)
    event = Event(id="evt_1/c", occurred_at=NOW, correlation_id="evt_1", data=data)
    assert billing.on_event(event) == "not served"
    due = [] if livemode else [StripeId(other, "evt_1")]
    assert recovery.due(database, other, dt.datetime.now(dt.UTC)) == due
    assert resumes(billing) is False
    assert recovery.due(database, other, dt.datetime.now(dt.UTC)) == due


def test_each_account_is_reconciled_in_its_turn(
    billing: Any, gateway: FakePaymentGateway, database: Transactions
) -> None:
    """The own one, those with keys of their own, and a connected one that was let in again, whatever becomes of the one before."""
    keyed, connected = Account("acct_1"), Account("acct_2")
    known = [
        KnownAccount(keyed, Way.OWN_KEY, AccountState.CONNECTED, False),
        KnownAccount(connected, Way.CONNECTED, AccountState.CONNECTED, False),
    ]
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False, accounts=known))
    billing.settings.stripe_read_pool = 10_000
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    with database.transaction() as session:
        reconciliation.reconciled_until(session, OWN, long_ago)
        connect(session, connected, livemode=False, now=long_ago)
        disconnect(session, connected, long_ago)
        connect(session, connected, livemode=False, now=long_ago + dt.timedelta(hours=2))
    gateways = {
        OWN: gateway,
        keyed: FakePaymentGateway(account=keyed),
        connected: FakePaymentGateway(account=connected),
    }
    gateway.down = True
    asked: list[Account] = []

    def at(account: Account) -> FakePaymentGateway:
        asked.append(account)
        return gateways[account]

    billing.gateways = SimpleNamespace(at=at)
    with capture_logs() as lines:
        assert billing.scheduled_reconcile() is False
        assert billing.reconcile_accounts() is False
    assert asked == [OWN, OWN, keyed, connected]
    assert [line["event"] for line in lines] == [
        "not reconciled",
        "the endpoint of connected accounts can't be looked at",
    ]


@pytest.mark.whole
def test_of_each_account_one_change_of_card_is_gone_on_with_in_a_round(
    billing: Any,
    gateway: FakePaymentGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An account that has many, longer than all others, holds up nobody else's; the loop is run again for the rest."""
    other = Account("acct_1")
    known = [KnownAccount(other, Way.CONNECTED, AccountState.CONNECTED, False)]
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False, accounts=known))
    gateways = {OWN: gateway, other: FakePaymentGateway(account=other)}
    asked: list[Account] = []

    def at(account: Account) -> FakePaymentGateway:
        asked.append(account)
        gateways[account].down = True
        return gateways[account]

    billing.gateways = SimpleNamespace(at=at)
    told = [("cus_1", OWN), ("cus_2", OWN), ("cus_3", OWN), ("cus_1", other)]
    for number, (customer, account) in enumerate(told):
        data = PaymentMethodChanged(
            account=account, stripe_customer_id=customer, payment_method_id=GOOD
        )
        event = f"evt_{number}"
        billing.on_event(Event(id=f"{event}/c", occurred_at=NOW, correlation_id=event, data=data))
    later = dt.datetime.now(dt.UTC) + PAUSES[0]
    monkeypatch.setattr(recovering, "utc_now", lambda: later)
    asked.clear()
    assert resumes(billing) is True
    assert asked == [OWN, other]


@pytest.mark.whole
def test_an_account_whose_stripe_hangs_keeps_no_other_accounts_card_waiting(
    billing: Any, gateway: FakePaymentGateway, database: Transactions
) -> None:
    """Beyond its share its cards become rows at once, whose turn comes; another account's card is tried as it comes."""
    slow, quick = Account("acct_1"), Account("acct_2")
    known = [
        KnownAccount(one, Way.CONNECTED, AccountState.CONNECTED, False) for one in (slow, quick)
    ]
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False, accounts=known))
    gateways = {slow: FakePaymentGateway(account=slow), quick: gateway}
    gateway.account = quick
    billing.gateways = SimpleNamespace(at=gateways.__getitem__)

    def card(account: Account, number: int) -> str:
        data = PaymentMethodChanged(
            account=account, stripe_customer_id=f"cus_{number}", payment_method_id=GOOD
        )
        event = Event(id=f"evt_{number}/c", occurred_at=NOW, correlation_id=f"evt_{number}", data=data)  # fmt: skip
        outcome: str = billing.on_event(event)
        return outcome

    answers = eventlet.Event()
    gateways[slow].before = lambda operation: answers.wait()
    hanging = [eventlet.spawn(card, slow, number) for number in range(CARD_PLACES // 2)]
    eventlet.sleep(0)
    assert [card(slow, number) for number in (10, 11)] == ["left for a turn"] * 2
    assert billing.woken == ["recoveries"] * 2
    assert card(quick, 20) == "done"
    answers.send()
    assert [one.wait() for one in hanging] == ["done"] * len(hanging)
    assert resumes(billing), "what was left is due"
    with database.reading() as session:
        closed = session.scalars(
            select(PaymentMethodChange.account).where(PaymentMethodChange.closed_at.is_not(None))
        ).all()
    assert sorted(closed) == [slow] * 3 + [quick]


def test_a_card_that_waits_for_an_hours_end_is_due_when_another_event_of_it_is_left_for_a_turn(
    billing: Any, gateway: FakePaymentGateway, database: Transactions
) -> None:
    """There may be more to do at once, as there is where the event finds a place."""
    wish = Wish(OWN, "evt_1", "customer.updated", "cus_1", GOOD, "", NOW)
    with database.transaction() as session:
        change = open_change(session, wish, NOW)
        postpone(session, change.name, NOW + dt.timedelta(days=365))
    told = replace(wish, event_id="evt_2", kind="customer.subscription.updated", scope="sub_1")
    recovery.leave(database, told, holder="one", clock=lambda: NOW)
    assert recovery.due(database, OWN, NOW) == [change.name]


def test_a_process_that_stops_leaves_what_it_would_have_begun_to_others(
    billing: Any, gateway: FakePaymentGateway, database: Transactions
) -> None:
    """A hundred cards would take longer than it is waited for; a reconciliation whose turn was taken is given back."""
    keyed = Account("acct_1")
    known = [KnownAccount(keyed, Way.OWN_KEY, AccountState.CONNECTED, False)]
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False, accounts=known))
    billing.settings.stripe_read_pool = 10_000
    billing.gateways = SimpleNamespace(at=lambda account: gateway)
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    for account in (OWN, keyed):
        wish = Wish(account, "evt_1", "customer.updated", "cus_1", GOOD, "", NOW)
        with database.transaction() as session:
            open_change(session, wish, NOW)
    billing.recovering.stop()
    assert billing.resume_recoveries() is False
    assert recovery.accounts_due(database, dt.datetime.now(dt.UTC)) == [OWN, keyed]
    billing.reconciled.stop()
    billing.reconciled.wait_for_place = lambda seconds: True  # it stops while the turn is taken
    assert billing.reconcile_accounts() is False
    billing.reconciled = at_once(billing, "reconcile_account")
    begun: list[Account] = []
    billing.reconcile_account = lambda account, way: begun.append(account)
    assert billing.reconcile_accounts() is False
    assert begun == [keyed]


def test_the_own_accounts_cards_go_before_those_of_others(database: Transactions) -> None:
    """It has a place of its own; of the others who has waited longest."""
    moments = {"acct_1": 2, "acct_2": 1, OWN: 3}
    with database.transaction() as session:
        for account, minute in moments.items():
            wish = Wish(Account(account), "evt_1", "customer.updated", "cus_1", GOOD, "", NOW)
            open_change(session, wish, NOW + dt.timedelta(minutes=minute))
    later = NOW + dt.timedelta(hours=1)
    assert recovery.accounts_due(database, later) == [OWN, "acct_2", "acct_1"]


def test_reads_that_could_not_be_stored_are_not_lost(billing: Any, database: Transactions) -> None:
    """The round that fails counts them again, and the next one stores them."""
    tally = ReadTally()
    tally.count(ReadKey(OWN, dt.datetime.now(dt.UTC).date(), False), 3)
    billing.gateways = SimpleNamespace(reads=tally)
    billing.accounts = SimpleNamespace(directory=Directory(livemode=False))
    billing.settings.stripe_read_pool = 10
    with database.transaction() as session:
        session.execute(text("CREATE TRIGGER full BEFORE INSERT ON stripe_reads BEGIN SELECT RAISE(FAIL, 'full'); END"))  # fmt: skip
    with pytest.raises(IntegrityError):
        billing.keep_reads()
    with database.transaction() as session:
        session.execute(text("DROP TRIGGER full"))
    assert billing.keep_reads() is False
    assert tally.take(5) == {}
    assert REGISTRY.get_sample_value("portico_stripe_read_pool_used") == 3
    assert REGISTRY.get_sample_value("portico_stripe_read_pool") == 10
