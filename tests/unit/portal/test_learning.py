"""What the portal asks billing in the background: what failed, whether its successor takes days, and what customers may do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from services.portal import serializers as wire
from services.portal.adapters.billing import RpcBilling, RpcBillingPages
from services.portal.domain.notice import Line, State
from services.portal.domain.snapshot import OwnedInvoice
from services.portal.handlers import resolved_links
from services.portal.handlers.events import handle
from services.portal.models import Base, BusinessRow, InvoiceRow
from services.portal.ports import BillingUnavailable, DeclineSeen, PlannedEnd, PriceSeen
from services.portal.queries import billing_sync
from services.portal.workflows import billing_sync as learning
from shared.contracts.accounts import OWN, Account, StripeCustomer, StripeId
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.rpc.errors import RemoteFault
from shared.database import Transactions
from shared.events import InvoiceUpdated, PaymentMethodChanged
from shared.nameko_ext.rpc import RpcTimeout
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    ago,
    ahead,
    event,
    failed,
    invoice,
    invoice_data,
    lookup,
    observation,
    paid,
    snapshot,
)
from tests.unit.wire import on_the_wire

VISA = PaymentMethod(type="card", brand="visa", last4="0341", exp_month=3, exp_year=2026)
AMEX = PaymentMethod(type="card", brand="amex", last4="0005", exp_month=1, exp_year=2030)
TOLD = DeclineSeen(VISA)
ACCOUNT = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")


@pytest.fixture
def database() -> Transactions:
    return tables.empty(Base.metadata)


@dataclass
class FakeBilling:
    """Billing that counts what it was asked, and may be away or without a configuration."""

    seen: DeclineSeen = TOLD
    may_cancel: bool = False
    price: PriceSeen | None = None
    """None: there is no next invoice."""
    server_error: str | None = None
    not_served: frozenset[str] = frozenset()
    """Of invoices: billing does nothing on their account."""
    busy: bool = False
    """It may not ask Stripe now."""
    asked: list[str] = field(default_factory=list)

    def _enter(self, what: str) -> None:
        if self.server_error:
            raise BillingUnavailable(self.server_error)
        self.asked.append(what)

    def declines(self, invoices: Sequence[StripeId]) -> dict[StripeId, DeclineSeen | None]:
        for one in invoices:
            self._enter(one.id)
        if self.busy:
            return {}
        return {one: None if one.id in self.not_served else self.seen for one in invoices}

    def prices(self, subscriptions: Sequence[StripeId]) -> dict[StripeId, PriceSeen | None]:
        for subscription in subscriptions:
            self._enter(subscription.id)
        return {} if self.busy else dict.fromkeys(subscriptions, self.price)

    def customers_may_cancel(self, account: Account, business_id: str) -> bool:
        self._enter(business_id)
        return self.may_cancel

    def cancel_at_period_end(
        self, stripe_customer: StripeId, subscription_id: str, idempotency_key: str
    ) -> dt.datetime | None:
        return None


@pytest.fixture
def customer_id(database: Transactions) -> str:
    return tables.filled(database.engine, owing, database)


def owing(database: Transactions) -> str:
    """A customer whose charge failed."""
    with database.transaction() as session:
        add_business(session)
        made = add_customer(session, platform_stripe_customer_id="cus_1")
        session.flush()
        handle(session, event(failed(), ago(hours=1)), NOW)
        handle(session, event(failed(invoice_id="in_2", stripe_customer_id="cus_9"), NOW), NOW)
    return made.customer_id


def line(database: Transactions, customer_id: str) -> Line:
    with database.reading() as session:
        found = lookup(session, customer_id, NOW)
        assert found is not None
        return resolved_links.notice_for(found, NOW).lines[0]


def test_the_declined_card_is_asked_for_once_a_failure(
    database: Transactions, customer_id: str
) -> None:
    """One question a failure, for our own customers only; the page then says which card."""
    billing = FakeBilling()
    assert line(database, customer_id).method is None
    learning.learn_cards(database, billing, NOW)
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == ["in_1"]
    assert line(database, customer_id).method == VISA


def test_what_an_invoice_is_for_is_learnt_where_its_events_do_not_say(
    database: Transactions, customer_id: str
) -> None:
    """Events of an earlier release tell nothing of it; what an event said is not overwritten."""
    seen = DeclineSeen(VISA, purpose="Windows", purpose_more=1)
    with database.transaction() as session:
        handle(session, event(failed(invoice_id="in_3", purpose="Deep clean")), NOW)
    learning.learn_cards(database, FakeBilling(seen), NOW)
    with database.reading() as session:
        found = lookup(session, customer_id, NOW)
    assert found is not None
    told = {
        one.invoice_id: (one.invoice.purpose, one.invoice.purpose_more) for one in found.invoices
    }
    assert told == {"in_1": ("Windows", 1), "in_3": ("Deep clean", 0)}
    owed = on_the_wire(wire.snapshot)(found, NOW)["owed"]
    assert {one["invoice_id"]: (one["purpose"], one["purpose_more"]) for one in owed} == told


def test_a_newer_failure_is_not_told_with_the_older_card(
    database: Transactions, customer_id: str
) -> None:
    """Until the new answer is here no card is named; then the new one is."""
    billing = FakeBilling()
    learning.learn_cards(database, billing, NOW)
    with database.transaction() as session:
        handle(session, event(failed(attempt_count=2), ago(minutes=1)), NOW)
    assert line(database, customer_id).method is None
    billing.seen = DeclineSeen(AMEX)
    learning.learn_cards(database, billing, NOW)
    assert line(database, customer_id).method == AMEX


def test_no_card_is_an_answer_and_paid_is_not_asked_about(
    database: Transactions, customer_id: str
) -> None:
    """Stripe may not tell what failed: that is not asked again. Nothing is asked about a paid invoice."""
    billing = FakeBilling(seen=DeclineSeen())
    learning.learn_cards(database, billing, NOW)
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == ["in_1"]
    assert line(database, customer_id).method is None
    with database.transaction() as session:
        handle(session, event(failed(attempt_count=2), ago(minutes=2)), NOW)
        handle(session, event(paid(), ago(minutes=1)), NOW)
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == ["in_1"]


def test_what_stripe_was_not_asked_about_is_asked_again(
    database: Transactions, customer_id: str
) -> None:
    """In a storm billing answers from webhooks, which name no card: the page does without until Stripe is asked."""
    billing = FakeBilling(busy=True)
    assert learning.learn_cards(database, billing, NOW) == learning.Round(more=False)
    assert line(database, customer_id).method is None
    billing.busy = False
    learning.learn_cards(database, billing, NOW)
    assert line(database, customer_id).method is not None


def test_few_cards_are_asked_for_at_once(database: Transactions, customer_id: str) -> None:
    """A round takes five, the newest first, and another one follows while Stripe may be asked."""
    with database.transaction() as session:
        for number in range(6):
            told = failed(invoice_id=f"in_new{number}")
            handle(session, event(told, ago(minutes=number)), NOW)
    billing = FakeBilling()
    assert learning.learn_cards(database, billing, NOW).more
    assert billing.asked == [f"in_new{number}" for number in range(5)]
    assert not learning.learn_cards(database, billing, NOW).more
    assert billing.asked[5:] == ["in_new5", "in_1"]


@pytest.mark.whole
def test_an_account_on_which_nothing_is_done_starves_no_other(
    database: Transactions, customer_id: str
) -> None:
    """Its invoices are asked about again, after a while; meanwhile it is the turn of those behind them."""
    many = [f"in_{number}" for number in range(10, 10 + learning.CARDS)]
    with database.transaction() as session:
        for invoice_id in many:
            handle(session, event(failed(invoice_id=invoice_id), NOW), NOW)
    billing = FakeBilling(not_served=frozenset(many))
    assert learning.learn_cards(database, billing, NOW).more
    learning.learn_cards(database, billing, NOW)
    assert (set(billing.asked[:-1]), billing.asked[-1]) == (set(many), "in_1")
    later = NOW + learning.NOT_SERVED_FOR
    learning.learn_cards(database, billing, later)
    assert set(billing.asked[-learning.CARDS :]) == set(many)


def test_an_old_failures_card_is_not_asked_for(database: Transactions, customer_id: str) -> None:
    """After two days the page does without: an invoice that Stripe does not know must not be asked for indefinitely."""
    billing = FakeBilling()
    learning.learn_cards(database, billing, NOW + learning.CARDS_FOR)
    assert billing.asked == []


def test_billing_that_is_away_is_asked_again(database: Transactions, customer_id: str) -> None:
    """Nothing is written while billing is away, and the round says so."""
    billing = FakeBilling(server_error="RpcTimeout")
    assert learning.learn_cards(database, billing, NOW).problem == "RpcTimeout"
    billing.server_error = None
    learning.learn_cards(database, billing, NOW)
    assert line(database, customer_id).method is not None


def test_a_bank_account_is_kept_as_one(database: Transactions, customer_id: str) -> None:
    """By its bank and its end, apart from the columns of cards that replicas of the release before read."""
    seen = DeclineSeen(ACCOUNT, Decline.ACCOUNT_CLOSED, needs_new_method=True)
    learning.learn_cards(database, FakeBilling(seen=seen), NOW)
    found = line(database, customer_id)
    assert (found.method, found.step) == (ACCOUNT, NextStep.NEW_METHOD)
    with database.reading() as session:
        assert session.scalars(
            select(InvoiceRow.card_last4).where(InvoiceRow.invoice_id == "in_1")
        ).all() == [None]


def test_that_nothing_could_be_charged_is_kept_until_the_next_failure(
    database: Transactions, customer_id: str
) -> None:
    """The page says that a payment method is missing, and not that one failed."""
    seen = DeclineSeen(reason=Decline.NO_PAYMENT_METHOD, needs_new_method=True)
    learning.learn_cards(database, FakeBilling(seen=seen), NOW)
    assert line(database, customer_id).step is NextStep.ADD_METHOD
    assert line(database, customer_id).missing
    with database.transaction() as session:
        handle(session, event(failed(attempt_count=2), ago(minutes=1)), NOW)
    assert line(database, customer_id).step is NextStep.MAY_TRY_AGAIN
    assert not line(database, customer_id).missing


def test_a_date_that_events_left_open_is_learnt_until_stripe_says_otherwise(
    database: Transactions, customer_id: str
) -> None:
    """Within one second events can't tell a withdrawn date from a new one; Stripe, asked, can. Its next word wins."""
    date = ahead(days=2)
    learning.learn_cards(database, FakeBilling(seen=replace(TOLD, next_payment_attempt=date)), NOW)
    assert line(database, customer_id).next_attempt == date
    with database.transaction() as session:
        gone = invoice_data(InvoiceUpdated, schedule_changed=True)
        handle(session, event(gone, ago(minutes=59)), NOW)
    assert line(database, customer_id).next_attempt is None


def test_a_date_that_was_read_stays_when_an_older_event_comes_late(
    database: Transactions, customer_id: str
) -> None:
    """Stripe was asked after it had withdrawn the date and named it again; the withdrawal, told late, changes nothing."""
    date, at = ahead(days=2), ago(hours=1)
    with database.transaction() as session:
        named = invoice_data(InvoiceUpdated, schedule_changed=True, next_payment_attempt=date)
        handle(session, event(named, at), NOW)
    learning.learn_cards(database, FakeBilling(seen=replace(TOLD, next_payment_attempt=date)), NOW)
    with database.transaction() as session:
        handle(session, event(invoice_data(InvoiceUpdated, schedule_changed=True), at), NOW)
    assert line(database, customer_id).next_attempt == date


def test_what_an_event_told_meanwhile_is_not_overwritten(
    database: Transactions, customer_id: str
) -> None:
    """The question was on its way when Stripe withdrew the date."""
    learning.learn_cards(database, FakeBilling(), NOW)
    with database.transaction() as session:
        gone = invoice_data(InvoiceUpdated, schedule_changed=True)
        handle(session, event(gone, ago(minutes=1)), NOW)
        billing_sync.note_date_learnt(
            session, StripeId(OWN, "in_1"), ahead(days=2), NOW, known=(1, None)
        )
    assert line(database, customer_id).next_attempt is None


def test_stripes_own_next_debit_is_under_way(database: Transactions, customer_id: str) -> None:
    """The bank that returned a debit is asked again: the customer need do nothing until it has answered."""
    billing = FakeBilling(seen=DeclineSeen(ACCOUNT))
    learning.learn_cards(database, billing, NOW)
    assert line(database, customer_id).state is State.DECLINED
    tried = invoice_data(InvoiceUpdated, attempt_count=2, schedule_changed=True)
    with database.transaction() as session:
        handle(session, event(tried, ago(minutes=2)), NOW)
    learning.learn_cards(database, billing, NOW)
    assert line(database, customer_id).state is State.DECLINED, "nothing is under way"
    billing.seen = replace(billing.seen, processing=True)
    learning.learn_cards(database, billing, NOW + dt.timedelta(minutes=3))
    assert line(database, customer_id).state is State.PENDING
    assert line(database, customer_id).tried_again
    with database.transaction() as session:
        handle(session, event(failed(attempt_count=2), ago(minutes=1)), NOW)
    assert line(database, customer_id).state is State.DECLINED


def test_a_debit_that_an_event_told_of_is_under_way_without_asking(
    database: Transactions, customer_id: str
) -> None:
    """Whoever began it: nothing is asked of the customer from then on, until it comes back."""
    billing = FakeBilling(seen=DeclineSeen(ACCOUNT))
    learning.learn_cards(database, billing, NOW)
    begun = invoice_data(InvoiceUpdated, attempt_count=0, processing=True)
    with database.transaction() as session:
        handle(session, event(begun, ago(minutes=2)), NOW)
    assert line(database, customer_id).state is State.PENDING
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == ["in_1"], "once, about the failure"
    with database.transaction() as session:
        handle(session, event(failed(), ago(minutes=1)), NOW)
    assert line(database, customer_id).state is State.DECLINED


def test_a_debit_of_which_stripe_knows_no_more_is_over(
    database: Transactions, customer_id: str
) -> None:
    """The question came after the event of its beginning and before that of its end."""
    begun = invoice_data(InvoiceUpdated, attempt_count=0, processing=True)
    with database.transaction() as session:
        handle(session, event(begun, ago(minutes=2)), NOW)
    assert line(database, customer_id).state is State.PENDING
    learning.learn_cards(database, FakeBilling(seen=DeclineSeen(ACCOUNT)), NOW)
    assert line(database, customer_id).state is State.DECLINED


def test_a_debit_with_a_new_account_that_an_event_told_of_takes_days(
    database: Transactions, customer_id: str
) -> None:
    """The account was replaced, and the debit of it began a moment later."""
    learning.learn_cards(database, FakeBilling(), NOW - dt.timedelta(minutes=30))
    replaced(database, seconds=9)
    assert state(database, customer_id) is State.SETTLING
    begun = invoice_data(InvoiceUpdated, attempt_count=0, processing=True, own_retry=True)
    with database.transaction() as session:
        handle(session, event(begun, ago(seconds=8)), NOW)
    assert state(database, customer_id) is State.PENDING
    billing = FakeBilling()
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == []


def replaced(database: Transactions, **before: float) -> dt.datetime:
    """The customer's payment method was replaced some time before NOW."""
    at = ago(**before)
    with database.transaction() as session:
        handle(session, event(PaymentMethodChanged(**CHANGED), at), NOW)
    return at


CHANGED: Any = {
    "stripe_customer_id": "cus_1",
    "payment_method_id": "pm_2",
    "subscription_id": None,
}


def state(database: Transactions, customer_id: str, now: dt.datetime = NOW) -> State:
    with database.reading() as session:
        found = lookup(session, customer_id, now)
        assert found is not None
        return resolved_links.notice_for(found, now).lines[0].state


def test_a_debit_that_is_under_way_is_waited_for_without_hurry(
    database: Transactions, customer_id: str
) -> None:
    """As soon as billing knows of it the page speaks of days, and nobody asks any more."""
    learning.learn_cards(database, FakeBilling(), NOW - dt.timedelta(minutes=30))
    replaced(database, seconds=5)
    assert state(database, customer_id) is State.SETTLING
    billing = FakeBilling(seen=DeclineSeen(processing=True))
    learning.learn_cards(database, billing, NOW)
    assert state(database, customer_id) is State.PENDING
    learning.learn_cards(database, billing, NOW + dt.timedelta(minutes=5))
    assert billing.asked == ["in_1"]


@pytest.mark.whole
def test_a_try_that_stripe_refuses_is_not_under_way(
    database: Transactions, customer_id: str
) -> None:
    """The page stops saying so as soon as billing tells; another card is under way again, and so is one whose try comes further."""
    at = replaced(database, minutes=2)
    stale = FakeBilling(seen=DeclineSeen(refused_at=at - learning.ONE_CHANGE * 2))
    learning.learn_cards(database, stale, NOW)
    assert state(database, customer_id) is State.SETTLING
    refusing = FakeBilling(seen=DeclineSeen(refused_at=at - dt.timedelta(seconds=20)))
    learning.learn_cards(database, refusing, NOW + dt.timedelta(minutes=3))
    assert refusing.asked == ["in_1"]
    assert state(database, customer_id) is State.DECLINED
    replaced(database, seconds=4)
    assert state(database, customer_id) is State.SETTLING


def test_another_replacement_is_another_payment(database: Transactions, customer_id: str) -> None:
    """A card after the bank account: what was known of the debit says nothing about it."""
    replaced(database, minutes=5)
    learning.learn_cards(database, FakeBilling(seen=DeclineSeen(processing=True)), NOW)
    replaced(database, seconds=4)
    assert state(database, customer_id) is State.SETTLING


@pytest.mark.whole
def test_a_replacement_that_failed_at_once_is_asked_about_no_more(
    database: Transactions, customer_id: str
) -> None:
    """Our own retry failed in the second of the change: that was its answer."""
    at = replaced(database, seconds=5)
    with database.transaction() as session:
        handle(session, event(failed(own_retry=True), at), NOW)
    billing = FakeBilling()
    learning.learn_cards(database, billing, NOW)
    learning.learn_cards(database, billing, NOW)
    assert billing.asked == ["in_1"]
    assert state(database, customer_id) is State.STILL_DECLINED


@pytest.mark.whole
def test_whether_a_payment_takes_days_is_asked_less_and_less_often(
    database: Transactions, customer_id: str
) -> None:
    """Not while a card may still answer, then after twice the time, and never once the page says so by itself."""
    learning.learn_cards(database, FakeBilling(), NOW - dt.timedelta(minutes=30))
    replaced(database, seconds=0)
    billing = FakeBilling()
    asked_after = []
    for seconds in range(400):
        learning.learn_cards(database, billing, NOW + dt.timedelta(seconds=seconds))
        if billing.asked:
            asked_after.append(seconds)
            billing.asked.clear()
    assert asked_after == [3, 6, 12, 24, 48, 96, 192, 384]


def rights(database: Transactions) -> bool | None:
    with database.reading() as session:
        return session.scalars(select(BusinessRow)).one().may_cancel


def test_what_customers_may_do_is_learnt_and_followed(
    database: Transactions, customer_id: str
) -> None:
    """Asked at once for a new business, then every few minutes, so a changed configuration reaches the page."""
    billing = FakeBilling(may_cancel=False)
    assert rights(database) is None
    learning.learn_rights(database, billing, NOW)
    learning.learn_rights(database, billing, NOW)
    assert billing.asked == ["sunrise"]
    assert rights(database) is False
    billing.may_cancel = True
    learning.learn_rights(database, billing, NOW + 2 * learning.RIGHTS_EVERY)
    assert rights(database) is True


def test_a_missing_configuration_is_named_and_not_taken_for_a_no(
    database: Transactions, customer_id: str
) -> None:
    """The business's name goes to the metric and the log; the page then offers nothing it can't know."""
    done = learning.learn_rights(
        database, FakeBilling(server_error="PortalConfigurationMissing"), NOW
    )
    assert done.missing == ("sunrise",)
    assert done.problem is None
    assert rights(database) is None


# --- the click to confirm, over the wire ------------------------------------------------------------------------


class Answering:
    """An RPC proxy whose every method gives one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def call(**asked: Any) -> Any:
            self.asked = asked
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return call


OWED = OwnedInvoice(invoice_id="in_1", invoice=invoice(observation()))
HOSTED = "https://invoice.stripe.com/i/acct_1/test_x"


def confirm(billing: Answering, invoice_id: str = "in_1", **changes: Any) -> str | None:
    pages = RpcBillingPages(billing, ("https://invoice.stripe.com",))
    return resolved_links.confirm(pages, snapshot(invoices=(OWED,), **changes), invoice_id)


def test_a_click_to_confirm_leads_to_the_customers_own_invoice() -> None:
    """Billing is asked with the customer, so that it can check whose invoice it is."""
    billing = Answering({"url": HOSTED})
    assert confirm(billing) == HOSTED
    assert billing.asked == {"invoice_id": "in_1", "stripe_customer_id": "cus_1"}


def test_what_is_not_theirs_or_is_settled_leads_nowhere() -> None:
    """An invoice that the page doesn't ask for is not asked of billing; a closed one leads back to the page."""
    billing = Answering({"url": HOSTED})
    assert confirm(billing, "in_2") is None
    assert confirm(billing, platform_stripe_customer_id=None) is None
    assert billing.asked == {}
    for fault in ("InvoiceClosed", "UnknownInvoice"):
        assert confirm(Answering(RemoteFault(fault, ""))) is None


@pytest.mark.parametrize(
    "answer", [{"url": "https://evil.example/i/x"}, {}, None, RpcTimeout("late")]
)
def test_a_click_to_confirm_leads_only_to_stripe(answer: Any) -> None:
    """Another origin, or no answer, is "unavailable", never a redirect."""
    with pytest.raises(BillingUnavailable):
        confirm(Answering(answer))


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (
            {"method": {"kind": "card", "type": "card", "brand": "visa", "last4": "4242"}},
            DeclineSeen(PaymentMethod(type="card", brand="visa", last4="4242")),
        ),
        (
            {
                "method": {"kind": "bank", "type": "sepa_debit", "last4": "3000"},
                "card": None,
                "decline": {"reason": "account_closed", "needs_new_method": True},
            },
            DeclineSeen(
                PaymentMethod(type="sepa_debit", last4="3000"), Decline.ACCOUNT_CLOSED, True
            ),
        ),
        ({"processing": True, "method": None}, DeclineSeen(processing=True)),
        ({"decline": {"reason": "brand_new"}}, DeclineSeen()),
        # A billing of the release before.
        (
            {"card": {"brand": "visa", "last4": "4242"}},
            DeclineSeen(PaymentMethod(type="card", brand="visa", last4="4242")),
        ),
        (
            {"card": {"brand": "visa", "last4": "<b>4"}},
            DeclineSeen(PaymentMethod(type="card", brand="visa")),
        ),
        (
            {"card": {"last4": "4242", "exp_month": 13, "exp_year": 1 << 40}},
            DeclineSeen(PaymentMethod(type="card", last4="4242")),
        ),
        ({"card": None, "status": "open"}, DeclineSeen()),
    ],
)
def test_what_failed_is_read_or_left_out(state: dict[str, Any], seen: DeclineSeen) -> None:
    """Any payment method, of which only what looks like the end of a number is shown; why; and what is under way."""
    billing = RpcBilling(Answering({"in_1": {"source": "stripe", **state}}))
    assert billing.declines([StripeId(OWN, "in_1")]) == {StripeId(OWN, "in_1"): seen}


def test_what_webhooks_told_is_no_word_about_the_card() -> None:
    """An answer that is not Stripe's own leaves the question open."""
    billing = RpcBilling(Answering({"in_1": {"source": "webhooks", "card": None}}))
    assert billing.declines([StripeId(OWN, "in_1"), StripeId(OWN, "in_2")]) == {}


def test_a_subscription_that_is_gone_is_as_good_as_ended() -> None:
    """Billing knows no such subscription: there is nothing left to plan."""
    gone = RpcBilling(Answering(RemoteFault("UnknownSubscription", "")))
    assert gone.cancel_at_period_end(StripeCustomer(OWN, "cus_1"), "sub_1", "r") == PlannedEnd()
    with pytest.raises(BillingUnavailable):
        RpcBilling(Answering({"ends_at": 7})).cancel_at_period_end(
            StripeCustomer(OWN, "cus_1"), "sub_1", "r"
        )
