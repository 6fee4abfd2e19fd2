"""Looking back: what `portico explain` tells of an email, in each state that it can be in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.domain.sending import MaybeSent, Refused, Unavailable
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import feedback, timeline
from services.notifier.queries import notifications
from services.notifier.workflows import sending
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import START, a_contact
from tests.unit.wire import on_the_wire


def story(house: House, invoice_id: str = "in_1") -> list[dict[str, Any]]:
    """The steps of an invoice's emails, as they cross the wire."""
    with house.db.reading() as session:
        told: list[dict[str, Any]] = on_the_wire(timeline.story)(
            session, timeline.About(invoice_id=invoice_id), event_ids=[], now=house.clock()
        )["steps"]
    return told


def mail_steps(house: House, invoice_id: str = "in_1") -> list[tuple[str, str, str]]:
    """When (minutes and seconds since noon), which step, and in words."""
    return [
        (f"{dt.datetime.fromisoformat(one['at']) - START}", one["step"], one["text"])
        for one in story(house, invoice_id)
        if "notification_id" in one and one["step"] != "feedback"
    ]


def last(house: House) -> tuple[str, str, str]:
    return mail_steps(house)[-1]


def report(house: House, what: Delivery, reason: str = "", seconds: float = 0) -> None:
    """SendGrid reports of the last email."""
    item = DeliveryEvent(
        event_id=f"sg_{what}_{reason}",
        notification_id=house.rows()[-1].notification_id,
        what=what,
        occurred_at=house.clock() + dt.timedelta(seconds=seconds),
        reason=reason,
        provider_word=what.value,
    )
    with house.db.transaction() as session:
        feedback.handle(session, [item], house.clock(), house.hasher)


def test_a_refused_email_failed_when_it_was_refused(house: House) -> None:
    """Not when the sender's lease would have ended; the reason is SendGrid's own."""
    house.hear(failed())
    house.clock.forward(seconds=3)
    house.mailer.answers = [Refused("401 Unauthorized")]
    assert house.work() == ["refused"]
    house.clock.forward(hours=2)
    assert [(at, step) for at, step, _ in mail_steps(house)] == [
        ("0:00:00", "notified"),
        ("0:00:03", "failed"),
    ]
    assert last(house)[2] == "payment_failed (attempt 1) email failed: 401 Unauthorized"


def test_what_was_given_up_says_what_the_last_try_met(house: House) -> None:
    """A day of failures, and the moment of the last of them."""
    house.hear(failed())
    house.mailer.answers = [Unavailable("503 Service Unavailable")] * 2
    house.work()
    house.clock.forward(hours=25)
    assert house.work() == ["gave_up"]
    at, step, text = last(house)
    assert (at, step) == ("1 day, 1:00:00", "failed")
    assert text.endswith(
        f"failed at try 2: {Reason.GAVE_UP}; the last try: 503 Service Unavailable"
    )


def test_an_email_that_waits_says_why_and_until_when(house: House) -> None:
    """It is so now, so it stands at the time of the answer; once its time is over, that nobody has taken it."""
    house.hear(failed())
    house.mailer.answers = [Unavailable("503 Service Unavailable")]
    house.work()
    house.clock.forward(seconds=1)
    waiting = story(house)[-1]
    assert (waiting["step"], waiting["at"]) == ("waiting", "2026-11-23T12:00:01+00:00")
    assert waiting["until"].startswith("2026-11-23T12:00:01.5")
    assert "waits after 1 try, next try at 2026-11-23 12:00:01 UTC: 503" in waiting["text"]
    house.clock.forward(minutes=1)
    assert "since 2026-11-23 12:00:01 UTC, not done yet" in last(house)[2]


def test_a_customer_whom_the_portal_does_not_know_is_waited_for(house: House) -> None:
    """Asked again in seconds; the tries are those at the portal."""
    house.portal.people.clear()
    house.hear(failed())
    house.work()
    assert (
        "waits after 1 try, next try at 2026-11-23 12:00:05 UTC: the portal does not know"
        in (last(house)[2])
    )


def test_a_held_email_says_by_what_and_until_when(house: House) -> None:
    """Quiet hours, in the customer's zone; an error of a try before it is not the reason."""
    quiet = ReminderPolicy(quiet_hours=QuietHours(dt.time(5), dt.time(8)))
    contact = a_contact()
    business = msgspec.structs.replace(contact.business, reminders=quiet)
    house.portal.down = True
    house.hear(failed())
    house.work()
    house.portal.down = False
    house.portal.people["cus_1"] = msgspec.structs.replace(contact, business=business)
    house.clock.forward(seconds=5)
    assert house.work() == ["held"]
    held = story(house)[-1]
    assert (held["step"], held["until"]) == ("held", "2026-11-23T13:00:00+00:00")
    assert held["text"] == (
        "payment_failed (attempt 1) email is held, looked at again at 2026-11-23 13:00:00 UTC: "
        f"{Reason.WAITS_FOR_MORNING}"
    )


def test_what_fails_when_it_is_held_no_more_says_the_failure(house: House) -> None:
    """The reason that held it stands in the row still."""
    house.hear(failed())
    house.hear(failed(invoice_id="in_2", number="SUN-2"))
    assert sorted(house.work()) == ["held", "sent"]
    invoice_id = next(row.invoice_id for row in house.rows() if row.status == "pending")
    assert mail_steps(house, invoice_id or "")[-1][1] == "held"
    house.clock.forward(minutes=10)
    house.portal.down = True
    house.work()
    at, step, text = mail_steps(house, invoice_id or "")[-1]
    assert (at, step) == ("0:10:00", "waiting")
    assert "the portal does not answer" in text


def test_an_email_of_which_no_answer_came_may_have_been_sent(house: House) -> None:
    """When it was given to SendGrid, and when it is sent once more; after the second time it failed."""
    house.hear(failed())
    house.mailer.answers = [MaybeSent("no answer in 10 s"), MaybeSent("no answer in 10 s")]
    house.work()
    house.clock.forward(minutes=1)
    at, step, text = last(house)
    assert (at, step) == ("0:00:00", "unconfirmed")
    assert "no answer in 10 s" in text
    assert "sent once more at 2026-11-23 12:15:00 UTC" in text
    house.clock.forward(minutes=14)
    house.work()
    house.clock.forward(minutes=15)
    assert house.work() == ["unconfirmed"]
    assert [(at, step) for at, step, _ in mail_steps(house)] == [
        ("0:00:00", "notified"),
        ("0:15:00", "unconfirmed"),
        ("0:30:00", "failed"),
    ]
    assert "once more" not in mail_steps(house)[1][2]


def test_an_email_that_may_have_been_sent_is_told_when_the_next_is_not(house: House) -> None:
    """The invoice was paid meanwhile: no email goes out, and one may have."""
    house.hear(failed())
    house.mailer.answers = [MaybeSent("no answer in 10 s")]
    house.work()
    house.clock.forward(minutes=15)
    house.hear(paid())
    house.work()
    told = [(at, step) for at, step, _ in mail_steps(house)]
    assert ("0:00:00", "unconfirmed") in told
    assert ("0:15:00", "suppressed") in told


def test_an_email_in_a_senders_hands(house: House) -> None:
    """And one whose sender has died."""
    house.hear(failed())
    sending.lease(house.desk, 16)
    assert last(house)[1:] == (
        "sending",
        "payment_failed (attempt 1) email is in a sender's hands, until 2026-11-23 12:00:45 UTC at the longest",
    )
    house.clock.forward(minutes=1)
    assert "was left by its sender at 2026-11-23 12:00:45 UTC" in last(house)[2]


def test_an_email_that_nobody_takes(house: House) -> None:
    """No sender runs: silence would look like a sent email."""
    house.hear(failed())
    assert last(house)[1] == "notified"
    house.clock.forward(minutes=1)
    assert last(house)[1:] == (
        "waiting",
        "payment_failed (attempt 1) email was to go out at 2026-11-23 12:00:00 UTC, and nobody has sent it yet",
    )


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_suppressed_email_is_given_up_when_it_was(house: House, by_hand: bool) -> None:
    """Paid, or cancelled by hand, ten minutes after it was due."""
    house.portal.down = True
    house.hear(failed())
    house.work()
    house.clock.forward(minutes=10)
    if by_hand:
        with house.db.transaction() as session:
            assert notifications.cancel(session.merge(house.row()), house.clock())
    else:
        house.hear(paid())
    reason = Reason.CANCELLED if by_hand else Reason.PAID
    assert [one for one in mail_steps(house) if one[1] != "waiting"] == [
        ("0:00:00", "notified", "payment_failed (attempt 1) email is due"),
        ("0:10:00", "suppressed", f"no payment_failed (attempt 1) email: {reason}"),
    ]


def test_what_was_never_to_be_sent_was_never_due(house: House) -> None:
    """One step, with the reason."""
    house.hear(failed(collection_method="send_invoice"))
    assert mail_steps(house) == [
        ("0:00:00", "suppressed", f"no payment_failed (attempt 1) email: {Reason.NOT_AUTOPAY}")
    ]


def test_what_is_told_in_another_email_was_told(house: House) -> None:
    """The other email, which is about another invoice, is in the story."""
    for number in (1, 2, 3):
        house.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
    house.work()
    house.clock.forward(minutes=10)
    house.work()
    (row,) = (row for row in house.rows() if row.told_in)
    told = {step: (at, text) for at, step, text in mail_steps(house, row.invoice_id or "")}
    assert str(Reason.TOLD_TOGETHER) in told["suppressed"][1]
    assert told["told_together"][0] == told["sent"][0] == "0:10:00"
    assert str(row.told_in) in told["told_together"][1]


def test_a_bounce_has_its_own_time(house: House) -> None:
    """Not the moment at which SendGrid took the email; an email that was put off says by whose words."""
    house.hear(failed())
    house.work()
    house.clock.forward(minutes=1)
    report(house, Delivery.DEFERRED, "451 try later")
    assert last(house)[:2] == ("0:01:00", "deferred")
    assert "451 try later" in last(house)[2]
    house.clock.forward(minutes=4)
    report(house, Delivery.BOUNCED, "550 no such user")
    told = [(at, step) for at, step, _ in mail_steps(house)]
    assert told[1:3] == [("0:00:00", "sent"), ("0:05:00", "bounced")]
    assert mail_steps(house)[2][2].endswith(" email bounced: 550 no such user")


def test_a_delivered_email_that_comes_back(house: House) -> None:
    """Both happened, each when it did."""
    house.hear(failed())
    house.work()
    report(house, Delivery.DELIVERED, seconds=2)
    report(house, Delivery.BOUNCED, "mailbox closed", seconds=60)
    told = [(at, step) for at, step, _ in mail_steps(house)]
    assert told[1:4] == [
        ("0:00:00", "sent"),
        ("0:00:02", "delivered"),
        ("0:01:00", "bounced"),
    ]


def test_the_first_failure_names_the_event_that_told_of_it(house: House) -> None:
    """So that it never stands before the webhook that brought it, whose second is divided."""
    house.hear(failed(occurred_at=START))
    (first,) = (one for one in story(house) if one["step"] == "failed")
    assert first["event_id"] == "evt_thread"


def test_what_a_credit_note_settled_was_not_paid(house: House) -> None:
    """Stripe calls it paid."""
    house.hear(failed())
    house.hear(paid(amount_due=0, amount_paid=0, amount_credited=14900))
    (closed,) = (one for one in story(house) if one["step"] == "paid")
    assert closed["text"] == "SUN-0042 is paid by a credit note, without any money"


def test_what_was_paid_elsewhere_after_a_credit_note_was_paid(house: House) -> None:
    """Though Stripe names no amount that came in. And what failed was the whole invoice."""
    house.hear(failed())
    house.hear(paid(amount_due=4900, amount_paid=0, amount_credited=10000))
    (begun,) = (one for one in story(house) if one["step"] == "failed")
    assert begun["text"].endswith(
        "failed for the first time ($149.00, of which $100.00 is credited)"
    )
    (closed,) = (one for one in story(house) if one["step"] == "paid")
    assert closed["text"] == "SUN-0042 is paid"
