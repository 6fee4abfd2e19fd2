"""Observe, then live: nothing that nobody asked for goes out before, none of it afterwards, and all of it that a person accepts."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.kinds import DUNNING, KINDS, Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.observing import happened_at, observed_because
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.domain.sending import MaybeSent, Unavailable
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.handlers import delivery, hooks, observing, requests, subscriptions
from services.notifier.handlers.timeline import About, story
from services.notifier.models import Base, IncidentRow, Notification
from services.notifier.queries import notifications
from services.notifier.rpc.observed import Observed
from services.notifier.workflows import observing as workflow
from services.notifier.workflows import sending
from shared import events as contract
from shared.contracts.accounts import OWN
from shared.contracts.invoices import SILENT_FOR, InvoiceStatus
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    StillObserved,
    TemporarilyUnavailable,
)
from shared.contracts.rpc.notifier import RequestContext
from tests.unit import tables
from tests.unit.notifier.conftest import House, event, failed, paid
from tests.unit.notifier.fakes import START, FakePortal, a_contact
from tests.unit.notifier.test_posting import wanting

DANA = "dana@example.com"
SUNRISE = "sunrise"
OTHER = Kind.PAYMENT_FAILED
QUIET = ReminderPolicy(quiet_hours=QuietHours(dt.time(5), dt.time(10)))
"""It is seven in the morning in New York, where Dana lives."""


def business(house: House, **changes: Any) -> None:
    """The business of everybody whom the portal knows changes."""
    portal = house.portal
    for key, person in portal.people.items():
        known = {"business_id": SUNRISE, **changes}
        portal.people[key] = replace(person, business=replace(person.business, **known))


def observe(house: House) -> None:
    business(house, observed=True)


def go_live(house: House) -> None:
    """As the portal tells it when somebody says so: with the line, a moment after all that was heard until then."""
    house.clock.forward(seconds=1)
    business(house, observed=False, live_since=house.clock())


def until_quiet(house: House) -> list[str]:
    """Send until nothing is due; what came of each."""
    outcomes: list[str] = []
    for _ in range(200):
        some = house.work()
        if not some:
            return outcomes
        outcomes += some
    raise AssertionError("the senders never come to rest")


def all_that_waits(house: House) -> None:
    """Let all time pass that anything waits for, but for customers whom nobody knows."""
    for _ in range(20):
        until_quiet(house)
        house.clock.forward(hours=7)
    until_quiet(house)


def accept(house: House, *rows: Notification) -> list[bool]:
    wanted = [row.notification_id for row in rows]
    house.portal.people.setdefault(SUNRISE, house.portal.people["cus_1"])
    done = workflow.accept(house.db, house.portal, wanted, house.clock(), observes=house.observes)
    return [one.accepted for one in done]


def states(house: House) -> set[tuple[str, str | None]]:
    return {(row.status, row.reason) for row in house.rows()}


@pytest.fixture
def watched(house: House) -> House:
    observe(house)
    return house


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_but_the_one_that_its_reader_asked_for_is_observed(kind: Kind) -> None:
    """Also those to the business; and a person's wish sends none while it observes."""
    told = {"observes": True, "live_since": None, "happened": START}
    expected = None if kind is Kind.FRESH_LINK else Reason.OBSERVING
    for wanted_at in (None, START):
        assert observed_because(kind, wanted_at=wanted_at, **told) is expected


@pytest.mark.parametrize(
    ("happened", "wanted", "expected"),
    [
        (-1, None, Reason.BEFORE_THE_LINE),
        (0, None, None),
        (1, None, None),
        (-2, -1, Reason.BEFORE_THE_LINE),
        (-2, 0, None),
        (-2, 1, None),
    ],
)
def test_the_line_parts_what_happened_before_from_what_counts(
    happened: int, wanted: int | None, expected: Reason | None
) -> None:
    """What happened at the very moment of the line is after it, for billing, too; what a person has wanted since goes whenever it happened.
    Seconds after the line."""
    told: dict[str, Any] = {
        "observes": False,
        "happened": START + dt.timedelta(seconds=happened),
        "wanted_at": None if wanted is None else START + dt.timedelta(seconds=wanted),
    }
    assert observed_because(OTHER, live_since=START, **told) is expected
    assert observed_because(OTHER, live_since=None, **told) is None


def test_what_was_heard_before_or_happened_before_is_before() -> None:
    """A late webhook tells of old things; one of a test clock that runs ahead was heard before all the same."""
    early, late = START, START + dt.timedelta(hours=1)
    assert happened_at(early, late) == happened_at(late, early) == early


# --- while it observes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["business", "installation"])
def test_a_failure_is_observed_and_nobody_is_written_to(house: House, who: str) -> None:
    """The row says why and for which business; the customer counts as not told, so nothing about the payment follows."""
    business(house)
    if who == "business":
        observe(house)
    else:
        house.observes = True
    house.hear(failed())
    assert house.work() == ["observed"]
    row = house.row()
    assert (row.status, row.reason, row.kind) == ("observed", Reason.OBSERVING, "payment_failed")
    assert (row.business_id, row.finished_at, row.unconfirmed_since) == (
        SUNRISE,
        house.clock(),
        None,
    )
    (incident,) = house.table(IncidentRow)
    assert (incident.last_mailed_at, incident.asked_at) == (None, None)
    house.hear(paid())
    all_that_waits(house)
    assert house.mailer.inbox == []
    assert len(house.rows()) == 1  # no "it is paid", to nobody


def test_what_is_paid_when_it_would_go_is_suppressed_as_ever(watched: House) -> None:
    """Before it is decided the invoice is looked at."""
    watched.hear(failed())
    watched.billing.say("in_1", InvoiceNow(status=InvoiceStatus.PAID, amount_remaining=0))
    assert watched.work() == ["suppressed"]
    assert watched.row().reason == Reason.PAID


def test_it_is_decided_when_it_would_go_out(watched: House) -> None:
    """Quiet hours hold it first: what is paid in the night would not have gone in the morning."""
    business(watched, reminders=QUIET)
    watched.hear(failed())
    assert watched.work() == ["held"]
    watched.clock.forward(hours=12)
    assert watched.work() == ["observed"]


def test_both_events_of_one_failure_are_observed_once(watched: House) -> None:
    """Payment failed, and action required: one email would have told of both."""
    watched.hear(failed())
    until_quiet(watched)
    watched.hear(event(contract.InvoicePaymentActionRequired))
    until_quiet(watched)
    assert sorted(row.status for row in watched.rows()) == ["observed", "suppressed"]
    assert {row.reason for row in watched.rows()} == {Reason.OBSERVING, Reason.SAME_ATTEMPT}


def test_two_failures_that_come_together_are_decided_in_one_transaction(watched: House) -> None:
    """Each would have been an email: nobody was told of the first, so the second doesn't wait for it."""
    for number in (1, 2):
        watched.hear(failed(invoice_id=f"in_{number}"))
    assert until_quiet(watched) == ["observed", "observed"]


def test_a_later_failure_is_observed_too(watched: House) -> None:
    """Each attempt is a chance to tell."""
    for attempt in (1, 2):
        watched.hear(failed(attempt_count=attempt, occurred_at=watched.clock()))
        until_quiet(watched)
        watched.clock.forward(days=3)
    assert [row.status for row in watched.rows()] == ["observed", "observed"]


def test_what_waits_to_be_told_together_ends_each_by_itself(house: House) -> None:
    """One was sent, two wait for more: then the business observes. All end, and no email lists them."""
    for number in (1, 2, 3):
        house.hear(failed(invoice_id=f"in_{number}"))
    until_quiet(house)
    observe(house)
    house.clock.forward(minutes=11)
    until_quiet(house)
    assert sorted(row.status for row in house.rows()) == ["observed", "observed", "sent"]
    assert len(house.mailer.inbox) == 1
    assert {row.told_in for row in house.rows()} == {None}


def test_what_was_tied_to_an_email_before_ends_with_it(house: House) -> None:
    """The sender died between gathering and sending; the next one finds that the business observes."""
    for number in (1, 2, 3):
        house.hear(failed(invoice_id=f"in_{number}"))
    until_quiet(house)
    house.clock.forward(minutes=11)
    (lead, *_) = sending.lease(house.desk, 1)
    sending._gather(house.desk, lead)
    observe(house)
    house.clock.forward(minutes=5)
    until_quiet(house)
    assert sorted(row.status for row in house.rows()) == ["observed", "observed", "sent"]


def test_a_customer_who_asks_gets_the_link(watched: House) -> None:
    """And a person's resend of another email does not go."""
    person = watched.portal.people["cus_1"]
    watched.portal.people[person.customer_id] = person
    with watched.db.transaction() as session:
        requests.send_fresh_link(session, person.customer_id, watched.clock())
    assert until_quiet(watched) == ["sent"]
    watched.hear(failed())
    until_quiet(watched)
    (row,) = (one for one in watched.rows() if one.status == "observed")
    with watched.db.transaction() as session:
        requests.resend(session, row.notification_id, watched.clock())
    assert until_quiet(watched) == ["observed"]
    assert watched.mailed_to(DANA) == ["fresh_link"]


def test_emails_to_the_business_are_observed(watched: House) -> None:
    """Of an end, of a request, of its own endpoint."""
    person = watched.portal.people["cus_1"]
    watched.portal.people |= {person.customer_id: person, SUNRISE: person}
    watched.hear(
        contract.Event(
            id="evt_end/subscription.ended",
            occurred_at=watched.clock(),
            correlation_id="evt_end",
            data=contract.SubscriptionEnded(
                subscription_id="sub_1", stripe_customer_id="cus_1", status="canceled"
            ),
        )
    )
    with watched.db.transaction() as session:
        requests.send_requested(
            session,
            Kind.CUSTOMER_UNREACHABLE,
            person.customer_id,
            RequestContext(request_id="r1"),
            watched.clock(),
        )
        endpoint = hooks.HookEndpoint(
            endpoint_id="whe_1",
            business_id=SUNRISE,
            url="https://hooks.example.com",
            event_types=[],
            enabled=True,
            generation=1,
            failures=0,
            created_at=watched.clock(),
        )
        session.add(endpoint)
        hooks._switch_off(session, endpoint, hooks.DisabledBecause.GONE, watched.clock())
    until_quiet(watched)
    assert watched.mailer.inbox == []
    assert {row.kind: row.status for row in watched.rows()} == {
        "subscription_ending": "observed",
        "customer_unreachable": "observed",
        "webhooks_stopped": "observed",
    }


def test_a_recovery_that_comes_while_it_observes_is_observed(house: House) -> None:
    """The customer was told of the failure before; the good news, and the business's, wait for a person."""
    business(house)
    house.hear(failed())
    until_quiet(house)
    observe(house)
    house.hear(paid())
    until_quiet(house)
    assert house.mailed_to(DANA) == ["payment_failed"]
    assert {row.kind: row.status for row in house.rows()} == {
        "payment_failed": "sent",
        "payment_recovered": "observed",
        "customer_recovered": "observed",
    }


def test_an_email_that_may_have_been_sent_is_not_sent_once_more(house: House) -> None:
    """Its business observes since; SendGrid's report still tells that it had arrived."""
    house.mailer.answers.append(MaybeSent("no answer"))
    house.hear(failed())
    house.work()
    observe(house)
    house.clock.forward(minutes=20)
    assert until_quiet(house) == ["observed"]
    assert len(house.mailer.inbox) == 1
    assert house.row().unconfirmed_since is not None


# --- going live ------------------------------------------------------------------------------------------------------


def test_going_live_sends_nothing_of_before_and_all_of_after(watched: House) -> None:
    """What was observed is final; what waited through it is from before the line; a new failure is told as the first one."""
    business(watched, reminders=QUIET)
    watched.hear(failed())
    watched.work()
    go_live(watched)
    watched.clock.forward(hours=12)
    assert until_quiet(watched) == ["observed"]
    assert watched.row().reason == Reason.BEFORE_THE_LINE
    watched.hear(failed(attempt_count=2, occurred_at=watched.clock()))
    assert until_quiet(watched) == ["sent"]
    assert watched.mailed_to(DANA) == ["payment_failed"]


@pytest.mark.parametrize("waits_for", ["customer", "morning"])
def test_a_failure_after_the_line_is_told_though_one_of_before_waits(
    watched: House, waits_for: str
) -> None:
    """While that waits, the new one becomes no email of its own; when that ends as observed, the new one is due."""
    person = watched.portal.people["cus_1"]
    if waits_for == "customer":
        watched.portal.people.pop("cus_1")
    else:
        business(watched, reminders=QUIET)
    watched.hear(failed(occurred_at=watched.clock()))
    until_quiet(watched)
    go_live(watched)
    line = watched.clock()
    watched.clock.forward(minutes=1)
    for attempt in (2, 3):
        watched.hear(failed(attempt_count=attempt, occurred_at=watched.clock()))
        until_quiet(watched)
        watched.clock.forward(minutes=1)
    assert [row.status for row in watched.rows()] == ["pending", "suppressed", "suppressed"]
    watched.portal.people["cus_1"] = watched.portal.people.get("cus_1", person)
    business(watched, observed=False, live_since=line)
    all_that_waits(watched)
    assert watched.mailed_to(DANA) == ["payment_failed"]
    assert [(row.status, row.attempt) for row in watched.rows()] == [
        ("observed", 1),
        ("suppressed", 2),
        ("sent", 3),
    ]


def test_a_webhook_that_comes_late_tells_of_before(house: House) -> None:
    """Stripe repeats for days: what happened before the line is observed, whenever it is heard of."""
    business(house)
    go_live(house)
    house.clock.forward(hours=5)
    house.hear(failed(occurred_at=house.clock() - dt.timedelta(hours=6)))
    assert until_quiet(house) == ["observed"]


def test_a_customer_who_becomes_known_later_is_not_told_of_before(house: House) -> None:
    """The email waited for the customer, and the line was drawn meanwhile."""
    house.hear(failed(stripe_customer_id="cus_2"))
    until_quiet(house)
    house.portal.people["cus_2"] = a_contact(email="evan@example.com")
    business(house, live_since=house.clock() + dt.timedelta(seconds=30))
    house.clock.forward(days=1)
    until_quiet(house)
    assert house.mailer.inbox == []
    assert states(house) == {("observed", Reason.BEFORE_THE_LINE)}


def test_a_new_email_takes_nothing_of_before_along(house: House) -> None:
    """It may list what else is owed; the old email is not told by it, and stays for a person to accept."""
    business(house)
    for number in (1, 2):  # the first is sent, the second waits for more
        house.hear(failed(invoice_id=f"in_{number}", occurred_at=house.clock()))
        until_quiet(house)
    house.clock.forward(minutes=1)
    go_live(house)
    house.clock.forward(minutes=1)
    house.hear(failed(invoice_id="in_3", occurred_at=house.clock()))
    until_quiet(house)
    house.clock.forward(minutes=15)
    until_quiet(house)
    by_invoice = {row.invoice_id: (row.status, row.told_in) for row in house.rows()}
    assert by_invoice["in_1"][0] == by_invoice["in_3"][0] == "sent"
    assert by_invoice["in_2"] == ("observed", None)


def test_what_fell_silent_before_the_line_is_no_news_to_the_business(watched: House) -> None:
    """A week without a word ends after going live; nothing has happened since the line but the silence."""
    watched.hear(failed(next_payment_attempt=None))
    until_quiet(watched)
    go_live(watched)
    watched.clock.forward(seconds=SILENT_FOR.total_seconds() + 60)
    with watched.db.transaction() as session:
        subscriptions.note_silent(session, watched.clock())
    watched.billing.say("in_1", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900))
    all_that_waits(watched)
    assert watched.mailer.inbox == []
    assert {row.kind: row.reason for row in watched.rows()} == {
        "payment_failed": Reason.OBSERVING,
        "collection_ended": Reason.BEFORE_THE_LINE,
    }


def noted_while_it_observes(house: House) -> None:
    """A week's silence is noted; then Stripe names a date after all, so it waits. The business goes live, and three days pass."""
    house.hear(failed(next_payment_attempt=None, auto_advance=True))
    until_quiet(house)
    house.clock.forward(seconds=SILENT_FOR.total_seconds() + 60)
    with house.db.transaction() as session:
        subscriptions.note_silent(session, house.clock())
    goes_on = house.clock() + dt.timedelta(days=5)
    say_open(house, next_payment_attempt=goes_on)
    house.clock.forward(minutes=1)
    until_quiet(house)
    go_live(house)
    house.clock.forward(days=3)


def say_open(house: House, **now: Any) -> None:
    house.billing.say("in_1", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, **now))


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("how", ["subscription", "turned off"])
def test_an_end_after_the_line_is_told_though_it_was_noted_before(
    watched: House, how: str, held: bool
) -> None:
    """What was noted for silence waits still, and tells of the end that comes now; also where a sender holds it."""
    noted_while_it_observes(watched)
    now = watched.clock()
    leased = sending.lease(watched.desk, 9) if held else []
    assert len(leased) == held
    if how == "subscription":
        say_open(watched, subscription_status="canceled", subscription_end_reason="payment_failed")
        end = contract.SubscriptionEnded(
            subscription_id="sub_1",
            stripe_customer_id="cus_1",
            status="canceled",
            end_reason="payment_failed",
        )
        watched.hear(
            contract.Event(id="evt_end", occurred_at=now, correlation_id="evt_end", data=end)
        )
    else:
        say_open(watched, auto_advance=False)
        watched.hear(event(contract.InvoiceUpdated, occurred_at=now, auto_advance=False))
    assert [sending.send_one(watched.desk, one).outcome for one in leased] == ["lease_lost"] * held
    all_that_waits(watched)
    assert [mail.kind for mail in watched.mailer.inbox] == [Kind.COLLECTION_ENDED]


def test_news_that_ends_nothing_takes_no_end_across_the_line(watched: House) -> None:
    """Its collection was turned off before; that it was noted then stays so, whatever else is heard of the invoice."""
    watched.hear(failed(next_payment_attempt=None, auto_advance=True))
    until_quiet(watched)
    watched.clock.forward(minutes=1)
    off = {"auto_advance": False, "next_payment_attempt": None}
    watched.hear(event(contract.InvoiceUpdated, occurred_at=watched.clock(), **off))
    go_live(watched)
    watched.clock.forward(minutes=1)
    say_open(watched, auto_advance=False)
    watched.hear(event(contract.InvoiceUpdated, occurred_at=watched.clock(), **off))
    all_that_waits(watched)
    assert watched.mailer.inbox == []


# --- accepting -------------------------------------------------------------------------------------------------------


def test_what_a_person_accepts_goes_once(watched: House) -> None:
    """From before the line as it is. Twice is once: before it has gone, and after."""
    watched.hear(failed())
    until_quiet(watched)
    watched.clock.forward(days=2)
    go_live(watched)
    row = watched.row()
    assert accept(watched, row, row) == [True]
    assert accept(watched, row) == [False]
    assert until_quiet(watched) == ["sent"]
    assert accept(watched, row) == [False]
    all_that_waits(watched)
    assert watched.mailed_to(DANA) == ["payment_failed"]
    assert watched.row().accepted_at is not None


def test_what_is_accepted_is_looked_at_again(watched: House) -> None:
    """Paid meanwhile: nobody is asked for it, and the page of what was observed lists it no more."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    watched.hear(paid())
    accept(watched, watched.row())
    assert until_quiet(watched) == ["suppressed"]
    assert watched.row().reason == Reason.PAID


def test_an_accepted_email_has_a_day_of_its_own(watched: House) -> None:
    """It is days old when it is accepted: SendGrid may be away for an hour all the same."""
    watched.hear(failed())
    until_quiet(watched)
    watched.clock.forward(days=9)
    go_live(watched)
    accept(watched, watched.row())
    watched.mailer.answers.append(Unavailable("503"))
    assert watched.work() == ["unavailable"]
    watched.clock.forward(hours=1)
    assert until_quiet(watched) == ["sent"]


def test_nothing_is_accepted_for_a_business_that_observes(watched: House) -> None:
    """All or none, and it says what to do first; for the installation too."""
    watched.hear(failed())
    until_quiet(watched)
    with pytest.raises(StillObserved, match="business sunrise still observes: let it go live"):
        accept(watched, watched.row())
    go_live(watched)
    watched.observes = True
    with pytest.raises(StillObserved, match="this installation still observes"):
        accept(watched, watched.row())
    assert watched.row().status == "observed"


def test_one_that_observes_again_gets_nothing_that_was_accepted(watched: House) -> None:
    """Between the acceptance and the email: it is observed once more, and may be accepted once more."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    accept(watched, watched.row())
    observe(watched)
    watched.portal.people.pop(SUNRISE)
    assert until_quiet(watched) == ["observed"]
    go_live(watched)
    all_that_waits(watched)
    assert watched.mailer.inbox == []
    assert accept(watched, watched.row()) == [True]
    assert until_quiet(watched) == ["sent"]


@pytest.mark.parametrize("at_once", [True, False])
def test_of_the_failures_of_one_invoice_the_newest_that_is_accepted_goes(
    watched: House, at_once: bool
) -> None:
    """Weeks of observing leave one for each try of Stripe's: all accepted, in one call or in several, are one email."""
    for attempt in (1, 2, 3):
        watched.hear(failed(attempt_count=attempt, occurred_at=watched.clock()))
        until_quiet(watched)
        watched.clock.forward(days=3)
    watched.hear(failed(invoice_id="in_2", stripe_customer_id="cus_1"))
    until_quiet(watched)
    go_live(watched)
    third, *rest = reversed([row for row in watched.rows() if row.invoice_id == "in_1"])
    if at_once:
        assert accept(watched, *rest, third) == [False, False, True]
    else:
        assert [accept(watched, one) for one in (*rest, third)] == [[True], [False], [True]]
    assert accept(watched, *rest, third) == [False] * 3
    all_that_waits(watched)
    assert watched.mailed_to(DANA) == ["payment_failed"]
    assert [(row.attempt, row.status, row.reason) for row in watched.rows()] == [
        (1, "suppressed", Reason.NEWER_ACCEPTED),
        (2, "suppressed", Reason.NEWER_ACCEPTED),
        (3, "sent", None),
        (1, "observed", Reason.OBSERVING),
    ]
    assert all(row.accepted_at for row in watched.rows()[:3])


@pytest.mark.parametrize("together", [True, False])
def test_an_accepted_email_beside_a_new_failure_of_its_invoice_is_one(
    watched: House, together: bool
) -> None:
    """Both are held for the morning, and leased together: in one transaction or two, the second finds the first, whose answer is out."""
    watched.hear(failed(occurred_at=watched.clock()))
    until_quiet(watched)
    business(watched, reminders=QUIET)
    go_live(watched)
    watched.clock.forward(seconds=1)
    watched.hear(failed(attempt_count=2, occurred_at=watched.clock()))
    accept(watched, *(row for row in watched.rows() if row.status == Status.OBSERVED))
    assert until_quiet(watched) == ["held", "held"]
    watched.clock.forward(hours=12)
    first, second = sending.lease(watched.desk, 10)
    with watched.db.transaction() as session:
        wanted = [wanting(watched, first), wanting(watched, second)]
        now, policy = watched.clock(), watched.policy
        if together:
            results = delivery.begin_posts(session, wanted, now, policy)
        else:
            results = [delivery.begin_posts(session, [one], now, policy)[0] for one in wanted]
    posted = [one.outcome if one else "posted" for one in results]
    assert posted == ["posted", "suppressed"]


@pytest.mark.parametrize("wish", ["accepted", "sent again", "waits for others"])
def test_another_line_stops_what_was_wanted_before_it(watched: House, wish: str) -> None:
    """A person wanted it, the portal was away, and the business observed and went live once more meanwhile: a wish of that time is of
    before, too. Also for what another email would take along."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    row = watched.row()
    if wish == "sent again":
        with watched.db.transaction() as session:
            requests.resend(session, row.notification_id, watched.clock())
    else:
        accept(watched, row)
    if wish == "waits for others":
        with watched.db.transaction() as session:
            (waits,) = notifications.lock_rows(session, [row.notification_id]).values()
            waits.reason = Reason.WAITS_FOR_OTHERS.value
            waits.due_at += dt.timedelta(days=1)
    watched.portal.down = True
    until_quiet(watched)
    observe(watched)
    go_live(watched)
    watched.portal.down = False
    if wish == "waits for others":
        watched.clock.forward(seconds=1)
        watched.hear(failed(invoice_id="in_2", occurred_at=watched.clock()))
        with watched.db.transaction() as session:
            for one in notifications.about_invoices(session, OWN, ["in_2"], 1):
                one.reason = Reason.WAITS_FOR_OTHERS.value
    all_that_waits(watched)
    assert len(watched.mailer.inbox) == (wish == "waits for others")
    assert (Status.OBSERVED, Reason.BEFORE_THE_LINE) in states(watched)


def test_what_can_not_be_asked_or_found_is_told(watched: House) -> None:
    """An id that nobody knows; a portal that is away."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    with pytest.raises(NotFound, match="there is no notification ntf_nobody"):
        accept(watched, watched.row(), Notification(notification_id="ntf_nobody"))
    assert watched.row().status == "observed"
    watched.portal.down = True
    with pytest.raises(TemporarilyUnavailable, match="nothing was accepted"):
        accept(watched, watched.row())


def test_several_of_one_customer_are_told_together_when_they_are_accepted(watched: House) -> None:
    """As any that fail at one time: one email at once, the others in one more."""
    for number in (1, 2, 3):
        watched.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
    until_quiet(watched)
    go_live(watched)
    accept(watched, *watched.rows())
    until_quiet(watched)
    watched.clock.forward(minutes=11)
    until_quiet(watched)
    assert watched.mailed_to(DANA) == ["payment_failed", "payments_failed"]
    assert not {row.status for row in watched.rows()} & {"observed", *ACTIVE}


# --- what people see -------------------------------------------------------------------------------------------------


def page(house: House, **given: Any) -> Any:
    notifier: Any = SimpleNamespace(db=house.db, observes=False)
    return Observed.observed(notifier, SUNRISE, **given)


def test_what_was_observed_is_listed_with_what_stripe_did_since(watched: House) -> None:
    """In the order in which it would have gone, page by page; not of other businesses, and not what was accepted."""
    for number in (1, 2, 3):
        watched.hear(failed(invoice_id=f"in_{number}"))
        until_quiet(watched)
        watched.clock.forward(minutes=1)
    watched.hear(paid(invoice_id="in_2"))
    first = page(watched, limit=2)
    assert [one.invoice_id for one in first.notifications] == ["in_1", "in_2"]
    assert first.has_more
    assert [one.invoice.status for one in first.notifications] == ["open", "paid"]
    assert [one.invoice.amount_paid for one in first.notifications] == [0, 14900]
    one = first.notifications[0]
    assert (one.business_id, one.reason) == (SUNRISE, Reason.OBSERVING)
    assert (one.observed_at, one.invoice.amount_due) == (START, 14900)
    rest = page(watched, starting_after=first.notifications[-1].notification_id)
    assert [one.invoice_id for one in rest.notifications] == ["in_3"]
    assert not rest.has_more
    since = page(watched, since=START + dt.timedelta(minutes=1))
    assert [one.invoice_id for one in since.notifications] == ["in_2", "in_3"]
    go_live(watched)
    accept(watched, *(row for row in watched.rows() if row.invoice_id == "in_1"))
    assert [one.invoice_id for one in page(watched).notifications] == ["in_2", "in_3"]
    with watched.db.reading() as session:
        other = observing.observed(
            session, business_id="other", since=None, starting_after=None, limit=9
        )
    assert other.notifications == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"limit": 0}, "limit: expected 1 to 500"),
        ({"limit": 501}, "limit: expected 1 to 500"),
        ({"since": dt.datetime(2026, 11, 1)}, "since: expected a time with its offset"),
        ({"starting_after": "ntf_nobody"}, "starting_after: there is no such notification"),
    ],
)
def test_a_wrong_question_is_named(house: House, given: dict[str, Any], error: str) -> None:
    """By the argument."""
    with pytest.raises((InvalidArgument, NotFound), match=error):
        page(house, **given)


def test_the_time_line_tells_of_it(watched: House) -> None:
    """That it was observed, and that a person wanted it."""

    def steps() -> list[tuple[str, str]]:
        with watched.db.reading() as session:
            about = About(account=OWN, invoice_id="in_1")
            found = story(session, about, event_ids=[], now=watched.clock())
        return [(one.step, one.text) for one in found.steps if one.notification_id]

    watched.hear(failed())
    until_quiet(watched)
    assert steps()[-1] == ("observed", f"no payment_failed (attempt 1) email: {Reason.OBSERVING}")
    watched.clock.forward(hours=1)
    go_live(watched)
    accept(watched, watched.row())
    assert steps()[-1][0] == "accepted"
    until_quiet(watched)
    assert [step for step, _ in steps()] == ["notified", "accepted", "sent"]


# --- any story -------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("fail"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("action"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("late"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("pay"), st.integers(1, 3)),
    st.tuples(st.just("unknown"), st.booleans()),
    st.tuples(
        st.just("end"),
    ),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.2, 3, 30, 200])),
    st.tuples(
        st.just("send"),
    ),
)


def play(house: House, steps: list[Any], line: dt.datetime | None = None) -> None:
    """What happens at Stripe and here; what comes late happened before the line."""
    for number, (what, *rest) in enumerate(steps):
        now = house.clock()
        if what in ("fail", "action", "late"):
            invoice, attempt = rest
            kinds = {"action": contract.InvoicePaymentActionRequired}
            at = (line or now) - dt.timedelta(hours=5) if what == "late" else now
            kind = kinds.get(what, contract.InvoicePaymentFailed)
            house.hear(
                event(
                    kind, f"evt_{now}_{number}", invoice_id=f"in_{invoice}", attempt_count=attempt, occurred_at=at
                )
            )  # fmt: skip
        elif what == "pay":
            house.hear(paid(f"evt_{now}_{number}", invoice_id=f"in_{rest[0]}", occurred_at=now))
        elif what == "unknown":
            if rest[0]:
                house.gone = house.portal.people.pop("cus_1", None) or house.gone
            elif house.gone is not None:
                house.portal.people["cus_1"] = house.gone
        elif what == "end":
            with house.db.transaction() as session:
                subscriptions.note_silent(session, now)
        elif what == "wait":
            house.clock.forward(hours=rest[0])
        until_quiet(house)


def assert_only_what_has_failed_since_is_told(house: House, line: dt.datetime) -> None:
    """No email of what happened before the line; and none is missing of what failed after it and is owed, unless it waits for a customer
    whom nobody knows."""
    rows = house.rows()
    since = [row for row in rows if happened_at(row.occurred_at or row.created_at, row.created_at) >= line]  # fmt: skip
    told = {mail.notification_id for mail in house.mailer.inbox}
    assert told <= {row.notification_id for row in since}
    unknown = {row.invoice_id for row in rows if row.lookups and row.status != Status.OBSERVED}
    failures = [
        row for row in since if Kind(row.kind) in DUNNING and row.reason != Reason.OVERTAKEN
    ]
    missing = {row.invoice_id for row in failures} - unknown
    for incident in house.table(IncidentRow):
        if incident.closed_at is not None or incident.last_mailed_at is not None:
            missing.discard(incident.invoice_id)
    assert missing == set()


@given(
    observing=st.lists(STEPS, max_size=10),
    afterwards=st.lists(STEPS, max_size=8),
    quiet=st.booleans(),
    installation=st.booleans(),
)
def test_no_story_sends_anything_of_the_time_before(
    observing: list[Any], afterwards: list[Any], quiet: bool, installation: bool
) -> None:
    """Whatever happens while it observes, nothing goes; whatever happens then, nothing of it goes either, all that fails then is told, and
    nothing stays pending but what waits for a customer. What is accepted goes at most once a failure."""
    house = House(tables.empty(Base.metadata), portal=FakePortal({"cus_1": a_contact()}))
    changes: dict[str, Any] = {"reminders": QUIET} if quiet else {}
    business(house, **changes)
    if installation:
        house.observes = True
    else:
        observe(house)
    house.gone = house.portal.people["cus_1"]
    play(house, observing)
    assert house.mailer.inbox == []
    house.portal.people["cus_1"] = house.gone
    go_live(house)
    line = house.clock()
    house.gone = house.portal.people["cus_1"]
    house.observes = False
    play(house, afterwards, line)
    house.portal.people["cus_1"] = house.gone
    all_that_waits(house)
    assert_only_what_has_failed_since_is_told(house, line)
    told = len(house.mailer.inbox)
    waits = [row for row in house.rows() if row.status in ACTIVE]
    assert all(row.lookups or row.reason == Reason.WAITS_FOR_END for row in waits)
    observed = [row for row in house.rows() if row.status == Status.OBSERVED]
    if observed:
        accept(house, *observed)
        accept(house, *observed)
        all_that_waits(house)
    assert len(house.mailer.inbox) <= told + len(observed)
    assert not any(row.status == Status.OBSERVED for row in house.rows())


def test_a_storm_is_observed_and_exactly_what_is_accepted_goes(house: House) -> None:
    """Fifty fail: no email, all observed. Live: still none. Accepted: those, less what was paid meanwhile."""
    people = house.portal.people
    for number in range(50):
        people[f"cus_{number}"] = a_contact(email=f"c{number}@example.com")
    observe(house)
    for number in range(50):
        house.hear(failed(invoice_id=f"in_{number}", stripe_customer_id=f"cus_{number}"))
    assert until_quiet(house) == ["observed"] * 50
    go_live(house)
    all_that_waits(house)
    assert house.mailer.inbox == []
    offered = page(house, limit=500).notifications
    assert len(offered) == 50
    for number in range(5):
        house.hear(paid(invoice_id=f"in_{number}"))
    people[SUNRISE] = people["cus_1"]
    wanted = [one.notification_id for one in offered if one.invoice_id != "in_49"]
    workflow.accept(house.db, house.portal, wanted, house.clock(), observes=False)
    outcomes = until_quiet(house)
    assert (outcomes.count("sent"), outcomes.count("suppressed")) == (44, 5)
    expected = {f"c{number}@example.com" for number in range(5, 49)}
    assert {mail.to for mail in house.mailer.inbox} == expected
    assert len(house.mailer.inbox) == 44
    all_that_waits(house)
    assert len(house.mailer.inbox) == 44
    assert [row.invoice_id for row in house.rows() if row.status == "observed"] == ["in_49"]
