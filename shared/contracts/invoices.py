"""An invoice as it is known, and one rule for each question about it.

Portal, billing and notifier hear of an invoice by events, which `shared.contracts.observations` puts together. The functions
here are the only places that say whether an invoice is owed, may be collected, will be tried again, and what was paid and
what forgiven. Amounts are in the currency's minor unit,
times are in UTC. Pure: no clock, no database, no framework.

Sources for Stripe's behaviour are named where a rule rests on them; what nobody could verify is in
docs/adr/0020-what-we-assume-of-stripe.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, Self

import msgspec


class InvoiceStatus(StrEnum):
    """Stripe's invoice statuses."""

    DRAFT = "draft"
    OPEN = "open"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"
    PAID = "paid"


SENT: Final = "send_invoice"
"""Stripe's word for how an invoice is collected that its customer is sent, and pays by hand."""
MADE_BY_ITSELF: Final = frozenset({"subscription_cycle", "subscription_threshold"})
"""Reasons of invoices that Stripe makes, and begins to collect, by itself."""

FINALITY: Final[dict[str, int]] = {status.value: rank for rank, status in enumerate(InvoiceStatus)}
"""Later states win: a bad debt can still be paid or voided; what is paid or void never opens again. Stripe lets nobody
void a paid invoice, so where both are heard of, it was paid."""

AT_CHECKOUT_FOR: Final = dt.timedelta(hours=1)
"""A first payment that fails this soon after its invoice was made fails before the eyes of whoever subscribes. A bank
debit fails days later, when nobody is at checkout any more."""

UNBEGUN: Final = "incomplete"
"""Stripe's word for a subscription whose first payment is still to come; it never comes back to that."""

UNBEGUN_FOR: Final = dt.timedelta(hours=23)
"""How long Stripe lets a subscription wait for its first payment, which it does not try by itself: whoever comes back to the
checkout pays there. Then the subscription expires, and its invoice is void
(https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses)."""

STOPPED_WITHIN: Final = dt.timedelta(minutes=10)
"""How long after the end of a subscription Stripe may still be turning off the collection of its invoices."""

SAME_ATTEMPT: Final = dt.timedelta(seconds=10)
"""`payment_failed` and `payment_action_required` of one attempt may be this far apart, in either order."""


LONGEST_PURPOSE: Final = 120
"""How much is told of what an invoice is for, in characters."""


class Invoice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of an invoice by now. Services add what they know besides in subclasses.

    A struct, since a storm fills one of these several times a mail: a frozen dataclass of so many fields takes ten times as long.
    """

    on_behalf_of: str = ""
    """The connected account on whose behalf a platform charges it; empty: nobody's, or not known yet. What is open changes it no
    more."""
    status: str = InvoiceStatus.DRAFT.value
    currency: str = ""
    amount_due: int = 0
    amount_remaining: int = 0
    amount_paid: int = 0
    amount_credited: int = 0
    """Forgiven by credit notes before it was paid."""
    attempt_count: int = 0
    collection_method: str = ""
    billing_reason: str | None = None
    number: str | None = None
    subscription_id: str | None = None
    purpose: str | None = None
    """What it is for, one line; None: not known."""
    purpose_more: int = 0
    """How many other things it is for."""
    finalized_at: dt.datetime | None = None
    as_of: dt.datetime | None = None
    """When the amounts were true."""
    next_payment_attempt: dt.datetime | None = None
    schedule_as_of: dt.datetime | None = None
    """When Stripe last said something about the date of the next attempt; None: it has not, for this attempt."""
    schedule_changed: bool = False
    """That word was a change of the date, so None means *withdrawn*."""
    auto_advance: bool | None = None
    """Whether Stripe goes on collecting by itself; None: not known."""
    auto_advance_as_of: dt.datetime | None = None
    was_advancing: bool = False
    """Stripe did collect it by itself at some time. An invoice made by API may never have been."""
    first_failed_at: dt.datetime | None = None
    last_failed_at: dt.datetime | None = None
    last_failure_own: bool = False
    """The last failure was of our own retry with a new payment method."""
    action_required_at: dt.datetime | None = None
    under_way_since: dt.datetime | None = None
    """When a payment whose outcome takes time last began; see `payment_under_way`."""
    under_way_amount: int | None = None
    """What that comes to; None: not known, which counts as all that is due."""
    closed_at: dt.datetime | None = None
    """When it was paid, voided or given up (of the status that won)."""

    def with_changes(self, **changes: Any) -> Self:
        """The same with other values in these fields."""
        return msgspec.structs.replace(self, **changes)

    @property
    def needs_confirmation(self) -> bool:
        """The last attempt waits for the customer to confirm it with their bank."""
        if self.action_required_at is None:
            return False
        last = self.last_failed_at
        return last is None or self.action_required_at + SAME_ATTEMPT >= last


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """How the subscription behind an invoice stands."""

    status: str
    """Stripe's word: `active`, `past_due`, `unpaid`, `canceled`, …"""
    end_reason: str | None = None
    """Stripe's `cancellation_details.reason`: `payment_failed`, `cancellation_requested`, `payment_disputed`, …"""
    ended_at: dt.datetime | None = None
    """When it ended; None: it has not, or the moment isn't known."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in ("canceled", "incomplete_expired")

    @property
    def ended_unpaid(self) -> bool:
        """Whether Stripe itself ended it because the payments failed to the last."""
        return self.ended and self.end_reason == "payment_failed"

    @property
    def given_up(self) -> bool:
        """Whether Stripe's tries were used up and it ended, or stopped serving, for that reason alone."""
        return self.status == "unpaid" or self.ended_unpaid


class Stop(StrEnum):
    """Why an open invoice is collected no more, although it failed."""

    SUBSCRIPTION_ENDED = "subscription_ended"
    """Somebody ended the subscription, or a dispute did: who left is not charged by surprise."""
    TURNED_OFF = "turned_off"
    """Stripe or the business switched automatic collection off for it."""


def collection_stopped(invoice: Invoice, subscription: SubscriptionState | None) -> Stop | None:
    """Why Stripe or the business stopped collecting this invoice; None while nobody has.

    Cancelling a subscription turns automatic collection off on its open invoices (Stripe, "Cancel subscriptions"). What
    Stripe collects in spite of that was made after the end, for what was used until then, or somebody turned its
    collection on again by hand: that goes on. When Stripe itself ended it because the payments failed, the customer still owes, and a new card pays: that is no stop.
    A paused collection concerns new invoices only (Stripe, "Pause payment collection").
    """
    if subscription is not None and subscription.given_up:
        return None
    if subscription is not None and subscription.ended:
        return None if _collected_since(invoice, subscription) else Stop.SUBSCRIPTION_ENDED
    if invoice.was_advancing and invoice.auto_advance is False:
        return Stop.TURNED_OFF
    return None


def _collected_since(invoice: Invoice, ended: SubscriptionState) -> bool:
    """Whether Stripe goes on collecting it by its newest word, which is from well after the end of the subscription."""
    told_at = invoice.auto_advance_as_of
    if invoice.auto_advance is not True or told_at is None or ended.ended_at is None:
        return False
    return told_at - ended.ended_at > STOPPED_WITHIN


def at_checkout(
    invoice: Invoice,
    failed_at: dt.datetime | None,
    subscription: SubscriptionState | None = None,
) -> bool:
    """Whether the failure happened before the eyes of whoever is subscribing: they need no email and no notice.

    Told by the payment's own timing: `billing_reason` says only that it was a first payment. Where the event does not
    say when the invoice was made (events of an earlier release), a first payment counts as one at checkout. While the subscription
    waits for it, so does one that fails hours later: Stripe leaves the tries to the customer, who is back at checkout.
    """
    if invoice.billing_reason != "subscription_create":
        return False
    if invoice.finalized_at is None or failed_at is None:
        return True
    waits = subscription is not None and subscription.status == UNBEGUN
    return failed_at - invoice.finalized_at < (UNBEGUN_FOR if waits else AT_CHECKOUT_FOR)


def may_be_at_checkout(invoice: Invoice, now: dt.datetime) -> bool:
    """The same of a payment that was found unpaid, when nobody knows when it failed: as long as Stripe may be waiting for it."""
    return invoice.billing_reason == "subscription_create" and (
        invoice.finalized_at is None or now - invoice.finalized_at < UNBEGUN_FOR
    )


def payment_under_way(invoice: Invoice) -> bool:
    """Whether a payment of all that is due which takes days (a bank debit) has begun and not come back: nobody is asked for what is on
    its way. Of an invoice that is paid in parts, the rest is asked for.

    Stripe tells of the end by `invoice.paid` or `invoice.payment_failed`. Within one second the failure was of the try before:
    no bank answers as soon as that, while our own retry follows a failure at once.
    """
    since, last, amount = invoice.under_way_since, invoice.last_failed_at, invoice.under_way_amount
    covered = amount is None or amount >= invoice.amount_remaining
    return since is not None and (last is None or since >= last) and covered


def is_autopay_debt(invoice: Invoice) -> bool:
    """Whether something is due of it, by automatic collection. Whether that failed, or goes on, is another question."""
    return (
        invoice.status == InvoiceStatus.OPEN
        and invoice.amount_remaining > 0
        and invoice.collection_method == "charge_automatically"
    )


def owed(invoice: Invoice, subscription: SubscriptionState | None = None) -> bool:
    """Whether the customer is asked for it: an autopay charge that failed, still open, with something due, that nobody
    stopped collecting."""
    return (
        is_autopay_debt(invoice)
        and invoice.first_failed_at is not None
        and not at_checkout(invoice, invoice.last_failed_at, subscription)
        and collection_stopped(invoice, subscription) is None
    )


class MethodChange(StrEnum):
    """How a new payment method came about."""

    CHOSEN = "chosen"
    """A person made it the default."""
    RENEWED = "renewed"
    """The bank renewed the card behind the same id; nobody decided anything."""


def may_collect(
    invoice: Invoice,
    subscription: SubscriptionState | None,
    change: MethodChange,
    *,
    attempted: bool,
) -> bool:
    """Whether a new payment method may be charged for this invoice now, by us.

    Never what Stripe or the business stopped collecting, and nothing at checkout: whoever subscribes pays there, or begins
    anew with another card, which must not pay for the first try as well. What Stripe itself gave up after its last try is
    paid by a default that a person chose, and never by a card that was merely renewed.
    """
    if not (attempted and is_autopay_debt(invoice)):
        return False
    if at_checkout(invoice, invoice.last_failed_at, subscription):
        return False
    if collection_stopped(invoice, subscription) is not None:
        return False
    given_up = subscription is not None and subscription.given_up
    return change is MethodChange.CHOSEN or not given_up


class Retry(StrEnum):
    """Whether Stripe will charge the invoice again by itself, as far as it says."""

    SCHEDULED = "scheduled"
    """At a date that it has named and not withdrawn."""
    WAITS_FOR_METHOD = "waits_for_method"
    """Not before there is a new payment method, though dates go on."""
    OVER = "over"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """Whether and when the invoice is charged again without anybody's doing."""

    retry: Retry
    at: dt.datetime | None = None
    """Only with `SCHEDULED`."""


NAMES_A_DATE_WITHIN: Final = dt.timedelta(minutes=15)
"""How long Stripe gets to name the date of its next try before the schedule counts as over."""

SILENT_FOR: Final = dt.timedelta(days=7)
"""After a failure without a date for so long, there is no next try (docs/adr/0020-what-we-assume-of-stripe.md)."""


def retry_plan(
    invoice: Invoice,
    subscription: SubscriptionState | None,
    *,
    needs_new_method: bool,
    now: dt.datetime,
    silent_for: dt.timedelta = dt.timedelta(0),
) -> RetryPlan:
    """Will Stripe charge it again by itself? A date is promised only when a charge will really happen.

    `needs_new_method`: the last decline is one after which Stripe charges nothing until there is a new payment method,
    though `next_payment_attempt` goes on (Stripe, "Automate payment retries").

    `silent_for`: how long ago it failed, where Stripe would have been heard if it had named a date since. A missing date
    alone says nothing. But once a try has been repeated there is a schedule, and an invoice that has no date
    `NAMES_A_DATE_WITHIN` the last failure has no place in it any more. Where none was repeated, `SILENT_FOR` says the same.
    """
    if invoice.status != InvoiceStatus.OPEN or invoice.amount_remaining <= 0:
        return RetryPlan(Retry.OVER)
    stopped = collection_stopped(invoice, subscription) is not None
    if stopped or (subscription is not None and subscription.given_up):
        return RetryPlan(Retry.OVER)
    if needs_new_method:
        return RetryPlan(Retry.WAITS_FOR_METHOD)
    date = invoice.next_payment_attempt
    if date is not None and date > now:
        return RetryPlan(Retry.SCHEDULED, date)
    patience = NAMES_A_DATE_WITHIN if invoice.attempt_count > 1 else SILENT_FOR
    if date is None and silent_for >= patience:
        return RetryPlan(Retry.OVER)
    return RetryPlan(Retry.UNKNOWN)


class Ending(StrEnum):
    """How the tries to collect an invoice came to their end, with something still unpaid."""

    SUBSCRIPTION_FAILED = "subscription_failed"
    """Stripe ended the subscription because the payments failed."""
    SUBSCRIPTION_UNPAID = "subscription_unpaid"
    """It goes on as `unpaid`: later invoices are made, and not tried."""
    SUBSCRIPTION_ENDED = "subscription_ended"
    """Somebody ended it, or a dispute did."""
    TURNED_OFF = "turned_off"
    """Automatic collection was switched off for the invoice."""
    NO_MORE_TRIES = "no_more_tries"
    """Nothing was switched off or ended, and no date was named for `SILENT_FOR`: the subscription stays `past_due`."""


def ending(
    invoice: Invoice,
    subscription: SubscriptionState | None,
    *,
    now: dt.datetime,
    waited: dt.timedelta,
) -> Ending | None:
    """How collecting a failed invoice ended; None while it goes on, or where nothing is unpaid.

    Final is an invoice without a date of a next try whose subscription is over or unpaid, or whose automatic collection
    was switched off; a missing date alone is not, before it has been missing for long: `waited` since the last failure.
    A bad debt is the business's own decision, and no end of ours, unless the subscription was given up with it: then
    Stripe may have marked it, as the account is set (docs/adr/0022-an-uncollectible-invoice-is-left-alone.md).
    """
    given_up = subscription is not None and subscription.given_up
    unpaid = invoice.status == InvoiceStatus.OPEN or (
        invoice.status == InvoiceStatus.UNCOLLECTIBLE and given_up
    )
    failed = invoice.first_failed_at is not None and not at_checkout(
        invoice, invoice.last_failed_at, subscription
    )
    if not (unpaid and failed and invoice.amount_remaining > 0):
        return None
    if invoice.collection_method == SENT:
        return None
    date = invoice.next_payment_attempt
    if date is not None and date > now:
        return None
    if subscription is not None and given_up:
        return Ending.SUBSCRIPTION_FAILED if subscription.ended else Ending.SUBSCRIPTION_UNPAID
    stop = collection_stopped(invoice, subscription)
    if stop is not None:
        return Ending.SUBSCRIPTION_ENDED if stop is Stop.SUBSCRIPTION_ENDED else Ending.TURNED_OFF
    return Ending.NO_MORE_TRIES if waited >= SILENT_FOR else None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a closed invoice came to its end, in minor units."""

    paid: int
    """Money that came in."""
    forgiven: int
    """What a credit note took off before it was paid."""

    @property
    def is_waived(self) -> bool:
        """Nothing was paid: the business let it go."""
        return self.paid <= 0


class Amounts(Protocol):
    """An invoice in whatever shape, as far as money has come in for it."""

    @property
    def status(self) -> str: ...
    @property
    def amount_due(self) -> int: ...
    @property
    def amount_paid(self) -> int: ...
    @property
    def amount_credited(self) -> int: ...


def settlement(invoice: Amounts) -> Settlement:
    """What was paid and what was forgiven: two things.

    A credit note lowers what an open invoice asks for (Stripe, "Create a credit note"); where that comes to nothing, Stripe calls the
    invoice `paid` without any money. What a paid one still asked for came in, though Stripe may leave out of its amount what was paid
    outside Stripe.
    """
    paid = invoice.amount_paid
    if invoice.status == InvoiceStatus.PAID:
        paid = max(paid, invoice.amount_due)
    return Settlement(paid, invoice.amount_credited)
