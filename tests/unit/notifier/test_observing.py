"""Observe, then live: nothing that nobody asked for goes out before, and none of it afterwards."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.notifier.domain.kinds import KINDS, Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.observing import happened_at, observed_because
from services.notifier.domain.sending import MaybeSent
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import hook_outcomes, hooks, requests, subscriptions
from services.notifier.models import IncidentRow
from services.notifier.workflows import sending
from shared import events as contract
from shared.contracts.invoices import SILENT_FOR, InvoiceStatus
from shared.contracts.rpc.notifier import RequestContext
from tests.unit.notifier.conftest import House, event, failed, paid
from tests.unit.notifier.fakes import START, a_contact
from tests.unit.notifier.observed_house import (
    DANA,
    QUIET,
    SUNRISE,
    all_that_waits,
    business,
    go_live,
    observe,
    page,
    states,
    until_quiet,
)

OTHER = Kind.PAYMENT_FAILED


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


def test_what_was_paid_elsewhere_came_in(watched: House) -> None:
    """Stripe may name no amount of it: a part was credited, and the rest was paid."""
    watched.hear(failed())
    assert watched.work() == ["observed"]
    watched.hear(paid(amount_due=4900, amount_paid=0, amount_credited=10000))
    (told,) = page(watched).notifications
    assert (told.invoice.amount_paid, told.invoice.amount_credited) == (4900, 10000)


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


@pytest.mark.whole
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


@pytest.mark.whole
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


@pytest.mark.whole
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
        hook_outcomes._switch_off(session, endpoint, hooks.DisabledBecause.GONE, watched.clock())
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


@pytest.mark.whole
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


@pytest.mark.whole
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
