"""Asking to cancel: who may ask, what the business's answer does, and that nothing happens twice."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.portal.domain.cancelling import (
    ASK_AGAIN_AFTER,
    REMIND_AFTER,
    Decision,
    Step,
    may_ask,
)
from services.portal.domain.snapshot import Asked, Snapshot, Subscription
from services.portal.handlers import cancellation_steps, cancelling, modes
from services.portal.handlers.cancelling import Asking
from services.portal.handlers.events import handle
from services.portal.models import CancellationRequestRow, SubscriptionRow
from services.portal.ports import (
    BillingUnavailable,
    DeclineSeen,
    MailUnavailable,
    PlannedEnd,
    PriceSeen,
)
from services.portal.queries import account_states, billing_sync, cancellation_requests, page
from services.portal.queries import subscriptions as queries
from services.portal.service import PortalService
from shared import events
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.rpc.errors import NotFound, RequestClosed
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    ago,
    ahead,
    business,
    event,
    lookup,
)

REQUEST_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def news(kind: type[events.Data] = events.SubscriptionUpdated, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "subscription_id": "sub_1",
        "stripe_customer_id": "cus_1",
        "status": "canceled" if kind is events.SubscriptionEnded else "active",
        "current_period_end": ahead(days=20),
        "description": "Fortnightly clean",
        "pricing": "fixed",
        "discounted": False,
        "collection_paused": False,
        "amount": 14900,
        "currency": "usd",
        "interval": "month",
    }
    given.update(changes)
    return kind(**given)


@dataclass
class Neighbours:
    """Billing and the notifier: remember what had an effect, or are away."""

    away: bool = False
    observe: bool = False
    """Billing refuses an end: the business observes."""
    ended: dict[str, str] = field(default_factory=dict)
    dashboard_url: str | None = None
    """Set: Stripe lets only the business plan an end, there."""
    mails: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def declines(self, invoices: Sequence[StripeId]) -> dict[StripeId, DeclineSeen | None]:
        return {}

    def prices(self, subscriptions: Sequence[StripeId]) -> dict[StripeId, PriceSeen | None]:
        return {}

    def customers_may_cancel(self, account: Account, business_id: str) -> bool:
        return False

    def cancel_at_period_end(
        self, stripe_customer: StripeId, subscription_id: str, idempotency_key: str
    ) -> PlannedEnd:
        if self.away:
            raise BillingUnavailable("RpcTimeout")
        if self.observe:
            raise BillingUnavailable("BusinessObserves")
        if self.dashboard_url is not None:
            return PlannedEnd(dashboard_url=self.dashboard_url)
        self.ended[subscription_id] = idempotency_key
        return PlannedEnd(ahead(days=20))

    def to_business(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        if self.away:
            raise MailUnavailable("RpcUnavailable")
        self.mails.append(("business", kind, context))

    def to_customer(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        if self.away:
            raise MailUnavailable("RpcUnavailable")
        self.mails.append(("customer", kind, context))


@pytest.fixture
def customer_id(session: Session) -> str:
    """A customer on autopay whose business decides about cancelling."""
    return tables.filled(session.get_bind().engine, add_deciding, session)


def add_deciding(session: Session) -> str:
    add_business(session, email="hello@sunrise.example", locale="de")
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    billing_sync.note_rights(session, "sunrise", False, NOW)
    handle(session, event(news(), ago(days=1)), NOW)
    return made.customer_id


def look(session: Session, customer_id: str, now: dt.datetime = NOW) -> Snapshot:
    session.flush()
    session.expire_all()
    found = lookup(session, customer_id, now)
    assert found is not None
    return found


def ask(session: Session, customer_id: str, now: dt.datetime = NOW) -> Asking:
    found = look(session, customer_id, now)
    return cancelling.ask(session, found, found.subscriptions[0], now)


def request(session: Session) -> CancellationRequestRow:
    return session.scalars(
        select(CancellationRequestRow).order_by(CancellationRequestRow.id.desc())
    ).first() or pytest.fail("no request")


def work(session: Session, neighbours: Neighbours, now: dt.datetime = NOW) -> list[Step]:
    """Do all that is due, as the loop does; which steps those were."""
    steps = []
    while step_to_do := cancellation_steps.lease_step(session, now):
        steps.append(step_to_do.step)
        done = cancellation_steps.run_errand(step_to_do, neighbours, neighbours)
        cancellation_steps.finish_errand(session, step_to_do, done, now)
        session.flush()
    return steps


# --- who may ask ----------------------------------------------------------------------------------------------

LIVE = Subscription(ref=1, subscription_id="sub_1", status="active")
FORBIDS = business(may_cancel=False)


def test_a_customer_may_ask_where_the_page_forbids_cancelling() -> None:
    """Only where the business has switched cancelling off, and can be written to."""
    assert may_ask(LIVE, FORBIDS, NOW)
    assert not may_ask(LIVE, business(may_cancel=True), NOW)
    assert not may_ask(LIVE, business(may_cancel=None), NOW)
    assert not may_ask(LIVE, business(may_cancel=False, email=None), NOW)


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"status": "past_due"}, True),
        ({"status": "canceled"}, False),
        ({"status": "incomplete"}, False),
        ({"ends_at": ahead(days=3)}, False),
    ],
)
def test_only_a_subscription_without_an_end_can_be_asked_about(
    changes: dict[str, Any], may: bool
) -> None:
    """What ends anyway, or has ended, is nothing to ask about."""
    assert may_ask(dataclasses.replace(LIVE, **changes), FORBIDS, NOW) is may


@pytest.mark.parametrize(
    ("status", "decided", "may"),
    [
        ("open", None, False),
        ("approved", ago(days=40), False),
        ("declined", ago(hours=1), False),
        ("declined", NOW - ASK_AGAIN_AFTER, True),
        ("overtaken", ago(minutes=1), True),
    ],
)
def test_after_an_answer_the_customer_waits_before_asking_again(
    status: str, decided: dt.datetime | None, may: bool
) -> None:
    """One open request, no nagging after a no; what was taken back can be asked about anew."""
    asked = Asked(request_id=REQUEST_ID, status=status, asked_at=ago(days=50), decided_at=decided)
    assert may_ask(dataclasses.replace(LIVE, asked=asked), FORBIDS, NOW) is may


# --- the story ------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_asked_approved_and_carried_out(session: Session, customer_id: str) -> None:
    """The business is told in its own language; its yes ends the subscription at billing, then the customer is told."""
    neighbours = Neighbours()
    assert ask(session, customer_id) is Asking.ASKED
    assert work(session, neighbours) == [Step.TELL_BUSINESS]
    (to, kind, context) = neighbours.mails[0]
    assert (to, kind) == ("business", "cancellation_requested")
    assert context["request_id"] == request(session).request_id
    assert context["description"].startswith("Fortnightly clean, ")
    assert neighbours.ended == {}
    decided = cancelling.decide(session, request(session).request_id, Decision.APPROVE, NOW)
    assert decided is not None
    assert decided[1]
    assert work(session, neighbours) == [Step.CANCEL, Step.TELL_CUSTOMER]
    assert neighbours.ended == {"sub_1": request(session).request_id}
    assert neighbours.mails[1][:2] == ("customer", "cancellation_approved")
    assert neighbours.mails[1][2]["ends_at"] == ahead(days=20).isoformat()
    assert request(session).next_try_at is None


@pytest.mark.whole
def test_declined_ends_nothing(session: Session, customer_id: str) -> None:
    """A no is told to the customer, and billing hears nothing of it."""
    neighbours = Neighbours()
    ask(session, customer_id)
    work(session, neighbours)
    cancelling.decide(session, request(session).request_id, Decision.DECLINE, NOW)
    assert work(session, neighbours) == [Step.TELL_CUSTOMER]
    assert neighbours.mails[-1][:2] == ("customer", "cancellation_declined")
    assert neighbours.ended == {}


@pytest.mark.parametrize("second", Decision)
def test_the_second_answer_does_nothing(
    session: Session, customer_id: str, second: Decision
) -> None:
    """A link is good once: pressed again, or the other one pressed, it only says what was answered."""
    neighbours = Neighbours()
    ask(session, customer_id)
    request_id = request(session).request_id
    cancelling.decide(session, request_id, Decision.APPROVE, NOW)
    work(session, neighbours)
    mails, ended = list(neighbours.mails), dict(neighbours.ended)
    found = cancelling.decide(session, request_id, second, ahead(hours=1))
    assert found is not None
    shown, counted = found
    assert (shown.status, counted, shown.decided_at) == ("approved", False, NOW)
    assert work(session, neighbours, ahead(hours=1)) == []
    assert (neighbours.mails, neighbours.ended) == (mails, ended)


def test_asking_twice_is_asking_once(session: Session, customer_id: str) -> None:
    """A second press, before the answer, makes no second request and no second mail."""
    neighbours = Neighbours()
    assert ask(session, customer_id) is Asking.ASKED
    assert ask(session, customer_id) is Asking.ALREADY
    work(session, neighbours)
    assert len(neighbours.mails) == 1
    twin = {
        column.name: getattr(request(session), column.name)
        for column in CancellationRequestRow.__table__.columns
        if column.name not in ("id", "request_id")
    }
    session.add(CancellationRequestRow(request_id="B" * 22, **twin))
    with pytest.raises(IntegrityError):
        session.flush()


def test_asking_where_it_is_not_offered_stores_nothing(session: Session, customer_id: str) -> None:
    """A press on a page that was drawn before the business allowed cancelling makes no request."""
    billing_sync.note_rights(session, "sunrise", True, NOW)
    assert ask(session, customer_id) is Asking.NOT_OFFERED
    assert session.scalars(select(CancellationRequestRow)).all() == []


@pytest.mark.whole
def test_neighbours_that_are_away_are_asked_again(session: Session, customer_id: str) -> None:
    """Nothing is lost while the notifier or billing is away; each step is tried again later, and done once."""
    neighbours = Neighbours(away=True)
    ask(session, customer_id)
    assert work(session, neighbours) == [Step.TELL_BUSINESS]
    assert (request(session).tries, request(session).last_error) == (1, "RpcUnavailable")
    assert work(session, neighbours) == []
    neighbours.away = False
    assert work(session, neighbours, ahead(minutes=1)) == [Step.TELL_BUSINESS]
    cancelling.decide(session, request(session).request_id, Decision.APPROVE, ahead(minutes=2))
    neighbours.away = True
    assert work(session, neighbours, ahead(minutes=2)) == [Step.CANCEL]
    neighbours.away = False
    steps = work(session, neighbours, ahead(minutes=3))
    assert steps == [Step.CANCEL, Step.TELL_CUSTOMER]
    assert [kind for _, kind, _ in neighbours.mails] == [
        "cancellation_requested",
        "cancellation_approved",
    ]


def test_a_request_on_an_account_that_is_let_go_waits_quietly(
    session: Session, customer_id: str
) -> None:
    """Billing would refuse it again and again, and the operator would be told of it each time. Once the account is connected again it goes on
    from there."""
    neighbours = Neighbours()
    ask(session, customer_id)
    account = Account(request(session).account)
    assert cancellation_requests.waiting_requests(session) == (1, NOW)
    account_states.note_state(session, account, "disconnected", NOW)
    assert work(session, neighbours, ahead(days=9)) == []
    assert cancellation_requests.waiting_requests(session) == (0, None)
    assert (request(session).tries, request(session).last_error) == (0, None)
    account_states.note_state(session, account, "connected", ahead(days=9))
    assert work(session, neighbours, ahead(days=9)) == [Step.TELL_BUSINESS]


def mode(session: Session, mode: str, at: dt.datetime) -> None:
    modes.set_mode(session, "sunrise", mode, False, at)
    session.flush()


def approved(session: Session, customer_id: str, neighbours: Neighbours) -> str:
    """A request that was approved, with nothing done for it yet."""
    ask(session, customer_id)
    work(session, neighbours)
    request_id = request(session).request_id
    cancelling.decide(session, request_id, Decision.APPROVE, NOW)
    session.flush()
    return request_id


@pytest.mark.whole
def test_an_end_that_was_approved_before_observing_is_asked_for_again(
    session: Session, customer_id: str
) -> None:
    """Billing refuses it while the business observes. Months later, once that is live, somebody approves again or nothing ends; in
    between nobody is asked, nobody is alarmed, and no answer counts."""
    neighbours = Neighbours(observe=True)
    request_id = approved(session, customer_id, neighbours)
    mode(session, "observe", ahead(minutes=1))
    assert work(session, neighbours, ahead(minutes=2)) == [Step.CANCEL]
    row = request(session)
    assert (row.status, row.tries, row.last_error) == ("open", 0, None)
    assert work(session, neighbours, ahead(days=60)) == []
    assert cancellation_requests.waiting_requests(session) == (0, None)
    again = cancelling.decide(session, request_id, Decision.APPROVE, ahead(days=60))
    assert again is not None
    assert again[1] is False
    neighbours.observe = False
    mode(session, "live", ahead(days=61))
    assert work(session, neighbours, ahead(days=61)) == [Step.TELL_BUSINESS]
    assert neighbours.ended == {}
    first, second = [context["request_id"] for _, kind, context in neighbours.mails]
    assert first == request_id != second, "one mail a request id"
    assert second.partition(":")[0] == request_id
    cancelling.decide(session, request_id, Decision.APPROVE, ahead(days=62))
    assert work(session, neighbours, ahead(days=62)) == [Step.CANCEL, Step.TELL_CUSTOMER]
    assert neighbours.ended == {"sub_1": request_id}


@pytest.mark.whole
def test_an_end_that_nobody_tried_while_the_business_observed_is_asked_for_again(
    session: Session, customer_id: str
) -> None:
    """Billing was away all the time; the line alone tells that the approval is from before it."""
    neighbours = Neighbours(away=False)
    approved(session, customer_id, neighbours)
    mode(session, "observe", ahead(minutes=1))
    mode(session, "live", ahead(minutes=2))
    assert work(session, neighbours, ahead(minutes=3)) == [Step.TELL_BUSINESS]
    assert (request(session).status, neighbours.ended) == ("open", {})


def test_an_installation_that_observes_asks_nobody(session: Session, customer_id: str) -> None:
    """A request of just before waits; afterwards the business is asked as ever."""
    ask(session, customer_id)
    lease = cancellation_steps.lease_step
    assert lease(session, ahead(days=9), installation_observes=True) is None
    assert cancellation_requests.waiting_requests(session, True) == (0, None)
    assert work(session, Neighbours(), ahead(days=9)) == [Step.TELL_BUSINESS]


def test_links_are_found_by_the_id_of_a_further_mail(session: Session, customer_id: str) -> None:
    """What follows the colon tells mails apart, not requests."""
    ask(session, customer_id)
    found: Any = PortalService()
    found.db = SimpleNamespace(reading=lambda: nullcontext(session))
    found.wiring = SimpleNamespace(
        request_links=SimpleNamespace(url=lambda request_id, _: request_id)
    )
    request_id = request(session).request_id
    assert found.cancellation_links(f"{request_id}:after-20260101").approve == request_id


def test_a_worker_that_died_in_a_step_is_replaced(session: Session, customer_id: str) -> None:
    """The lease runs out and the step is done by another, with the same request as its key."""
    ask(session, customer_id)
    taken = cancellation_steps.lease_step(session, NOW)
    assert taken is not None
    session.flush()
    assert cancellation_steps.lease_step(session, NOW) is None
    again = cancellation_steps.lease_step(session, NOW + cancellation_steps.LEASE)
    assert again is not None
    assert (again.request_id, again.step) == (taken.request_id, taken.step)


@pytest.mark.whole
def test_an_end_from_elsewhere_answers_the_request(session: Session, customer_id: str) -> None:
    """When the business ends it in Stripe's dashboard nobody is asked any more, and old links decide nothing."""
    ask(session, customer_id)
    request_id = request(session).request_id
    cancelling.open_links_of(session, request_id)
    ends = news(events.SubscriptionCancellationScheduled, ends_at=ahead(days=20))
    handle(session, event(ends, NOW), NOW)
    assert request(session).status == "overtaken"
    with pytest.raises(RequestClosed):
        cancelling.open_links_of(session, request_id)
    with pytest.raises(NotFound):
        cancelling.open_links_of(session, REQUEST_ID)
    found = cancelling.decide(session, request_id, Decision.APPROVE, NOW)
    assert found is not None
    assert found[1] is False
    assert work(session, Neighbours()) == []


# --- where Stripe lets only the business do it ---------------------------------------------------------------

PAGE = "https://dashboard.stripe.com/acct_shop/subscriptions/sub_1"


def approved_by_hand(session: Session, customer_id: str, neighbours: Neighbours) -> None:
    neighbours.dashboard_url = PAGE
    ask(session, customer_id)
    work(session, neighbours)
    cancelling.decide(session, request(session).request_id, Decision.APPROVE, NOW)


@pytest.mark.whole
def test_an_end_that_only_the_business_can_plan_waits_for_it(
    session: Session, customer_id: str
) -> None:
    """The business gets the link, and is reminded once; billing is asked once; nobody is told that it is done before Stripe says so."""
    neighbours = Neighbours()
    approved_by_hand(session, customer_id, neighbours)
    assert work(session, neighbours) == [Step.CANCEL, Step.ASK_BUSINESS]
    to, kind, context = neighbours.mails[-1]
    assert (to, kind, context["dashboard_url"]) == ("business", "cancellation_by_hand", PAGE)
    assert request(session).carried_out_at is None
    assert cancellation_requests.waiting_requests(session)[0] == 0
    assert work(session, neighbours, NOW + REMIND_AFTER - dt.timedelta(minutes=1)) == []
    assert work(session, neighbours, NOW + REMIND_AFTER) == [Step.REMIND_BUSINESS]
    assert neighbours.mails[-1][2]["request_id"] == f"{request(session).request_id}:again"
    assert work(session, neighbours, ahead(days=400)) == []
    assert [one[0] for one in neighbours.mails] == ["business"] * 3
    later = ahead(days=9)
    ends = news(events.SubscriptionCancellationScheduled, ends_at=ahead(days=20))
    handle(session, event(ends, later), later)
    assert work(session, neighbours, later) == [Step.TELL_CUSTOMER]
    to, kind, context = neighbours.mails[-1]
    assert (to, kind) == ("customer", "cancellation_approved")
    assert context["ends_at"] == ahead(days=20).isoformat()
    assert request(session).next_try_at is None


@pytest.mark.whole
def test_what_the_business_did_in_the_meantime_counts(session: Session, customer_id: str) -> None:
    """It cancelled while Stripe was being asked: what was heard before the refusal is not forgotten."""
    neighbours = Neighbours()
    approved_by_hand(session, customer_id, neighbours)
    over = news(events.SubscriptionEnded, ends_at=NOW)
    handle(session, event(over, NOW), NOW)
    assert work(session, neighbours) == [Step.CANCEL, Step.TELL_CUSTOMER]


# --- what the page knows of subscriptions ---------------------------------------------------------------------


def subscriptions(session: Session, customer_id: str) -> list[tuple[str, dt.datetime | None]]:
    return [(one.status, one.ends_at) for one in look(session, customer_id).subscriptions]


def test_the_newest_news_of_a_subscription_wins(session: Session, customer_id: str) -> None:
    """Events in any order: what happened last is shown, and an end stays an end."""
    ends = news(events.SubscriptionCancellationScheduled, ends_at=ahead(days=20))
    handle(session, event(ends, ago(minutes=5)), NOW)
    handle(session, event(news(), ago(minutes=9)), NOW)
    assert subscriptions(session, customer_id) == [("active", ahead(days=20))]
    handle(session, event(news(), ago(minutes=2)), NOW)
    assert subscriptions(session, customer_id) == [("active", None)]
    over = news(events.SubscriptionEnded, ends_at=ago(minutes=3))
    handle(session, event(over, ago(minutes=3)), NOW)
    assert subscriptions(session, customer_id) == [("canceled", ago(minutes=3))]
    handle(session, event(news(), ago(minutes=1)), NOW)
    assert subscriptions(session, customer_id) == [("canceled", ago(minutes=3))]


def test_what_ended_long_ago_is_not_shown(session: Session, customer_id: str) -> None:
    """The page tells of an end for a month; incomplete ones it never shows."""
    over = news(events.SubscriptionEnded, ends_at=ago(days=40))
    handle(session, event(over, ago(days=40)), NOW)
    handle(session, event(news(subscription_id="sub_2", status="incomplete"), ago(days=1)), NOW)
    assert subscriptions(session, customer_id) == []


def test_nobody_sees_anothers_subscription(session: Session, customer_id: str) -> None:
    """A subscription belongs to its Stripe customer alone, however many customers are looked up at once."""
    other = add_customer(session, "c2", platform_stripe_customer_id="cus_2")
    session.flush()
    found = page.lookup_many(session, [customer_id, other.customer_id], NOW)
    assert len(found[customer_id].subscriptions) == 1
    assert found[other.customer_id].subscriptions == ()
    assert cancelling.subscription_of(found[other.customer_id], 1) is None


def test_a_row_keeps_what_the_contract_tells(session: Session, customer_id: str) -> None:
    """A subscription's row keeps all that the contract tells."""
    row = session.scalars(select(SubscriptionRow)).one()
    assert (row.description, row.amount, row.currency, row.interval, row.interval_count) == (
        "Fortnightly clean",
        14900,
        "usd",
        "month",
        1,
    )


def test_which_payment_method_is_kept_may_be_told_first(session: Session, customer_id: str) -> None:
    """Before anything was told of the subscription nothing is shown of it; once it is, the page says so."""

    def kept(at: dt.datetime, *, over: bool = False) -> events.Event:
        told = events.SubscriptionPaymentMethodKept(
            subscription_id="sub_9",
            stripe_customer_id="cus_1",
            payment_method_id="pm_1",
            over=over,
        )
        return event(told, at)

    before = look(session, customer_id).subscriptions
    handle(session, kept(ago(hours=1)), NOW)
    handle(session, kept(ago(hours=2), over=True), NOW)
    assert look(session, customer_id).subscriptions == before
    assert queries.state_of(session, StripeId(OWN, "sub_9")) is None
    handle(session, event(news(subscription_id="sub_9"), ago(days=3)), NOW)
    shown = [
        one for one in look(session, customer_id).subscriptions if one.subscription_id == "sub_9"
    ]
    assert [one.method_kept for one in shown] == [True]


def test_a_subscription_that_keeps_its_payment_method_is_known(
    session: Session, customer_id: str
) -> None:
    """Told by billing, and taken back by it; the newest word counts, in whatever order they come."""

    def hear(at: dt.datetime, *, over: bool) -> bool:
        kept = events.SubscriptionPaymentMethodKept(
            subscription_id="sub_1",
            stripe_customer_id="cus_1",
            payment_method_id="pm_1",
            over=over,
        )
        handle(session, event(kept, at), NOW)
        return look(session, customer_id).subscriptions[0].method_kept

    assert not look(session, customer_id).subscriptions[0].method_kept
    assert hear(ago(hours=2), over=False)
    assert not hear(ago(hours=1), over=True)
    assert not hear(ago(minutes=90), over=False)
