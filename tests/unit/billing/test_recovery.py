"""The loop closes: a new card pays what is open and becomes what is charged from now on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from services.billing.domain.changes import KEY_LIFE, MOST_A_DAY, MOST_A_MONTH, SETTLED, Wish
from services.billing.domain.errors import StripeKeyRefused, StripePermissionMissing
from services.billing.domain.paying import (
    Customer,
    Invoice,
    Payment,
    PayOutcome,
    Subscription,
    pay_key,
)
from services.billing.handlers import inbox
from services.billing.models import (
    PaymentMethodChange,
    PaymentTry,
    Recovery,
    RecoveryLease,
    RecoveryRun,
)
from services.billing.queries import payment_tries
from services.billing.workflows.change_plans import Run
from services.billing.workflows.customer_lease import CustomerBusy
from services.billing.workflows.recovery import (
    PAUSES,
    Report,
    accounts_due,
    due,
    recover,
    resume,
)
from shared.contracts import accounts
from shared.contracts.rpc.errors import BillingError, StripeRefused, StripeUnavailable
from shared.database import Transactions
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import Clock, payload, with_fields
from tests.unit.billing.fakes import (
    DEBIT,
    DECLINES,
    GOOD,
    NEEDS_CUSTOMER,
    FakeBusinesses,
    FakePaymentGateway,
    Trouble,
    charged_to,
)
from tests.unit.billing.webhooks import store_webhook
from tests.unit.wire import on_the_wire

INVOICE = Invoice(
    id="in_1",
    stripe_customer_id="cus_1",
    status="open",
    currency="usd",
    amount_remaining=8900,
    attempted=True,
    attempt_count=1,
    collection_method="charge_automatically",
    subscription_id="sub_1",
)
CUSTOMER, SUBSCRIPTION = "customer.updated", "customer.subscription.updated"
RENEWED = "payment_method.automatically_updated"


def dana(gateway: FakePaymentGateway) -> None:
    """A customer with a new default card, whose subscription still has the old one and an invoice unpaid."""
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD))
    gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", defaults=charged_to(DECLINES)
    )
    gateway.invoices["in_1"] = INVOICE


@dataclasses.dataclass
class Loop:
    """The use case with its surroundings, as one worker sees it."""

    database: Transactions
    gateway: FakePaymentGateway
    clock: Clock
    businesses: FakeBusinesses = dataclasses.field(default_factory=FakeBusinesses)
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def run(self, wish: Wish | None = None, holder: str = "me") -> Report:
        wish = wish or self.told()
        return recover(
            self.database,
            self.gateway,
            wish,
            businesses=self.businesses,
            holder=holder,
            clock=self.clock,
        )

    def go_on(self) -> list[Report]:
        """What the service's loop does with the changes that are due now."""
        return [
            resume(
                self.database,
                self.gateway,
                one,
                businesses=self.businesses,
                holder="loop",
                clock=self.clock,
            )
            for account in accounts_due(self.database, self.clock())
            for one in due(self.database, account, self.clock())
        ]

    def told(self, card: str = GOOD, kind: str = CUSTOMER, scope: str = "") -> Wish:
        """One more event of Stripe's that says now that the card is the one to charge."""
        event_id = f"evt_{next(self.numbers)}"
        now = self.clock().replace(microsecond=0)
        return Wish(accounts.OWN, event_id, kind, "cus_1", card, scope, set_at=now)

    def recorded(self) -> dict[str, str]:
        """The last outcome of each invoice."""
        with self.database.reading() as session:
            rows = session.scalars(select(PaymentTry).order_by(PaymentTry.at, PaymentTry.number))
            return {row.invoice_id: row.outcome for row in rows}

    def changes(self) -> list[str | None]:
        with self.database.reading() as session:
            rows = session.scalars(
                select(PaymentMethodChange).order_by(PaymentMethodChange.opened_at)
            )
            return [row.outcome for row in rows]

    def new_card(self, card: str) -> Wish:
        self.gateway.customers["cus_1"] = Customer("cus_1", charged_to(card))
        return self.told(card)


@pytest.fixture
def loop(database: Transactions, gateway: FakePaymentGateway, clock: Clock) -> Loop:
    dana(gateway)
    gateway.clock = clock
    return Loop(database, gateway, clock)


def test_a_new_card_pays_what_is_open_and_is_charged_from_now_on(loop: Loop) -> None:
    """The invoice is paid, the subscription points at the new card, and the outcome is on record."""
    report = loop.run()
    assert report.run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"
    assert loop.gateway.all_subscriptions["sub_1"].own_default == GOOD
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


def test_the_same_event_twice_pays_once(loop: Loop) -> None:
    """The second delivery finds that its change was carried out."""
    wish = loop.told()
    loop.run(wish)
    assert loop.run(wish).run is Run.KNOWN
    assert loop.gateway.charges == [("in_1", GOOD)]


@pytest.mark.whole
@pytest.mark.parametrize("card", [GOOD, DECLINES])
@pytest.mark.parametrize("operation", ["customer", "open_invoices", "pay", "after pay"])
def test_after_a_crash_the_event_comes_back_and_pays_once(
    loop: Loop, operation: str, card: str
) -> None:
    """Dead between any two steps, the event is delivered again: its change goes on, and the bank is asked once."""
    wish = loop.new_card(card)

    def die(entered: str) -> None:
        if entered == "pay" and operation == "after pay":
            loop.gateway.before = lambda later: None
            loop.gateway.pay("in_1", card, pay_key("in_1", card, wish.event_id))
        if entered == operation.removeprefix("after "):
            raise SystemExit

    loop.gateway.before = die
    with pytest.raises(SystemExit):
        loop.run(wish)
    loop.gateway.before = lambda entered: None
    loop.run(wish)
    assert loop.run(wish).run is Run.KNOWN
    assert loop.gateway.charges == [("in_1", card)]
    assert loop.changes() == ["done"]


def test_a_list_that_lags_behind_is_paid_once(loop: Loop) -> None:
    """Dead after Stripe's answer, and Stripe still shows nothing of it: the same key is sent again, and charges nothing."""
    wish = loop.told()

    def die(entered: str) -> None:
        if entered == "pay":
            loop.gateway.before = lambda later: None
            loop.gateway.pay("in_1", GOOD, pay_key("in_1", GOOD, wish.event_id))
            raise SystemExit

    loop.gateway.before = die
    with pytest.raises(SystemExit):
        loop.run(wish)
    loop.gateway.invoices["in_1"] = INVOICE
    assert loop.run(wish).payments["in_1"].outcome is PayOutcome.PAID
    assert loop.gateway.charges == [("in_1", GOOD)]


@pytest.mark.whole
def test_a_dead_process_whose_event_never_comes_back_is_replaced(loop: Loop) -> None:
    """The row alone is enough: the loop finds the change that nobody goes on with."""

    def die(entered: str) -> None:
        if entered == "pay":
            raise SystemExit

    loop.gateway.before = die
    with pytest.raises(SystemExit):
        loop.run()
    loop.gateway.before = lambda entered: None
    assert loop.go_on() == []
    loop.clock.forward(seconds=PAUSES[0].total_seconds())
    assert [report.run for report in loop.go_on()] == [Run.DONE]
    assert loop.gateway.charges == [("in_1", GOOD)]
    assert loop.go_on() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"attempted": False},
        {"amount_remaining": 0},
        {"collection_method": "send_invoice"},
        {"status": "void"},
    ],
)
def test_only_failed_autopay_invoices_are_paid(loop: Loop, changed: dict[str, object]) -> None:
    """What was never tried, is not owed, or is paid by hand is left alone."""
    loop.gateway.invoices["in_1"] = INVOICE.with_changes(**changed)  # type: ignore[arg-type]
    assert loop.run().run is Run.DONE
    assert loop.gateway.charges == []


@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        (DECLINES, PayOutcome.DECLINED),
        (NEEDS_CUSTOMER, PayOutcome.AUTHENTICATION_REQUIRED),
        (DEBIT, PayOutcome.PROCESSING),
    ],
)
def test_what_a_bank_answers_is_an_outcome(loop: Loop, card: str, outcome: PayOutcome) -> None:
    """A decline, a confirmation and a slow debit are recorded, not raised: nothing is retried by us."""
    report = loop.run(loop.new_card(card))
    assert report.payments["in_1"].outcome is outcome
    assert loop.recorded() == {"in_1": outcome}


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_card_that_has_just_been_tried_is_not_charged_again(loop: Loop, seconds: int) -> None:
    """It was set just before Stripe's own attempt, or the host's in the same second, which failed with it: the bank has answered already."""
    declining = loop.new_card(DECLINES)
    loop.clock.forward(seconds=seconds)
    loop.gateway.declined("in_1", DECLINES)
    loop.clock.forward(seconds=1)
    assert loop.run(declining).payments["in_1"].outcome is PayOutcome.ALREADY_TRIED
    assert loop.gateway.charges == []
    assert loop.recorded() == {"in_1": PayOutcome.ALREADY_TRIED}


@pytest.mark.parametrize(
    ("tried", "ago", "kind"),
    [(GOOD, 0, RENEWED), (GOOD, 1, CUSTOMER), ("pm_old", -1, CUSTOMER)],
    ids=["maybe before it was renewed", "too early", "another card"],
)
def test_an_attempt_that_says_nothing_of_the_new_card_does_not_hold_it_back(
    loop: Loop, tried: str, ago: int, kind: str
) -> None:
    """A card that the bank renewed behind the same id, one that was chosen afterwards, or another card: the new one is charged."""
    loop.clock.forward(seconds=-ago)
    loop.gateway.declined("in_1", tried)
    loop.clock.forward(seconds=ago)
    assert loop.run(loop.told(kind=kind)).payments["in_1"].outcome is PayOutcome.PAID


def test_without_word_of_the_last_attempt_the_card_is_charged(loop: Loop) -> None:
    """The look at the last attempt is best effort: Stripe does not answer it, and the invoice is paid."""

    def silent(operation: str) -> None:
        if operation == "payment_trace":
            raise StripeUnavailable("slow")

    loop.gateway.before = silent
    assert loop.run().payments["in_1"].outcome is PayOutcome.PAID


def test_a_second_card_is_another_try(loop: Loop) -> None:
    """After a decline the next new card is charged, within the same hour and attempt."""
    loop.run(loop.new_card(DECLINES))
    loop.run(loop.new_card(GOOD))
    assert loop.gateway.charges == [("in_1", DECLINES), ("in_1", GOOD)]
    assert loop.gateway.invoices["in_1"].status == "paid"


@pytest.mark.whole
def test_a_card_that_comes_while_a_debit_is_under_way_has_its_turn_when_that_comes_back(
    loop: Loop,
) -> None:
    """Stripe refuses a second payment beside the first. The event of the failed debit wakes the wish, which has waited."""
    loop.run(loop.new_card(DEBIT))
    loop.clock.forward(hours=2)
    assert loop.run(loop.new_card(GOOD)).run is Run.POSTPONED
    loop.clock.forward(hours=23)
    assert loop.go_on() == []
    loop.clock.forward(hours=1)
    assert [report.run for report in loop.go_on()] == [Run.POSTPONED]
    loop.gateway.processing.clear()
    body = payload("invoice.payment_failed", with_fields(customer="cus_1"))
    failed = inbox.read_webhook(body, directory=OWN_ALONE)
    with loop.database.transaction() as session:
        inbox.store_webhooks(session, [failed], loop.clock())
    assert [report.run for report in loop.go_on()] == [Run.DONE]
    assert loop.gateway.charges == [("in_1", DEBIT), ("in_1", GOOD)]
    assert loop.gateway.invoices["in_1"].status == "paid"


def test_a_debit_under_way_is_not_repeated_by_the_same_account(loop: Loop) -> None:
    """It was chosen again while its own debit was under way: that is the answer, whatever comes of it."""
    loop.run(loop.new_card(DEBIT))
    loop.clock.forward(hours=2)
    assert loop.run(loop.told(DEBIT)).run is Run.DONE
    assert loop.gateway.charges == [("in_1", DEBIT)]


@pytest.mark.whole
def test_a_card_set_again_is_tried_again_when_the_hour_is_over(loop: Loop) -> None:
    """A card that was declined may have got money meanwhile: the new wish waits for the hour's end, then it is tried."""
    loop.run(loop.new_card(DECLINES))
    loop.clock.forward(minutes=40)
    assert loop.run(loop.told(DECLINES)).run is Run.POSTPONED
    loop.clock.forward(minutes=19)
    assert loop.go_on() == []
    loop.clock.forward(minutes=1)
    assert [report.run for report in loop.go_on()] == [Run.DONE]
    assert loop.gateway.charges == [("in_1", DECLINES)] * 2


@pytest.mark.whole
def test_a_card_set_again_after_an_hour_is_asked_again_at_once(loop: Loop) -> None:
    """Not Stripe's stored answer to the first time: a key of its own, and the bank says yes."""
    loop.run(loop.new_card(DECLINES))
    loop.clock.forward(minutes=61)
    loop.gateway.good_now.add(DECLINES)
    assert loop.run(loop.told(DECLINES)).payments["in_1"].outcome is PayOutcome.PAID
    assert loop.changes() == ["done", "done"]


@pytest.mark.whole
def test_a_card_that_the_bank_renewed_is_asked_again(loop: Loop) -> None:
    """The network's new card behind the same id is a wish of its own, hours after the decline of the old one."""
    loop.run(loop.new_card(DECLINES))
    loop.clock.forward(hours=2)
    loop.gateway.good_now.add(DECLINES)
    loop.run(loop.told(DECLINES, kind=RENEWED))
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


@pytest.mark.whole
def test_many_wishes_within_the_hour_are_one_try(loop: Loop) -> None:
    """Whatever is set before the card is tried is answered by that try."""
    loop.run(loop.new_card(DECLINES))
    for _ in range(5):
        loop.clock.forward(minutes=10)
        loop.run(loop.told(DECLINES))
    loop.clock.forward(hours=1)
    loop.go_on()
    loop.clock.forward(hours=1)
    assert loop.go_on() == []
    assert loop.gateway.charges == [("in_1", DECLINES)] * 2


def test_a_wish_waits_for_the_hour_of_a_change_that_is_still_open(loop: Loop) -> None:
    """The first change's process died after the bank had declined: the same card set again is not asked at once."""

    def die(entered: str) -> None:
        if entered == "pay":
            loop.gateway.before = lambda later: None
            loop.gateway.pay("in_1", DECLINES, pay_key("in_1", DECLINES, "evt_1"))
            raise SystemExit

    first = loop.new_card(DECLINES)
    loop.gateway.before = die
    with pytest.raises(SystemExit):
        loop.run(first)
    loop.clock.forward(minutes=5)
    assert loop.run(loop.told(DECLINES)).run is Run.POSTPONED
    assert loop.gateway.charges == [("in_1", DECLINES)]


@pytest.mark.whole
def test_a_postponed_wish_for_a_card_that_is_not_charged_any_more_ends(loop: Loop) -> None:
    """Another card was set before the hour was over: the old one is left alone."""
    loop.run(loop.new_card(DECLINES))
    loop.clock.forward(minutes=10)
    loop.run(loop.told(DECLINES))
    loop.run(loop.new_card(f"{DECLINES}_third"))
    loop.clock.forward(minutes=50)
    assert [report.run for report in loop.go_on()] == [Run.NO_CARD]
    assert loop.changes() == ["done", "no_card", "done"]


# --- several events about one change -------------------------------------------------------------------------


@pytest.mark.whole
def test_stripes_several_events_about_one_change_are_one_try(loop: Loop) -> None:
    """The customer's default, the subscription's and the network's word within a minute: the bank is asked once."""
    first = loop.new_card(DECLINES)
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", charged_to(DECLINES)
    )
    loop.run(first)
    for kind, scope in ((SUBSCRIPTION, "sub_1"), (RENEWED, "")):
        loop.clock.forward(seconds=20)
        loop.run(loop.told(DECLINES, kind, scope))
    assert loop.gateway.charges == [("in_1", DECLINES)]
    assert loop.changes() == ["done"]


def test_two_events_of_one_kind_in_one_second_are_one_change(loop: Loop) -> None:
    """Stripe sometimes makes two events, with two ids, for one thing."""
    loop.run(loop.new_card(DECLINES))
    loop.run(loop.told(DECLINES))
    loop.clock.forward(hours=2)
    assert loop.go_on() == []
    assert loop.gateway.charges == [("in_1", DECLINES)]


def test_an_event_that_comes_late_is_no_new_wish(loop: Loop) -> None:
    """Set before the card was tried, delivered the next day: nothing is asked again."""
    late = loop.new_card(DECLINES)
    loop.clock.forward(seconds=90)
    loop.run(loop.told(DECLINES))
    loop.clock.forward(hours=20)
    loop.run(late)
    assert loop.gateway.charges == [("in_1", DECLINES)]
    assert loop.changes() == ["done"]


@pytest.mark.whole
def test_an_event_of_another_scope_pays_what_the_first_did_not(loop: Loop) -> None:
    """One subscription's card, then the customer's: the first invoice is not asked about twice, the other one is paid."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to("pm_private"))
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", charged_to(DECLINES)
    )
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", subscription_id="sub_2")
    loop.run(loop.told(DECLINES, SUBSCRIPTION, "sub_1"))
    assert loop.gateway.charges == [("in_1", DECLINES)]
    loop.clock.forward(seconds=5)
    loop.run(loop.new_card(DECLINES))
    assert loop.gateway.charges == [("in_1", DECLINES), ("in_2", DECLINES)]


@pytest.mark.whole
def test_a_card_given_to_everything_waits_only_where_it_was_just_tried(loop: Loop) -> None:
    """Ten minutes after one subscription's: what is new is paid at once, what was declined when the hour is over."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to("pm_private"))
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", charged_to(DECLINES)
    )
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", subscription_id="sub_2")
    loop.run(loop.told(DECLINES, SUBSCRIPTION, "sub_1"))
    loop.clock.forward(minutes=10)
    report = loop.run(loop.new_card(DECLINES))
    assert (report.run, set(report.payments)) == (Run.POSTPONED, {"in_2"})
    loop.clock.forward(minutes=50)
    assert [set(one.payments) for one in loop.go_on()] == [{"in_1"}]


def test_what_a_release_before_has_tried_is_not_tried_again(loop: Loop) -> None:
    """While both run side by side, the older writes no change, but when it was done: after this event."""
    wish = loop.new_card(DECLINES)
    with loop.database.transaction() as session:
        session.add(
            RecoveryRun(
                stripe_customer_id="cus_1",
                payment_method_id=DECLINES,
                scope="",
                finished_at=loop.clock(),
            )
        )
    loop.clock.forward(seconds=5)
    assert loop.run(wish).run is Run.KNOWN
    loop.clock.forward(hours=2)
    assert loop.go_on() == []
    assert loop.gateway.charges == []


# --- an answer that does not come ----------------------------------------------------------------------------


@pytest.mark.whole
@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.STORED_500_AFTER])
@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        (GOOD, PayOutcome.PAID),
        (DECLINES, PayOutcome.DECLINED),
        (NEEDS_CUSTOMER, PayOutcome.AUTHENTICATION_REQUIRED),
        (DEBIT, PayOutcome.PROCESSING),
    ],
)
def test_a_lost_answer_is_read_off_the_invoice(
    loop: Loop, trouble: Trouble, card: str, outcome: PayOutcome
) -> None:
    """The bank was asked, and only the answer is missing: it is read at Stripe, and nothing is asked twice."""
    wish = loop.new_card(card)
    loop.clock.forward(seconds=1)
    loop.gateway.troubles = [trouble]
    assert loop.run(wish).payments["in_1"].outcome is outcome
    assert loop.recorded() == {"in_1": outcome}
    assert loop.gateway.charges == [("in_1", card)]


@pytest.mark.whole
def test_an_unknown_fate_is_asked_again_with_the_same_key(loop: Loop) -> None:
    """Stripe was not reached, and shows nothing: the change stays open, and its key is sent again."""
    loop.gateway.troubles = [Trouble.NOT_REACHED, Trouble.NOT_REACHED]
    wish = loop.told()
    for _ in range(2):
        with pytest.raises(StripeUnavailable):
            loop.run(wish)
        assert loop.recorded() == {"in_1": PayOutcome.UNKNOWN}
    assert loop.run(wish).payments["in_1"].outcome is PayOutcome.PAID
    with loop.database.reading() as session:
        assert [row.number for row in session.scalars(select(PaymentTry))] == [1]


@pytest.mark.whole
def test_a_stored_error_gets_a_fresh_key_once_nothing_can_come_of_it(loop: Loop) -> None:
    """Stripe would replay the 500 for a day; ten minutes later it shows no charge, and another key pays."""
    loop.gateway.troubles = [Trouble.STORED_500]
    wish = loop.told()
    with pytest.raises(StripeUnavailable):
        loop.run(wish)
    loop.clock.forward(seconds=SETTLED.total_seconds() - 1)
    with pytest.raises(StripeUnavailable):
        loop.run(wish)
    assert loop.gateway.charges == []
    loop.clock.forward(seconds=1)
    assert loop.run(wish).payments["in_1"].outcome is PayOutcome.PAID
    with loop.database.reading() as session:
        rows = session.scalars(select(PaymentTry).order_by(PaymentTry.number))
        assert [row.outcome for row in rows] == [PayOutcome.NOT_CHARGED, PayOutcome.PAID]


@pytest.mark.whole
def test_another_card_waits_while_the_first_ones_fate_is_unknown(loop: Loop) -> None:
    """No second key asks about an invoice before it is known what the first one did."""
    loop.gateway.troubles = [Trouble.NOT_REACHED]
    with pytest.raises(StripeUnavailable):
        loop.run(loop.new_card("pm_first"))
    second = loop.new_card("pm_second")
    with pytest.raises(StripeUnavailable):
        loop.run(second)
    assert loop.gateway.charges == []
    loop.clock.forward(seconds=SETTLED.total_seconds())
    loop.run(second)
    assert loop.gateway.charges == [("in_1", "pm_second")]


@pytest.mark.whole
def test_a_key_older_than_stripes_memory_is_not_sent_again(loop: Loop) -> None:
    """After a day Stripe would take the key for a new one: the try is over, and counts as not made."""
    loop.gateway.troubles = [Trouble.NOT_REACHED]
    wish = loop.told()
    with pytest.raises(StripeUnavailable):
        loop.run(wish)
    loop.clock.forward(seconds=KEY_LIFE.total_seconds())
    keys = []
    pay = loop.gateway.pay
    loop.gateway.pay = lambda *asked: (keys.append(asked[2]), pay(*asked))[1]  # type: ignore[method-assign]
    loop.run(wish)
    assert keys == [pay_key("in_1", GOOD, wish.event_id, 2)]


def test_one_invoice_of_unknown_fate_does_not_hold_back_the_others(loop: Loop) -> None:
    """The first one's answer is an error for good; the second is paid in the same run."""
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2")
    loop.gateway.troubles = [Trouble.STORED_500]
    with pytest.raises(StripeUnavailable):
        loop.run()
    assert loop.recorded() == {"in_1": PayOutcome.UNKNOWN, "in_2": PayOutcome.PAID}


@pytest.mark.whole
def test_a_debit_that_is_under_way_is_not_charged_again(loop: Loop) -> None:
    """Its invoice is open until it settles; the next card must not pay it a second time."""
    loop.run(loop.new_card(DEBIT))
    loop.run(loop.new_card(GOOD))
    assert loop.gateway.charges == [("in_1", DEBIT)]
    assert loop.recorded() == {"in_1": PayOutcome.PROCESSING}


# --- how often -----------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_an_invoice_is_tried_a_few_times_a_day(loop: Loop) -> None:
    """A tester of stolen cards, or a customer in despair: after five tries of one invoice nothing is asked that day."""
    for number in range(MOST_A_DAY + 2):
        loop.run(loop.new_card(f"{DECLINES}_{number}"))
        loop.clock.forward(seconds=10)
    assert len(loop.gateway.charges) == MOST_A_DAY
    assert loop.recorded() == {"in_1": PayOutcome.CAPPED}
    loop.clock.forward(days=1)
    loop.run(loop.new_card(GOOD))
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


@pytest.mark.whole
def test_one_card_is_tried_a_few_times_a_month(loop: Loop) -> None:
    """Stripe's own attempts and ours stay together within what the networks take."""
    for _ in range(MOST_A_MONTH + 3):
        loop.run(loop.new_card(DECLINES))
        loop.clock.forward(days=1)
    assert len(loop.gateway.charges) == MOST_A_MONTH


# -------------------------------------------------------------------------------------------------------------


def test_what_was_paid_meanwhile_is_success(loop: Loop) -> None:
    """Stripe's own retry was faster: "already paid" is what we wanted."""

    def stripe_was_faster(operation: str) -> None:
        if operation == "pay":
            loop.gateway.invoices["in_1"] = INVOICE.with_changes(status="paid")

    loop.gateway.before = stripe_was_faster
    assert loop.run().payments["in_1"].outcome is PayOutcome.ALREADY_PAID


def test_what_was_voided_meanwhile_is_closed(loop: Loop) -> None:
    """Nothing is owed any more: no error, and the record says why."""

    def voided(operation: str) -> None:
        if operation == "pay":
            loop.gateway.invoices["in_1"] = INVOICE.with_changes(status="void")

    loop.gateway.before = voided
    assert loop.run().payments["in_1"].outcome is PayOutcome.CLOSED


def test_a_refusal_for_an_open_invoice_is_recorded_and_does_not_stop_the_others(
    loop: Loop,
) -> None:
    """An invoice that Stripe will not try (a card of another customer, …) is told; the next one is paid."""
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2")
    refused = iter([True, False])

    def refuse_the_first(operation: str) -> None:
        if operation == "pay" and next(refused):
            raise StripeRefused("no such payment method")

    loop.gateway.before = refuse_the_first
    loop.run()
    assert loop.recorded() == {"in_1": PayOutcome.REFUSED, "in_2": PayOutcome.PAID}


@pytest.mark.whole
@pytest.mark.parametrize("trouble", [StripeUnavailable, StripeKeyRefused, StripePermissionMissing])
@pytest.mark.parametrize(
    "operation", ["customer", "subscriptions", "set_subscription_default", "open_invoices", "pay"]
)
def test_a_stripe_that_does_nothing_for_us_makes_the_event_come_back(
    loop: Loop, operation: str, trouble: type[BillingError]
) -> None:
    """Whatever call fails, for Stripe's sake or our key's, the run raises, gives the customer back, and the next one
    finishes: no outcome is written down for what no bank was asked."""

    def down(entered: str) -> None:
        if entered == operation:
            raise trouble("not now")

    loop.gateway.before = down
    with pytest.raises(trouble):
        loop.run()
    assert set(loop.recorded().values()) <= {PayOutcome.UNKNOWN}
    loop.gateway.before = lambda entered: None
    assert loop.run(holder="another").run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"


def test_one_customer_at_a_time(loop: Loop) -> None:
    """While one worker tries a card, another leaves the customer alone and comes back later."""

    def second_worker(operation: str) -> None:
        if operation == "pay":
            loop.gateway.before = lambda later: None
            with pytest.raises(CustomerBusy):
                loop.run(holder="another")

    loop.gateway.before = second_worker
    assert loop.run().run is Run.DONE
    assert len(loop.gateway.charges) == 1


def test_a_dead_workers_lease_runs_out(loop: Loop) -> None:
    """A worker that died without giving the customer back blocks it for two minutes, not indefinitely."""
    with loop.database.transaction() as session:
        session.add(RecoveryLease(stripe_customer_id="cus_1", holder="dead", until=loop.clock.now))
    loop.clock.forward(seconds=-1)
    with pytest.raises(CustomerBusy):
        loop.run()
    loop.clock.forward(seconds=1)
    assert loop.run().run is Run.DONE


def test_no_call_to_stripe_stands_in_a_transaction(loop: Loop) -> None:
    """SQLite has one connection here: a call inside a transaction would find it taken."""
    pool = loop.database.engine.pool
    taken = []
    loop.gateway.before = lambda operation: taken.append(pool.checkedout())  # type: ignore[attr-defined]
    loop.run()
    assert taken
    assert set(taken) == {0}


def test_a_subscription_that_ended_does_not_stop_the_payment(loop: Loop) -> None:
    """Pointing fails for a subscription that Stripe ended unpaid meanwhile; what is owed is paid all the same."""

    def ended(operation: str) -> None:
        if operation == "set_subscription_default":
            loop.gateway.all_subscriptions["sub_1"] = Subscription(
                "sub_1", "cus_1", "canceled", end_reason="payment_failed"
            )

    loop.gateway.before = ended
    report = loop.run()
    assert (report.pointed, report.not_pointed) == ([], ["sub_1"])
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


@pytest.mark.parametrize("reason", ["cancellation_requested", "payment_disputed", None])
def test_who_left_is_not_charged_by_a_new_card(loop: Loop, reason: str | None) -> None:
    """A subscription that somebody, or a dispute, ended: its open invoice stays as it is."""
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "canceled", end_reason=reason
    )
    assert loop.run().payments == {}
    assert loop.gateway.invoices["in_1"].status == "open"


@pytest.mark.parametrize(
    ("auto_advance", "billing_reason", "paid"),
    [
        (False, "subscription_cycle", False),
        (True, "subscription_cycle", True),
        (False, "manual", True),
        (None, "subscription_cycle", True),
    ],
)
def test_what_was_turned_off_is_not_collected(
    loop: Loop, auto_advance: bool | None, billing_reason: str, paid: bool
) -> None:
    """Automatic collection that was on and is off; an invoice made by API never had it on, and is recovered as any."""
    loop.gateway.invoices["in_1"] = INVOICE.with_changes(
        auto_advance=auto_advance, billing_reason=billing_reason
    )
    assert bool(loop.run().payments) is paid


def test_the_webhooks_know_that_collection_was_once_on(loop: Loop) -> None:
    """Stripe's invoice says that it is off now; the failure's own event said that it was on."""
    mine = with_fields(id="in_1", auto_advance=True)
    with loop.database.transaction() as session:
        body = payload("invoice.payment_failed", mine)
        store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), loop.clock())
    loop.gateway.invoices["in_1"] = INVOICE.with_changes(
        auto_advance=False, billing_reason="manual"
    )
    assert loop.run().payments == {}


def test_what_stripe_gave_up_is_not_paid_by_a_card_that_was_merely_renewed(loop: Loop) -> None:
    """Nobody decided anything; a default that the customer chose pays it."""
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "canceled", end_reason="payment_failed"
    )
    assert loop.run(loop.told(kind=RENEWED)).payments == {}
    loop.clock.forward(hours=2)
    assert loop.run(loop.told(kind=CUSTOMER)).payments == {"in_1": Payment(PayOutcome.PAID)}


def test_a_subscription_that_follows_the_customer_is_left_alone(loop: Loop) -> None:
    """Without a default of its own it charges the customer's: giving it one would freeze the card."""
    loop.gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "active")
    assert loop.run().pointed == []
    assert loop.gateway.all_subscriptions["sub_1"].own_default is None


@pytest.mark.parametrize("default", [None, "pm_newer"])
def test_without_that_default_nothing_is_done(loop: Loop, default: str | None) -> None:
    """A default that was taken away, or replaced again since, is not charged on an old event's word."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(default))
    assert loop.run().run is Run.NO_CARD
    assert loop.gateway.charges == []


def test_a_customer_or_subscription_that_is_gone_is_no_error(loop: Loop) -> None:
    """Deleted since the event: there is nobody to charge."""
    assert loop.run(loop.told(GOOD, SUBSCRIPTION, "sub_gone")).run is Run.GONE
    loop.gateway.customers.clear()
    assert loop.run().run is Run.GONE


def test_a_subscriptions_own_new_card_pays_its_invoices_only(loop: Loop) -> None:
    """A card chosen for one subscription pays that one's invoices and is not spread to others."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to("pm_private"))
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", charged_to(GOOD)
    )
    loop.gateway.all_subscriptions["sub_2"] = Subscription(
        "sub_2", "cus_1", "active", charged_to("pm_2")
    )
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", subscription_id="sub_2")
    loop.run(loop.told(GOOD, SUBSCRIPTION, "sub_1"))
    assert loop.recorded() == {"in_1": PayOutcome.PAID}
    assert loop.gateway.all_subscriptions["sub_2"].own_default == "pm_2"


def test_a_card_that_the_bank_replaced_pays_where_it_is_charged(loop: Loop) -> None:
    """An automatically updated card that is only a subscription's own default pays that subscription."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to("pm_private"))
    loop.gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", charged_to(GOOD)
    )
    loop.run(loop.told(GOOD, RENEWED))
    assert loop.gateway.charges == [("in_1", GOOD)]


def test_ops_can_read_what_was_tried(loop: Loop) -> None:
    """Each try is on record with card, change, attempt, outcome and reason; those of the release before it, too."""
    wish = loop.new_card(DECLINES)
    loop.run(wish)
    earlier = loop.clock.now - dt.timedelta(days=1)
    with loop.database.transaction() as session:
        session.add(
            Recovery(
                invoice_id="in_1",
                payment_method_id=GOOD,
                attempt=1,
                stripe_customer_id="cus_1",
                outcome="paid",
                at=earlier,
            )
        )
    with loop.database.reading() as session:
        new, old = on_the_wire(payment_tries.recoveries)(
            session, accounts.OWN, stripe_customer_id="cus_1", invoice_id="in_1", limit=9
        )
        assert (
            on_the_wire(payment_tries.recoveries)(
                session, accounts.OWN, stripe_customer_id="cus_2", invoice_id=None, limit=9
            )
            == []
        )
    assert new == {
        "account": "",
        "stripe_customer_id": "cus_1",
        "invoice_id": "in_1",
        "payment_method_id": DECLINES,
        "change_id": wish.event_id,
        "attempt": 1,
        "outcome": "declined",
        "detail": "declined",
        "at": loop.clock.now.isoformat(),
    }
    assert (old["change_id"], old["outcome"], old["at"]) == (None, "paid", earlier.isoformat())


# --- what Stripe charges ----------------------------------------------------------------------------------------

SOURCE = "card_old_api"
OWN = "invoice.updated"


@pytest.mark.whole
def test_a_new_default_source_pays_what_is_open_and_is_charged_from_now_on(loop: Loop) -> None:
    """It is a new payment method like any other, where nothing goes before it."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(source=SOURCE))
    report = loop.run(loop.told(SOURCE))
    assert report.pointed == ["sub_1"]
    assert loop.gateway.charges == [("in_1", SOURCE)]
    assert loop.gateway.all_subscriptions["sub_1"].own_default == SOURCE


def test_a_default_source_behind_a_payment_method_pays_nothing(loop: Loop) -> None:
    """Stripe would charge the payment method: so nobody charges the source."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(GOOD, source=SOURCE))
    assert loop.run(loop.told(SOURCE)).run is Run.NO_CARD
    assert loop.gateway.charges == []


def test_a_method_for_one_invoice_pays_that_one(loop: Loop) -> None:
    """Set on the invoice alone: neither the customer's others nor a subscription are touched."""
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", defaults=charged_to(GOOD))
    report = loop.run(loop.told(GOOD, OWN, "in_2"))
    assert (report.pointed, loop.gateway.charges) == ([], [("in_2", GOOD)])


@pytest.mark.parametrize("invoice_id", ["in_1", "in_gone", "in_others"])
def test_an_invoices_method_that_is_not_there_any_more_pays_nothing(
    loop: Loop, invoice_id: str
) -> None:
    """Changed again meanwhile, an invoice that Stripe does not know, or another customer's."""
    loop.gateway.invoices["in_others"] = INVOICE.with_changes(
        id="in_others", stripe_customer_id="cus_2", defaults=charged_to(GOOD)
    )
    loop.run(loop.told(GOOD, OWN, invoice_id))
    assert loop.gateway.charges == []


def test_a_method_that_a_subscription_does_not_take_is_not_charged_for_it(loop: Loop) -> None:
    """A bank account for a subscription that takes cards alone: Stripe passes it over, so do we; what takes it is paid."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(DEBIT))
    cards = Subscription("sub_1", "cus_1", "past_due", charged_to(DECLINES, types=["card"]))
    loop.gateway.all_subscriptions["sub_1"] = cards
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", subscription_id=None)
    report = loop.run(loop.told(DEBIT))
    assert (report.pointed, loop.gateway.charges) == ([], [("in_2", DEBIT)])
