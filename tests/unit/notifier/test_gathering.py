"""What fails of one customer within minutes is told together: five failures in a minute are two emails."""

from __future__ import annotations

import datetime as dt

import pytest

from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.reminders import GATHER_FOR
from services.notifier.domain.sending import GRACE, LEASE, MaybeSent, Refused
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import requests
from services.notifier.models import IncidentRow, Notification
from services.notifier.queries import notifications
from services.notifier.workflows import sending
from shared.contracts.invoices import InvoiceStatus
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import a_contact


def fail(house: House, *numbers: int, customer: str = "cus_1") -> None:
    """Charges of a customer's invoices fail now."""
    for number in numbers:
        house.hear(
            failed(
                invoice_id=f"in_{number}",
                number=f"SUN-{number}",
                stripe_customer_id=customer,
                amount_due=1000 * number,
                amount_remaining=1000 * number,
                occurred_at=house.clock(),
            )
        )


def row_of(house: House, invoice_id: str) -> Notification:
    (row,) = (row for row in house.rows() if row.invoice_id == invoice_id)
    return row


def lead_of(house: House) -> Notification:
    """The row in whose email the others are told."""
    (lead,) = (
        row
        for row in house.rows()
        if any(row.notification_id == one.told_in for one in house.rows())
    )
    return lead


@pytest.mark.whole
def test_an_email_about_several_is_sent_again_about_what_is_still_owed(house: House) -> None:
    """By then there may be one of them alone."""
    fail(house, 1, 2, 3)
    house.work()
    house.clock.forward(minutes=10)
    house.work()
    lead = lead_of(house)
    for number in {1, 2, 3} - {int((lead.invoice_id or "").removeprefix("in_"))}:
        house.hear(paid(invoice_id=f"in_{number}"))
    house.work()
    with house.db.transaction() as session:
        requests.resend(session, lead.notification_id, house.clock())
    house.work()
    again = house.mailer.inbox[-1]
    assert again.kind is Kind.PAYMENT_FAILED
    assert "Several" not in again.text


@pytest.mark.whole
def test_five_in_a_minute_are_two_emails(house: House) -> None:
    """The first goes at once; the second lists all that is open, the first one too, and says the sum."""
    fail(house, 1, 2, 3, 4, 5)
    assert sorted(house.work()) == ["held"] * 4 + ["sent"]
    house.clock.forward(minutes=9)
    assert house.work() == []
    house.clock.forward(minutes=1)
    assert sorted(house.work()) == ["lease_lost"] * 3 + ["sent"]
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payments_failed"]
    text = house.mailer.inbox[1].text
    for number in (1, 2, 3, 4, 5):
        assert f"SUN-{number}" in text
        assert f"${number}0.00" in text
    assert "$150.00" in text
    assert text.count("https://portal.example/me/") == 1
    lead = lead_of(house)
    told = [row for row in house.rows() if row.told_in == lead.notification_id]
    assert len(told) == 3
    assert {(row.status, row.reason) for row in told} == {("suppressed", Reason.TOLD_TOGETHER)}
    house.clock.forward(minutes=30)
    assert house.work() == []


def test_other_customers_wait_for_nobody(house: House) -> None:
    """What one customer was told holds no email to another."""
    house.portal.people["cus_2"] = a_contact(email="evan@example.com")
    fail(house, 1)
    fail(house, 2, customer="cus_2")
    assert house.work() == ["sent", "sent"]


def test_two_failures_far_apart_are_two_emails(house: House) -> None:
    """After ten minutes the next failure goes at once, alone."""
    fail(house, 1)
    house.work()
    house.clock.forward(seconds=GATHER_FOR.total_seconds())
    fail(house, 2)
    assert house.work() == ["sent"]
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payment_failed"]


@pytest.mark.whole
def test_what_was_paid_meanwhile_is_not_listed(house: House) -> None:
    """Looked at again, one by one, before the email goes out."""
    fail(house, 1)
    house.work()
    fail(house, 2, 3)
    house.work()
    house.hear(paid(invoice_id="in_1"))
    house.billing.say("in_3", InvoiceNow(status=InvoiceStatus.PAID, amount_remaining=0))
    house.clock.forward(minutes=10)
    house.work()
    waiting = [mail for mail in house.mailer.inbox if mail.kind is Kind.PAYMENT_FAILED]
    assert len(waiting) == 2
    assert "$20.00" in waiting[1].text
    assert "SUN-3" not in waiting[1].text


@pytest.mark.parametrize("paid_one", [2, 3])
def test_when_the_one_that_tells_is_paid_the_others_are_told_all_the_same(
    house: House, paid_one: int
) -> None:
    """Whichever of them is paid while they wait, the other one's email goes out."""
    fail(house, 1)
    house.work()
    fail(house, 2, 3)
    house.work()
    house.hear(paid(invoice_id=f"in_{paid_one}"))
    house.clock.forward(minutes=10)
    house.work()
    house.clock.forward(seconds=1)
    house.work()
    left = 5 - paid_one
    assert f"SUN-{left}" in house.mailer.inbox[-1].text
    assert f"SUN-{paid_one}" not in house.mailer.inbox[-1].text


def test_a_sender_that_dies_after_gathering_loses_nobody(house: House) -> None:
    """The others are tied to the email before it is posted; when its lease ends it is sent, with all of them."""
    fail(house, 1)
    house.work()
    fail(house, 2, 3)
    house.work()
    house.clock.forward(minutes=10)
    (lead, *_) = sending.lease(house.desk, 1)
    sending._gather(house.desk, lead)
    house.clock.forward(seconds=LEASE.total_seconds())
    assert house.work() == ["sent"]
    assert {"SUN-2", "SUN-3"} <= set(house.mailer.inbox[-1].text.split()) | {
        word.rstrip(":") for word in house.mailer.inbox[-1].text.split()
    }
    house.clock.forward(minutes=30)
    assert house.work() == []


@pytest.mark.whole
def test_everybody_who_was_told_hears_that_it_is_paid(house: House) -> None:
    """An invoice that was told together with others has its own good news, also when SendGrid's answer was lost."""
    house.mailer.answers = []
    fail(house, 1)
    house.work()
    fail(house, 2, 3)
    house.work()
    house.clock.forward(minutes=10)
    house.mailer.answers = [MaybeSent("no answer")]
    house.work()
    house.clock.forward(seconds=GRACE.total_seconds())
    assert house.work() == ["sent"]
    mailed = {row.invoice_id for row in house.table(IncidentRow) if row.last_mailed_at}
    assert mailed == {"in_1", "in_2", "in_3"}
    for number in (2, 3):
        house.hear(paid(invoice_id=f"in_{number}", number=f"SUN-{number}"))
    house.work()
    assert house.mailed_to("dana@example.com").count("payment_recovered") == 2


@pytest.mark.whole
def test_a_failure_that_was_told_together_is_not_told_again(house: House) -> None:
    """A second event about the same charge finds that its customer was told, in whichever email."""
    house.billing.say(
        "in_2", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=2000, charge_id="ch_2")
    )
    house.billing.say(
        "in_3", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=3000, charge_id="ch_3")
    )
    fail(house, 1)
    house.work()
    fail(house, 2, 3)
    house.work()
    house.clock.forward(minutes=10)
    house.work()
    house.clock.forward(days=4)
    fail(house, 2, 3)
    assert house.work() == ["suppressed", "suppressed"]
    assert {row.reason for row in house.rows()[-2:]} == {Reason.SAME_CHARGE}


def test_an_email_that_was_refused_holds_nobody_up(house: House) -> None:
    """It reached nobody, so what fails next need not wait for more."""
    house.mailer.answers = [Refused("401")]
    fail(house, 1)
    assert house.work() == ["refused"]
    fail(house, 2)
    assert house.work() == ["sent"]


def test_two_senders_never_both_write_first(house: House) -> None:
    """Each sender locks all that the customer owes: the second finds that the first has begun."""
    fail(house, 1, 2)
    (first, second) = sending.lease(house.desk, 2)
    assert sending.send_one(house.desk, first).outcome == "sent"
    assert sending.send_one(house.desk, second).outcome == "held"
    with house.db.reading() as session:
        held = notifications.by_id(session, second.notification_id)
        assert held is not None
        assert held.due_at == house.clock() + dt.timedelta(minutes=10)
