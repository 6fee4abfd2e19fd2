"""Emails that other services and people ask for."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import Refused
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import requests as asking
from services.notifier.models import Notification
from services.notifier.ports import Business, CancellationLinks
from shared import events as contract
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.notifier import (
    RequestContext,
    RequestedNotification,
    ResentNotifications,
)
from tests.unit.notifier.conftest import House, event, failed
from tests.unit.notifier.fakes import START, a_contact

DANA = "kd83Jf02LmQ9xVb7TzR4wA"
LINKS = CancellationLinks(
    approve="https://portal.example/cancel/APPROVE.SECRET",
    decline="https://portal.example/cancel/DECLINE.SECRET",
    expires_at=START + dt.timedelta(days=14),
)


def ask(house: House, kind: Kind, **context: Any) -> RequestedNotification:
    """Ask as a service does: the context crosses the wire as JSON."""
    house.portal.people.setdefault(DANA, a_contact())
    checked = msgspec.convert({"request_id": "req_1"} | context, RequestContext, strict=True)
    with house.db.transaction() as session:
        return asking.send_requested(session, kind, DANA, checked, house.clock())


@pytest.mark.whole
def test_a_request_to_cancel_reaches_the_business_once(house: House) -> None:
    """With both links, the customer's words and their address to reply to; asked for again it is the same one."""
    house.portal.requests["req_1"] = LINKS
    context = {
        "description": "Weekly cleaning, $149.00 a month",
        "ends_at": "2026-12-23T15:00:00+00:00",
        "asked_at": "2026-11-23T12:00:00+00:00",
        "note": "We are moving.",
    }
    assert ask(house, Kind.CANCELLATION_REQUESTED, **context).created
    assert not ask(house, Kind.CANCELLATION_REQUESTED, **context).created
    assert house.work() == ["sent"]
    (mail,) = house.mailer.inbox
    assert (mail.to, mail.reply_to, mail.from_name) == (
        "hello@sunrise.example",
        "dana@example.com",
        "",
    )
    assert LINKS.approve in mail.text
    assert LINKS.decline in mail.html
    assert "> We are moving." in mail.text
    assert "Wed, Dec 23" in mail.text
    assert "SECRET" not in repr([vars(row) for row in house.rows()])


def test_a_request_that_is_answered_meanwhile_is_not_mailed(house: House) -> None:
    """The portal has no links for it any more."""
    ask(house, Kind.CANCELLATION_REQUESTED)
    assert house.work() == ["suppressed"]
    assert house.row().reason == Reason.REQUEST_CLOSED


def test_a_portal_that_is_away_when_the_links_are_needed_delays(house: House) -> None:
    """It is asked again later."""
    house.portal.requests["req_1"] = LINKS
    ask(house, Kind.CANCELLATION_REQUESTED)
    house.portal.down = True
    assert house.work() == ["portal_unavailable"]
    house.portal.down = False
    house.clock.forward(minutes=1)
    assert house.work() == ["sent"]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Kind.CANCELLATION_APPROVED, "has agreed to cancel"),
        (Kind.CANCELLATION_DECLINED, "has declined this for now"),
    ],
)
def test_the_customer_hears_the_answer(house: House, kind: Kind, says: str) -> None:
    """Approved and declined are two emails with two keys, to the customer, with the customer's link."""
    ask(house, kind)
    assert house.work() == ["sent"]
    (mail,) = house.mailer.inbox
    assert (mail.to, mail.reply_to) == ("dana@example.com", "hello@sunrise.example")
    assert says in mail.text
    assert "/me/SECRET.TOKEN" in mail.text


def test_a_declined_cancellation_names_no_end(house: House) -> None:
    """The subscription goes on, so the end that was asked for is not in the email that says so."""
    ask(house, Kind.CANCELLATION_DECLINED, description="Weekly", ends_at="2026-12-23T15:00:00Z")
    house.work()
    (mail,) = house.mailer.inbox
    assert "\nSubscription: Weekly\n" in mail.text
    assert "Dec 23" not in mail.text


def test_a_business_without_an_address_is_a_recorded_reason(house: House) -> None:
    """Nothing is lost silently."""
    house.portal.people[DANA] = a_contact(business=Business(name="Sunrise"))
    ask(house, Kind.CUSTOMER_RECOVERED)
    assert house.work() == ["suppressed"]
    assert house.row().reason == Reason.NO_BUSINESS_ADDRESS


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"request_id": ""},
        {"request_id": "a b"},
        {"request_id": "x" * 101},
        {"request_id": "r", "ends_at": "tomorrow"},
        {"request_id": "r", "ends_at": "2026-12-01T00:00:00"},
        {"request_id": "r", "note": "x" * 2001},
    ],
)
def test_a_context_that_means_nothing_is_refused(context: dict[str, Any]) -> None:
    """Before anything is written down."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(context, RequestContext)


def ending(kind: type[contract.Data], **changes: Any) -> contract.Event:
    data = {
        "subscription_id": "sub_1",
        "stripe_customer_id": "cus_1",
        "status": "active",
        "ends_at": START + dt.timedelta(days=30),
        "description": "Weekly cleaning",
        "pricing": "fixed",
        "discounted": False,
        "amount": 14900,
        "currency": "usd",
        "interval": "month",
    }
    base = event(contract.CustomerDeleted)
    return msgspec.structs.replace(base, data=kind(**(data | changes)))


@pytest.mark.whole
def test_an_end_that_others_planned_is_told_to_the_business_once(house: House) -> None:
    """Cancelled on Stripe's page, and ended a month later: one email."""
    house.hear(ending(contract.SubscriptionCancellationScheduled))
    assert house.work() == ["sent"]
    house.hear(ending(contract.SubscriptionEnded, status="canceled"))
    assert house.work() == []
    assert house.mailed_to("hello@sunrise.example") == ["subscription_ending"]
    assert "was cancelled in Stripe" in house.mailer.inbox[0].text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Price: $149.00 every month"),
        ({"interval_count": 2}, "Price: $149.00 every 2 months"),
        ({"pricing": "fixed_and_usage"}, "Price: $149.00 every month, plus usage"),
        ({"pricing": "usage", "amount": None}, "Price: Billed by usage"),
        ({"pricing": "other", "amount": None}, None),
        ({"discounted": True}, None),
        ({"pricing": None, "discounted": None}, None),
    ],
)
def test_the_price_of_what_ends_is_told_only_where_it_is_so(
    house: House, changes: dict[str, Any], words: str | None
) -> None:
    """With its interval; an event of a release before, a discount or tiers name none."""
    house.hear(ending(contract.SubscriptionEnded, status="canceled", **changes))
    house.work()
    text = house.mailer.inbox[0].text
    assert ("Price" in text) is (words is not None)
    assert (words or "Weekly cleaning") in text


def test_an_end_that_the_business_approved_is_no_news_to_it(house: House) -> None:
    """Neither when it is planned nor when it comes."""
    house.hear(ending(contract.SubscriptionCancellationScheduled, requested=True))
    house.hear(ending(contract.SubscriptionEnded, status="canceled"))
    assert house.work() == []
    assert [row.reason for row in house.rows()] == [Reason.APPROVED_HERE, Reason.END_IS_KNOWN]


def test_an_end_without_notice_says_that_it_has_ended(house: House) -> None:
    """Even when Stripe's clock is ahead of ours."""
    house.hear(ending(contract.SubscriptionEnded, status="canceled"))
    house.work()
    assert "has ended" in house.mailer.inbox[0].subject


def bulk(house: House, **changes: Any) -> ResentNotifications:
    wanted: dict[str, Any] = {"failed_since": START, "invoice": None, "limit": 2}
    with house.db.transaction() as session:
        return asking.resend_failed(session, house.clock(), **(wanted | changes))


@pytest.mark.whole
def test_what_a_wrong_key_refused_is_sent_again_in_bulk_once(house: House) -> None:
    """Each refused email once more, in portions; asking again sends nothing twice; the invoices' stories go on."""
    for number in (1, 2, 3):
        house.hear(failed(invoice_id=f"in_{number}"))
    house.mailer.answers = [Refused("401 from SendGrid")] * 3
    assert house.work() == ["refused"] * 3
    first = bulk(house)
    assert (len(first.notifications), first.more) == (2, True)
    second = bulk(house)
    assert (len(second.notifications), second.more) == (1, False)
    assert bulk(house).notifications == []
    assert house.work() == ["sent"] * 3
    assert house.mailed_to("dana@example.com") == ["payment_failed"] * 3


@pytest.mark.whole
def test_a_bulk_does_not_ask_in_a_circle_while_the_key_is_still_wrong(house: House) -> None:
    """What fails again between two portions is left out of the second, which knows when the first was asked for."""
    house.hear(failed(invoice_id="in_1"))
    house.hear(failed(invoice_id="in_2"))
    house.mailer.answers = [Refused("401 from SendGrid")] * 3
    assert house.work() == ["refused"] * 2
    house.clock.forward(minutes=1)
    first = bulk(house, limit=1)
    house.clock.forward(seconds=1)
    assert house.work() == ["refused"]
    second = bulk(house, limit=5, failed_before=first.failed_before)
    assert (len(second.notifications), second.more) == (1, False)
    assert second.notifications[0].invoice_id != first.notifications[0].invoice_id
    assert len(bulk(house, limit=5).notifications) == 1, (
        "asked anew, the one that failed again counts"
    )


def test_a_dry_run_names_what_failed_and_writes_nothing(house: House) -> None:
    """The failed notifications themselves; nothing is due afterwards."""
    house.hear(failed())
    house.mailer.answers = [Refused("401 from SendGrid")]
    house.work()
    house.clock.forward(minutes=1)
    named = bulk(house, dry_run=True)
    assert [row.notification_id for row in named.notifications] == [house.row().notification_id]
    assert named.notifications[0].status == "failed"
    assert house.work() == []


@pytest.mark.whole
def test_a_bulk_leaves_out_what_may_have_arrived_and_what_failed_before(house: House) -> None:
    """Unknown fates are a person's own decision; the time is when it failed, not when it was written down."""
    house.hear(failed())
    house.work()
    with house.db.transaction() as session:
        row = session.get(Notification, house.row().notification_id)
        assert row is not None
        row.status, row.reason = "failed", Reason.UNCONFIRMED_TWICE.value
    assert bulk(house).notifications == []
    with house.db.transaction() as session:
        row = session.get(Notification, house.row().notification_id)
        assert row is not None
        row.reason, row.finished_at = "403", START + dt.timedelta(hours=5)
    assert bulk(house, failed_since=START + dt.timedelta(hours=6)).notifications == []
    assert (
        bulk(
            house, failed_since=START + dt.timedelta(hours=5), invoice=StripeId(OWN, "in_2")
        ).notifications
        == []
    )
    assert len(bulk(house, failed_since=None, invoice=StripeId(OWN, "in_1")).notifications) == 1
