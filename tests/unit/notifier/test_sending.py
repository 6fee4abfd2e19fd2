"""Sending one notification, and what happens when something dies between two steps."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import select

from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.sending import (
    LEASE,
    LONGEST_WAIT,
    OUT_OF_CREDITS,
    RATE_LIMITED,
    Accepted,
    MaybeSent,
    RateLimited,
    Refused,
    Unavailable,
    backoff,
)
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import delivery as posting
from services.notifier.handlers import feedback
from services.notifier.handlers import requests as asking
from services.notifier.handlers.results import Result
from services.notifier.models import IncidentRow, Notification
from services.notifier.queries import leases, suppressions
from services.notifier.queries.leases import Beside
from services.notifier.service import NotifierService
from services.notifier.workflows import sending
from shared.contracts.accounts import OWN, Account
from shared.contracts.invoices import InvoiceStatus
from shared.contracts.payments import Decline
from shared.database import DatabaseUnavailable
from shared.statements import table_of
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import START, a_contact
from tests.unit.wire import on_the_wire


def test_a_due_notification_is_sent_and_remembered(house: House) -> None:
    """The row keeps provider id and time, the incident the time of its last email, and a second round is idle."""
    house.hear(failed())
    assert house.work() == ["sent"]
    assert house.work() == []
    row = house.row()
    assert (row.status, row.provider_message_id, row.sent_at) == ("sent", "message-1", START)
    assert row.unconfirmed_since is None
    (incident,) = house.table(IncidentRow)
    assert incident.last_mailed_at == START
    (mail,) = house.mailer.inbox
    assert (mail.to, mail.notification_id) == ("dana@example.com", row.notification_id)
    assert "https://portal.example/me/SECRET.TOKEN?from=payment_failed" in mail.text


def test_nobody_is_written_to_for_a_disconnected_account(house: House) -> None:
    """The reason stays; connected again, what comes due from then on goes out, and what was suppressed does not."""
    house.hear(failed())
    house.portal.people["cus_1"] = a_contact(disconnected=True)
    assert house.work() == ["suppressed"]
    assert house.row().reason == Reason.ACCOUNT_DISCONNECTED
    assert house.mailer.inbox == []
    assert house.work() == []


def test_no_row_holds_a_link_or_an_address(house: House) -> None:
    """Address and link live in memory only."""
    house.hear(failed())
    house.work()
    stored = repr([vars(row) for row in house.rows() + house.table(IncidentRow)])
    assert "SECRET" not in stored
    assert "dana@example.com" not in stored


@pytest.mark.parametrize(
    ("fresh", "reason"),
    [
        (InvoiceNow(status=InvoiceStatus.PAID), Reason.PAID),
        (InvoiceNow(status=InvoiceStatus.VOID), Reason.VOIDED),
        (InvoiceNow(subscription_status="canceled"), Reason.SUBSCRIPTION_ENDED),
    ],
)
def test_stripe_has_the_last_word_before_sending(
    house: House, fresh: InvoiceNow, reason: Reason
) -> None:
    """An invoice that Stripe no longer wants paid is not asked for, even if its event has not come yet."""
    house.hear(failed())
    house.billing.say("in_1", fresh)
    assert house.work() == ["suppressed"]
    (row,) = (one for one in house.rows() if one.kind == "payment_failed")
    assert row.reason == reason
    assert house.mailer.inbox == []


def test_the_email_does_not_depend_on_billing(house: House) -> None:
    """Without a fresh view the email goes out on what the event said."""
    house.hear(failed())
    assert house.work() == ["sent"]
    assert "$149.00" in house.mailer.inbox[0].text


def test_a_confirmation_is_asked_for_when_that_is_the_right_action(house: House) -> None:
    """payment_failed whose decline is authentication_required becomes the confirmation email."""
    house.hear(failed())
    house.billing.say("in_1", InvoiceNow(decline=Decline.AUTHENTICATION_REQUIRED))
    house.work()
    assert house.mailer.inbox[0].kind == "payment_action_required"


def test_a_customer_who_is_linked_a_minute_later_is_written_to(house: House) -> None:
    """The link between our customer and Stripe's may come after the failure: the portal is asked again."""
    house.portal.people.clear()
    house.hear(failed())
    assert house.work() == ["unknown_customer"]
    assert house.work() == []
    house.portal.people["cus_1"] = a_contact()
    house.clock.forward(minutes=1)
    assert house.work() == ["sent"]


def wait_in_vain(house: House, days: int, *, every: int = 1) -> list[str]:
    """What comes of the rounds of so many days, one in `every` hours."""
    outcomes = []
    for _ in range(days * 24 // every):
        outcomes += house.work()
        house.clock.forward(hours=every)
    return outcomes


@pytest.mark.whole
def test_whoever_owes_is_waited_for_while_the_invoice_lives(house: House) -> None:
    """Unknown for a week, then registered: one email, about what is still open. Asked less and less often meanwhile."""
    house.portal.people.clear()
    house.hear(failed())
    house.hear(failed(attempt_count=2))
    outcomes = wait_in_vain(house, days=7)
    assert set(outcomes) == {"unknown_customer"}
    assert 10 <= len(outcomes) <= 18
    house.portal.people["cus_1"] = a_contact()
    assert wait_in_vain(house, days=1) == ["sent"]
    assert house.mailed_to("dana@example.com") == ["payment_failed"]


@pytest.mark.whole
def test_nobody_waits_for_an_unknown_customer_who_has_paid(house: House) -> None:
    """What Stripe closes ends the wait, with its reason."""
    house.portal.people.clear()
    house.hear(failed())
    wait_in_vain(house, days=2)
    house.hear(paid())
    assert wait_in_vain(house, days=2) == []
    assert house.row().reason == Reason.PAID


@pytest.mark.whole
def test_a_customer_whom_nobody_ever_knows_is_given_up_with_a_reason(house: House) -> None:
    """After two months the notification is suppressed."""
    house.portal.people.clear()
    house.hear(failed())
    assert wait_in_vain(house, days=62, every=6)[-1] == "suppressed"
    assert house.row().reason == Reason.NO_SUCH_CUSTOMER


def test_a_portal_that_is_away_delays_and_does_not_lose(house: House) -> None:
    """The portal down is not the customer unknown: the row waits, with growing pauses."""
    house.portal.down = True
    house.hear(failed())
    assert house.work() == ["portal_unavailable"]
    house.portal.down = False
    house.clock.forward(seconds=5)
    assert house.work() == ["sent"]


def test_no_address_no_email(house: House) -> None:
    """A customer without an address is a recorded reason."""
    house.portal.people["cus_1"] = a_contact(email=None)
    house.hear(failed())
    assert house.work() == ["suppressed"]
    assert house.row().reason == Reason.NO_ADDRESS


def test_a_bounced_address_gets_no_further_email(house: House) -> None:
    """The address is recognised by its hash, whatever its case. The business hears of it, once, and can call."""
    with house.db.transaction() as session:
        suppressions.suppress_address(
            session, house.hasher(" Dana@Example.com"), Reason.ADDRESS_BOUNCED, START, None
        )
    for invoice in ("in_1", "in_2"):
        house.hear(failed(invoice_id=invoice))
        house.work()
    failures = [row for row in house.rows() if row.kind == "payment_failed"]
    assert [row.reason for row in failures] == [Reason.ADDRESS_BOUNCED] * 2
    assert [mail.kind.value for mail in house.mailer.inbox] == ["customer_unreachable"]


def test_429_waits_for_the_reset(house: House) -> None:
    """Not before SendGrid's own time, then it goes out."""
    house.mailer.answers = [RateLimited(START + dt.timedelta(seconds=30))]
    house.hear(failed())
    (result,) = [sending.send_one(house.desk, one) for one in sending.lease(house.desk, 1)]
    assert (result.outcome, result.pause_until) == (
        "rate_limited",
        START + dt.timedelta(seconds=30),
    )
    house.clock.forward(seconds=29)
    assert house.work() == []
    house.clock.forward(seconds=6)
    assert house.work() == ["sent"]


@pytest.mark.whole
def test_429_gives_up_no_email(house: House) -> None:
    """After days of it, whoever is last in the line gets theirs; what is paid meanwhile is not asked for."""
    house.hear(failed())
    house.hear(failed(invoice_id="in_2"))
    for _ in range(3):
        house.mailer.answers = [RateLimited(house.clock() + dt.timedelta(days=2))] * 2
        assert house.work() == ["rate_limited"] * 2
        house.clock.forward(days=1)
    house.hear(paid(invoice_id="in_2"))
    assert "sent" in house.work()
    assert [mail.kind.value for mail in house.mailer.inbox] == ["payment_failed"]


@pytest.mark.parametrize("held", [RATE_LIMITED, OUT_OF_CREDITS])
@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (Unavailable("503"), "unavailable"),
        (MaybeSent("no answer"), "maybe_sent"),
        (None, "portal_unavailable"),
    ],
)
def test_what_a_429_held_has_a_day_of_its_own_from_then_on(
    house: House, after: Unavailable | MaybeSent | None, outcome: str, held: str
) -> None:
    """SendGrid refuses it next, or says nothing, or the portal is away: that is its first try, however long it was held."""
    house.hear(failed())
    for _ in range(3):
        house.mailer.answers = [RateLimited(house.clock() + dt.timedelta(days=2), held)]
        assert house.work() == ["rate_limited"]
        assert house.row().last_error == held
        house.clock.forward(hours=12)
    house.portal.down = after is None
    house.mailer.answers = [after] if after else []
    assert house.work() == [outcome]
    house.portal.down = False
    for hours, then in ((23, "unavailable"), (1, "gave_up")):
        house.clock.forward(hours=hours)
        house.mailer.answers = [Unavailable("503")]
        assert house.work() == [then]


@pytest.mark.whole
def test_an_outage_is_waited_out_and_given_up_after_a_day(house: House) -> None:
    """Growing pauses; after a day of refusals the row fails with a reason and asks for a person."""
    house.mailer.answers = [Unavailable("503 from SendGrid")] * 200
    house.hear(failed())
    outcomes: list[str] = []
    for _ in range(30):
        outcomes += house.work()
        house.clock.forward(hours=1)
    assert set(outcomes[:-1]) == {"unavailable"}
    assert outcomes[-1] == "gave_up"
    assert (house.row().status, house.row().reason) == ("failed", Reason.GAVE_UP)
    assert house.mailer.inbox == []


def test_a_refusal_is_final(house: House) -> None:
    """400, 401, 403 and 413 don't get better by trying again."""
    house.mailer.answers = [Refused("401 from SendGrid: no reason given")]
    house.hear(failed())
    assert house.work() == ["refused"]
    house.clock.forward(days=2)
    assert house.work() == []
    assert house.row().status == "failed"


def test_a_timeout_is_sent_once_more_after_the_grace_period_and_never_a_third_time(
    house: House,
) -> None:
    """ADR 4: nothing within the grace period, then one more try, then a person."""
    house.mailer.answers = [MaybeSent("no answer"), MaybeSent("no answer")]
    house.hear(failed())
    assert house.work() == ["maybe_sent"]
    assert house.row().unconfirmed_since == START
    house.clock.forward(minutes=14)
    assert house.work() == []
    house.clock.forward(minutes=1)
    assert house.work() == ["maybe_sent"]
    house.clock.forward(minutes=15)
    assert house.work() == ["unconfirmed"]
    assert (house.row().status, house.row().reason) == ("failed", Reason.UNCONFIRMED_TWICE)
    assert len(house.mailer.inbox) == 2


def test_a_timeout_that_the_webhook_clears_up_is_not_repeated(house: House) -> None:
    """SendGrid's event within the grace period is the answer that the time-out hid."""
    house.mailer.answers = [MaybeSent("no answer")]
    house.hear(failed())
    house.work()
    notification_id = house.row().notification_id
    report = DeliveryEvent(
        event_id="sg_1",
        notification_id=notification_id,
        what=Delivery.ACCEPTED,
        occurred_at=house.clock(),
        provider_word="processed",
    )
    with house.db.transaction() as session:
        assert feedback.handle(session, [report], house.clock(), house.hasher) == [True]
    house.clock.forward(hours=1)
    assert house.work() == []
    assert (house.row().status, len(house.mailer.inbox)) == ("sent", 1)


def test_a_known_refusal_after_a_timeout_keeps_what_is_unknown_unknown(house: House) -> None:
    """503 at the second try says nothing about the first: it stays unconfirmed, and one try is left."""
    house.mailer.answers = [MaybeSent("no answer"), Unavailable("503")]
    house.hear(failed())
    house.work()
    house.clock.forward(minutes=15)
    assert house.work() == ["unavailable"]
    assert (house.row().unconfirmed_posts, house.row().unconfirmed_since is None) == (1, False)
    house.clock.forward(minutes=1)
    assert house.work() == ["sent"]


class Died(BaseException):
    """The process is gone: nothing in it runs any more."""


def test_a_sender_that_dies_before_the_post_gives_its_row_back(house: House) -> None:
    """Crash after the lease: nothing went out, and another sender sends once when the lease has ended."""
    house.hear(failed())
    sending.lease(house.desk, 16)
    assert house.work() == []
    house.clock.forward(seconds=91)
    assert house.work() == ["sent"]
    assert len(house.mailer.inbox) == 1


def test_a_sender_that_dies_after_the_202_is_maybe_sent(house: House) -> None:
    """Crash between SendGrid's 202 and the mark: not sent again at the lease's end, once more after the grace
    period."""
    house.hear(failed())

    class DyingMailer:
        def send(self, mail: object) -> Accepted:
            house.mailer.inbox.append(mail)  # type: ignore[arg-type]
            raise Died

    desk = msgspec.structs.replace(house.desk, mailer=DyingMailer())
    (leased,) = sending.lease(desk, 1)
    with pytest.raises(Died):
        sending.send_one(desk, leased)
    house.clock.forward(minutes=5)
    assert house.work() == []
    house.clock.forward(minutes=10)
    assert house.work() == ["sent"]
    assert len(house.mailer.inbox) == 2


def test_a_sender_that_lost_its_lease_does_not_post(house: House) -> None:
    """Two senders with the same row: the slow one finds that the lease is not its own any more."""
    house.hear(failed())
    (slow,) = sending.lease(house.desk, 1)
    house.clock.forward(seconds=91)
    assert house.work() == ["sent"]
    assert sending.send_one(house.desk, slow).outcome == "lease_lost"
    assert len(house.mailer.inbox) == 1


def test_a_payment_between_lease_and_post_stops_the_email(house: House) -> None:
    """The last look is under the incident's lock, right before the request."""
    house.hear(failed())
    (leased,) = sending.lease(house.desk, 1)
    house.hear(paid())
    assert sending.send_one(house.desk, leased).outcome == "suppressed"
    assert house.row().reason == Reason.PAID


def test_a_payment_while_the_email_is_on_its_way_is_announced(house: House) -> None:
    """The email can't be called back, so the customer hears that it has settled."""
    house.hear(failed())
    (leased,) = sending.lease(house.desk, 1)

    class SlowMailer:
        def send(self, mail: object) -> Accepted:
            house.hear(paid())
            return Accepted("msg-slow")

    desk = msgspec.structs.replace(house.desk, mailer=SlowMailer())
    assert sending.send_one(desk, leased).outcome == "sent"
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_recovered"]


def test_what_nobody_foresaw_is_tried_later_and_not_for_ever(house: House) -> None:
    """A failure inside the notifier (a template, say) backs off like an outage."""
    house.hear(failed())
    (leased,) = sending.lease(house.desk, 1)
    assert sending.unexpected_error(house.desk, leased, "KeyError").outcome == "stumbled"
    assert house.work() == []
    house.clock.forward(minutes=1)
    assert house.work() == ["sent"]


def test_leases_share_the_work(house: House) -> None:
    """Two senders never get the same row."""
    for number in range(4):
        house.hear(failed(invoice_id=f"in_{number}"))
    first, second = sending.lease(house.desk, 2), sending.lease(house.desk, 16)
    ids = [one.notification_id for one in first + second]
    assert (len(first), len(second), len(set(ids))) == (2, 2, 4)


def test_a_lease_beside_some_accounts_is_of_others(house: House) -> None:
    """However old what those have due is; and then the oldest comes first."""
    for number, account in enumerate(("acct_1", "acct_1", "", "acct_2", "")):
        house.hear(failed(f"evt_{number}", account=Account(account), invoice_id=f"in_{number}"))
        house.clock.forward(seconds=1)
    beside = sending.lease(house.desk, 2, Beside(frozenset({"acct_1"}), 9))
    assert [one.invoice_id for one in beside] == ["in_2", "in_3"]
    rest = sending.lease(house.desk, 9, Beside(frozenset({""}), 9))
    assert {one.account for one in rest} == {"acct_1"}
    assert [one.invoice_id for one in sending.lease(house.desk, 9)] == ["in_4"]


def test_a_lease_beside_some_accounts_takes_few_of_each_other_one(house: House) -> None:
    """The oldest of each: one that has many due doesn't take the places of one that has a single one."""
    for number, account in enumerate(("acct_1", "acct_1", "acct_1", "", "acct_2")):
        house.hear(failed(f"evt_{number}", account=Account(account), invoice_id=f"in_{number}"))
        house.clock.forward(seconds=1)
    few = sending.lease(house.desk, 3, Beside(frozenset({"acct_2"}), 2))
    assert [one.invoice_id for one in few] == ["in_0", "in_1", "in_3"]


@pytest.mark.whole
def test_an_account_with_more_than_are_looked_at_comes_first_and_makes_room(house: House) -> None:
    """Only the oldest are looked at, however much is due: who has all of those gets its share, and the next look is at the others."""
    house.hear(failed("evt_1", account=Account("acct_1")))
    house.clock.forward(seconds=1)
    house.hear(failed("evt_2", account=Account("acct_2")))
    table = table_of(Notification)
    with house.db.transaction() as session:
        one = session.execute(select(table).where(table.c.account == "acct_1")).one()
        session.execute(
            table.insert(),
            [
                {
                    **one._mapping,
                    "notification_id": f"ntf_{number}",
                    "dedupe_key": f"key_{number}",
                    "attempt_key": None,
                }
                for number in range(999)
            ],
        )
    looked_at = [
        [one.account for one in sending.lease(house.desk, 9, Beside(frozenset(busy), 2))]
        for busy in ((), ("acct_1",))
    ]
    assert looked_at == [["acct_1", "acct_1"], ["acct_2"]]


def test_pauses_grow_are_jittered_and_capped() -> None:
    """2 s doubling to a quarter of an hour, between half and all of it."""
    assert backoff(1, 0.0) == dt.timedelta(seconds=1)
    assert backoff(1, 1.0) == dt.timedelta(seconds=2)
    assert backoff(4, 1.0) == dt.timedelta(seconds=16)
    assert backoff(10_000, 1.0) == LONGEST_WAIT


@pytest.mark.whole
def test_a_resend_is_one_new_email_and_is_looked_at_again(house: House) -> None:
    """Asking twice while it waits makes one; after a payment it is suppressed like any other."""
    house.hear(failed())
    house.work()
    original = house.row().notification_id
    with house.db.transaction() as session:
        assert asking.resend(session, original, house.clock()).created
        assert not asking.resend(session, original, house.clock()).created
    assert house.work() == ["sent"]
    with house.db.transaction() as session:
        asking.resend(session, original, house.clock())
    house.hear(paid())
    house.work()
    assert house.mailed_to("dana@example.com") == [
        "payment_failed",
        "payment_failed",
        "payment_recovered",
    ]
    with house.db.transaction() as session, pytest.raises(asking.UnknownNotification):
        asking.resend(session, "ntf_nobody", house.clock())


def test_a_fresh_link_is_mailed_at_most_once_an_hour(house: House) -> None:
    """Whoever holds an old link can ask for a new one, but not flood the customer."""
    house.portal.people["kd83"] = a_contact()
    for _ in range(3):
        with house.db.transaction() as session:
            asking.send_fresh_link(session, "kd83", house.clock())
        house.work()
    house.clock.forward(hours=1)
    with house.db.transaction() as session:
        assert asking.send_fresh_link(session, "kd83", house.clock()).created
    house.work()
    assert [mail.kind for mail in house.mailer.inbox] == ["fresh_link"] * 2
    assert "from=" not in house.mailer.inbox[0].text


def test_the_list_shows_what_happened_without_address_or_link(house: House) -> None:
    """Filtered by invoice, customer or status, newest first, plain JSON."""
    house.hear(failed())
    house.clock.forward(minutes=1)
    house.hear(failed(invoice_id="in_2", collection_method="send_invoice"))
    house.work()
    notifications = on_the_wire(asking.notifications)
    with house.db.reading() as session:
        listed = notifications(session, OWN, invoice_id=None, stripe_customer_id="cus_1", limit=10)
        one = notifications(session, OWN, invoice_id="in_2", stripe_customer_id=None, limit=10)
        none = notifications(session, OWN, invoice_id="in_3", stripe_customer_id=None, limit=10)
        (sent,) = notifications(
            session, OWN, invoice_id=None, stripe_customer_id=None, limit=10, status="sent"
        )
    assert [row["status"] for row in listed] == ["suppressed", "sent"]
    assert sent["invoice_id"] == "in_1"
    assert one[0]["reason"] == Reason.NOT_AUTOPAY
    assert listed[1]["sent_at"] == "2026-11-23T12:01:00Z"
    assert none == []


def test_the_backlog_counts_what_waits_and_how_late_it_is(house: House) -> None:
    """Pending rows, and the age of the oldest that is due."""
    house.hear(failed())
    house.clock.forward(seconds=42)
    with house.db.reading() as session:
        backlog = leases.backlog(session, house.clock())
    assert (backlog.pending, backlog.oldest_due_seconds) == (1, 42)


@pytest.mark.parametrize(
    "outcome", [Unavailable("503"), RateLimited(START + dt.timedelta(minutes=30))]
)
def test_what_is_tried_in_vain_is_late_between_its_tries(
    house: House, outcome: Unavailable | RateLimited
) -> None:
    """Else hours without SendGrid would look like minutes: each email is due again for a moment only."""
    house.hear(failed())
    house.mailer.answers = [outcome] * 2
    house.work()
    house.clock.forward(minutes=20)
    house.work()
    with house.db.reading() as session:
        assert leases.backlog(session, house.clock()).oldest_due_seconds == 20 * 60


def test_whom_nobody_knows_yet_is_not_late(house: House) -> None:
    """That email waits for the host's word, and not for us."""
    house.hear(failed())
    house.mailer.answers = [Unavailable("503")]
    house.work()
    del house.portal.people["cus_1"]
    house.clock.forward(seconds=30)
    assert house.work() == ["unknown_customer"]
    with house.db.reading() as session:
        assert leases.backlog(session, house.clock()).oldest_due_seconds == 0


def test_a_database_that_goes_away_in_the_middle_costs_no_try(house: House) -> None:
    """The lease ends by itself, and whoever takes the email then begins anew: nothing of it was tried."""

    def away(one: posting.SendRequest) -> Result | None:
        raise DatabaseUnavailable("the database takes no writes")

    house.hear(failed())
    desk = msgspec.structs.replace(house.desk, begin=away)
    (leased,) = sending.lease(desk, 1)
    ended: list[object] = []
    NotifierService.send_one(
        SimpleNamespace(_desk=lambda: desk, note_welcome_sent=ended.append), leased
    )
    assert ended == [leased]
    row = house.row()
    assert (row.status, row.attempts, row.last_error) == ("sending", 0, None)
    house.clock.forward(seconds=LEASE.total_seconds() + 1)
    assert house.work() == ["sent"]
