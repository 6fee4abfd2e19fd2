"""What billing's events do to notifications and incidents; each handled twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import events, invoices
from services.notifier.models import IncidentRow, Notification, ProcessedEvent
from services.notifier.ports import InvoiceReport
from services.notifier.workflows import sending
from shared import events as contract
from shared.contracts.accounts import StripeId
from shared.contracts.invoices import InvoiceStatus
from tests.unit.notifier.conftest import House, event, failed, paid
from tests.unit.notifier.fakes import START


def test_a_failed_charge_is_written_down_once_however_often_it_is_heard(house: House) -> None:
    """The same message twice makes one notification and one email."""
    assert house.hear(failed("evt_a")) == "payment_failed is due"
    assert house.hear(failed("evt_a")) == events.DUPLICATE
    house.work()
    assert house.hear(failed("evt_a")) == events.DUPLICATE
    assert len(house.rows()) == 1
    assert len(house.mailer.inbox) == 1


@pytest.mark.whole
def test_two_stripe_events_for_one_failure_mail_once(house: House) -> None:
    """Stripe may make two events for one change: each has its row, and the second says why it was not sent."""
    house.hear(failed("evt_a"))
    house.hear(failed("evt_b"))
    house.work()
    assert len(house.mailer.inbox) == 1
    outcomes = {row.event_id: row.outcome for row in house.table(ProcessedEvent)}
    assert outcomes["evt_b"] == f"suppressed: {Reason.SAME_ATTEMPT}"
    house.hear(failed("evt_c"))
    assert house.work() == ["suppressed"]
    assert len(house.mailer.inbox) == 1
    assert [row.reason for row in house.rows()][1:] == [Reason.SAME_ATTEMPT] * 2


def test_no_receipt_for_money_that_nobody_paid(house: House) -> None:
    """A credit note for all of an open invoice makes Stripe say `paid`; neither customer nor business gets thanks."""
    house.hear(failed())
    house.work()
    house.hear(paid(amount_due=0, amount_paid=0, amount_credited=14900))
    assert house.work() == []
    assert house.mailed_to("hello@sunrise.example") == []
    assert house.mailed_to("dana@example.com") == ["payment_failed"]


def declined(house: House, charge_id: str, **now: Any) -> None:
    """Stripe's word about the invoice: this charge failed last."""
    house.billing.say(
        "in_1",
        InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, charge_id=charge_id, **now),
    )


def test_a_debit_that_fails_days_later_is_told_though_the_attempt_is_the_same(house: House) -> None:
    """The customer gave a bank account after the first email; its failure is an answer, told even within the interval."""
    declined(house, "ch_card", payment_method_id="pm_card")
    house.hear(failed("evt_1"))
    assert house.work() == ["sent"]
    house.clock.forward(days=2)
    declined(house, "py_debit", payment_method_id="pm_bank")
    house.hear(failed("evt_2", occurred_at=START + dt.timedelta(days=2)))
    house.hear(failed("evt_2_again", occurred_at=START + dt.timedelta(days=2)))
    assert house.work() == ["sent"]
    house.hear(failed("evt_2_late", occurred_at=START + dt.timedelta(days=2)))
    assert house.work() == ["suppressed"]
    assert [row.charge_id for row in house.rows() if row.status == "sent"] == [
        "ch_card",
        "py_debit",
    ]
    assert house.rows()[-1].reason == Reason.SAME_CHARGE


def test_while_a_payment_is_under_way_nobody_is_asked(house: House) -> None:
    """A failure that is heard late, after the customer has paid by a debit that settles in days."""
    house.billing.say(
        "in_1", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, processing=True)
    )
    house.hear(failed())
    assert house.work() == ["suppressed"]
    assert house.row().reason == Reason.PAYMENT_UNDER_WAY


def switched(event_id: str, *, on: bool, **before: float) -> Any:
    """Somebody has switched the automatic collection of the invoice on or off."""
    at = START + dt.timedelta(**before)
    return event(contract.InvoiceUpdated, event_id, auto_advance=on, occurred_at=at)


def stopped(house: House) -> None:
    """A failure of which nobody was told, since collecting had stopped by then."""
    house.hear(switched("evt_on", on=True))
    house.hear(switched("evt_off", on=False, minutes=1))
    house.hear(failed("evt_1", auto_advance=False, occurred_at=START + dt.timedelta(minutes=2)))
    house.billing.say(
        "in_1",
        InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, auto_advance=False),
    )
    house.work()
    assert reasons(house) == [Reason.COLLECTION_STOPPED]


def reasons(house: House) -> list[str | None]:
    """Why the customer was not written to, a failure each; the business hears of it in an email of its own."""
    return [row.reason for row in house.rows() if row.kind == "payment_failed"]


def collected_again(house: House) -> None:
    house.billing.say(
        "in_1", InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, auto_advance=True)
    )


@pytest.mark.whole
def test_what_was_not_told_while_collecting_had_stopped_is_told_when_it_goes_on(
    house: House,
) -> None:
    """The page asks again from then on, so the email goes too: once, however often something about the invoice changes."""
    stopped(house)
    house.clock.forward(days=2)
    collected_again(house)
    house.hear(switched("evt_again", on=True, days=2))
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed"]
    house.hear(switched("evt_more", on=True, days=2, minutes=1))
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed"]


def test_what_stays_stopped_stays_untold(house: House) -> None:
    """News of an invoice that is collected no more wakes nothing; what Stripe says before the email goes decides."""
    stopped(house)
    house.hear(switched("evt_off_2", on=False, hours=1))
    assert reasons(house) == [Reason.COLLECTION_STOPPED]
    house.hear(switched("evt_on_2", on=True, hours=2))
    assert reasons(house) == [None]
    house.work()
    assert reasons(house) == [Reason.COLLECTION_STOPPED], "Stripe says that it is off"
    assert house.mailed_to("dana@example.com") == []


@pytest.mark.whole
def test_what_was_told_since_is_not_told_again(house: House) -> None:
    """A later failure was told while collecting went on: the one that was not is history."""
    stopped(house)
    collected_again(house)
    later = START + dt.timedelta(days=3)
    house.clock.forward(days=3)
    house.hear(failed("evt_2", attempt_count=2, occurred_at=later))
    house.hear(switched("evt_again", on=True, days=3, minutes=1))
    house.work()
    house.hear(switched("evt_more", on=True, days=3, minutes=2))
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed"]
    assert reasons(house) == [Reason.COLLECTION_STOPPED, None]


def test_collecting_that_goes_on_while_stripe_is_asked_is_not_missed(house: House) -> None:
    """Stripe said that it is off a moment before it was on again, and the news came before the row was set aside."""
    house.hear(switched("evt_on", on=True))
    house.hear(switched("evt_off", on=False, minutes=1))
    house.hear(failed("evt_1", auto_advance=False, occurred_at=START + dt.timedelta(minutes=2)))

    class Slow:
        def report(self, invoice: StripeId) -> InvoiceReport:
            house.hear(switched("evt_again", on=True, minutes=3))
            off = InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=14900, auto_advance=False)
            return InvoiceReport(now=off)

    leased = next(one for one in sending.lease(house.desk, 9) if one.kind == "payment_failed")
    desk = replace(house.desk, invoices=Slow())
    assert sending.send_one(desk, leased).outcome == "resumed"
    collected_again(house)
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed"]


def test_an_upgrade_mails_nobody_anew(house: House) -> None:
    """Emails that an earlier release sent know no charge: the same attempt, told again in whatever form, is no news."""
    house.hear(failed("evt_before"))
    house.work()
    with house.db.transaction() as session:
        session.execute(
            update(Notification).values(
                charge_id=None, payment_method_id=None, next_payment_attempt=None
            )
        )
    declined(house, "ch_1", payment_method_id="pm_1")
    house.clock.forward(days=29)
    house.hear(failed("evt_after", next_payment_attempt=START + dt.timedelta(days=30)))
    assert house.work() == ["suppressed"]
    assert len(house.mailer.inbox) == 1


@pytest.mark.whole
@pytest.mark.parametrize("first", ["failed", "action"])
def test_failed_and_action_required_of_one_attempt_share_one_email(
    house: House, first: str
) -> None:
    """Whichever comes first mails; the other is recorded as suppressed."""
    pair = [failed(), event(contract.InvoicePaymentActionRequired)]
    for one in pair if first == "failed" else reversed(pair):
        house.hear(one)
        house.hear(one)
    house.work()
    assert len(house.mailer.inbox) == 1
    assert [row.reason for row in house.rows() if row.status == "suppressed"] == [
        Reason.SAME_ATTEMPT
    ]


def test_paid_before_failed_means_no_email_and_a_reason(house: House) -> None:
    """The payment's event may overtake the failure's."""
    house.hear(paid("evt_paid"))
    house.hear(paid("evt_paid"))
    house.hear(failed())
    assert house.work() == []
    assert (house.row().status, house.row().reason) == ("suppressed", Reason.PAID)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (contract.InvoicePaid, Reason.PAID),
        (contract.InvoiceVoided, Reason.VOIDED),
        (contract.InvoiceMarkedUncollectible, Reason.UNCOLLECTIBLE),
    ],
)
def test_an_invoice_that_closes_takes_its_waiting_email_along(
    house: House, kind: type[contract.Data], reason: Reason
) -> None:
    """What waits to be sent is suppressed with the reason, also when the event comes twice."""
    house.hear(failed())
    house.hear(event(kind, "evt_end"))
    house.hear(event(kind, "evt_end"))
    assert house.work() == []
    assert (house.row().status, house.row().reason) == ("suppressed", reason)
    assert house.mailer.inbox == []


def test_an_old_update_does_not_open_a_paid_invoice_again(house: House) -> None:
    """A status only becomes more final, whatever arrives late."""
    house.hear(paid())
    house.hear(event(contract.InvoiceUpdated))
    (incident,) = house.table(IncidentRow)
    assert incident.status == "paid"


def test_whoever_was_told_of_the_failure_is_told_of_the_payment_once(house: House) -> None:
    """After an email went out, the payment announces itself with one email."""
    house.hear(failed())
    house.work()
    house.hear(paid("evt_paid"))
    house.hear(paid("evt_paid"))
    house.hear(paid("evt_paid_again"))
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payment_recovered"]
    assert house.mailed_to("hello@sunrise.example") == ["customer_recovered"]


def test_a_payment_that_nobody_was_warned_about_is_not_announced(house: House) -> None:
    """Most invoices are simply paid."""
    house.hear(paid())
    assert house.rows() == []


def test_a_deleted_customer_gets_nothing_more(house: House) -> None:
    """What waits is suppressed, and so is a failure that arrives after the deletion."""
    house.hear(failed())
    house.hear(event(contract.CustomerDeleted, "evt_gone"))
    house.hear(event(contract.CustomerDeleted, "evt_gone"))
    house.hear(failed(invoice_id="in_2"))
    assert house.work() == []
    assert [row.reason for row in house.rows()] == [Reason.CUSTOMER_DELETED] * 2


def test_a_failure_of_our_own_retry_does_not_take_the_real_ones_place(house: House) -> None:
    """Heard first, it is recorded apart, and the charge that failed before it still mails."""
    house.hear(failed(own_retry=True))
    house.hear(failed())
    house.work()
    assert len(house.mailer.inbox) == 1
    assert {row.reason for row in house.rows()} == {None, Reason.OWN_RETRY}


def test_further_failures_are_reminders_with_distance(house: House) -> None:
    """Attempts two and three: one within three days is suppressed, one after it reminds."""
    house.hear(failed())
    house.work()
    house.clock.forward(days=1)
    house.hear(failed(attempt_count=2))
    house.work()
    house.clock.forward(days=3)
    house.hear(failed(attempt_count=3))
    house.work()
    assert [mail.kind for mail in house.mailer.inbox] == ["payment_failed", "payment_reminder"]
    assert [row.reason for row in house.rows()] == [None, Reason.REMINDED_RECENTLY, None]


def test_an_event_that_means_nothing_leaves_no_trace(house: House) -> None:
    """An unknown invoice status is refused as a whole: neither the event's id nor anything else is stored."""
    with pytest.raises(invoices.UnreadableEvent, match="unknown invoice status"):
        house.hear(failed(status="on_holiday"))
    assert house.table(ProcessedEvent) == []
    assert house.table(IncidentRow) == []


def test_a_crash_before_the_commit_leaves_everything_to_the_next_delivery(house: House) -> None:
    """Event id and effect stand in one transaction: without the commit there is neither."""

    class Crash(Exception):
        pass

    with pytest.raises(Crash), house.db.transaction() as session:
        events.handle(session, failed("evt_a"), house.clock())
        raise Crash
    assert house.rows() == []
    assert house.hear(failed("evt_a")) == "payment_failed is due"


def test_every_event_that_the_contract_sends_here_has_a_route() -> None:
    """The routing table and the contract's list of consumers name the same events."""
    assert set(events.STEPS) | set(events.ROUTES) == set(contract.CONSUMERS["notifier"])


# --- many at once -------------------------------------------------------------------------------------------------


def hear_together(house: House, *batch: contract.Event) -> list[str]:
    with house.db.transaction() as session:
        return events.handle_invoices(session, batch, house.clock())


def test_events_that_come_together_do_what_they_do_alone(house: House) -> None:
    """Three invoices in one transaction: two emails and a reason, each said of its own event."""
    outcomes = hear_together(
        house,
        failed("evt_1", invoice_id="in_1"),
        failed("evt_2", invoice_id="in_2", collection_method="send_invoice"),
        failed("evt_3", invoice_id="in_3"),
    )
    assert outcomes == [
        "payment_failed is due",
        f"suppressed: {Reason.NOT_AUTOPAY}",
        "payment_failed is due",
    ]
    assert {row.event_id: row.outcome for row in house.table(ProcessedEvent)} == dict(
        zip(("evt_1", "evt_2", "evt_3"), outcomes, strict=True)
    )


def test_events_about_one_invoice_are_acted_upon_one_after_another(house: House) -> None:
    """A failure and its payment in one transaction: the email that the first made is suppressed by the second."""
    outcomes = hear_together(house, failed("evt_1"), failed("evt_1"), paid("evt_2"))
    assert outcomes == [
        "payment_failed is due",
        events.DUPLICATE,
        "incident paid, 1 suppressed",
    ]
    assert (house.row().status, house.row().reason) == ("suppressed", Reason.PAID)


def test_the_order_of_a_batch_is_kept_around_a_copy(house: House) -> None:
    """Payment before failure, with a copy of the first at the end: nobody is asked for money."""
    outcomes = hear_together(house, paid("evt_1"), failed("evt_2"), paid("evt_1"))
    assert outcomes == [
        "incident paid, 0 suppressed",
        f"suppressed: {Reason.PAID}",
        events.DUPLICATE,
    ]


def test_an_unreadable_event_leaves_nothing_of_its_batch(house: House) -> None:
    """The batcher tries its halves again; what is rolled back must be all of it."""
    with pytest.raises(invoices.UnreadableEvent):
        hear_together(house, failed("evt_1"), failed("evt_2", invoice_id="in_2", status="odd"))
    assert (house.rows(), house.table(ProcessedEvent), house.table(IncidentRow)) == ([], [], [])
