"""What Stripe holds, as far as paying goes, and how our own doing is known again."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Final

from services.billing.domain.declines import PaymentProblem
from shared.contracts import invoices as contracts
from shared.contracts.invoices import SubscriptionState
from shared.contracts.payments import (
    SAYS_NOTHING,
    ChargeDefaults,
    Decline,
    PaymentMethod,
    SavedMethod,
    charged_method,
)
from shared.contracts.prices import NextInvoice, Terms


def is_live_key(api_key: str) -> bool:
    """Whether a Stripe key (`sk_live_…`, `rk_test_…`) works on real money."""
    return api_key.split("_", 2)[1:2] == ["live"]


def is_api_key(text: str) -> bool:
    """Whether a text is a key of Stripe's API, where the signing secret of a webhook endpoint (`whsec_…`) is wanted."""
    return text.startswith(("sk_", "rk_", "pk_"))


AN_API_KEY: Final = "is a key of Stripe's API: a signing secret begins with whsec_; `portico stripe setup` makes the endpoint and its secret"


class Invoice(contracts.Invoice, frozen=True, kw_only=True, gc=False):
    """A Stripe invoice, fresh from the API."""

    id: str
    stripe_customer_id: str
    attempted: bool
    """Whether Stripe has tried to charge it at all."""
    defaults: ChargeDefaults = SAYS_NOTHING
    """What it is to be charged to, where it says so itself."""

    @property
    def collectable(self) -> bool:
        """An autopay invoice that was tried, failed, and is still owed: what a new card should pay now."""
        return self.attempted and contracts.is_autopay_debt(self)


@dataclass(frozen=True)
class HostedInvoice:
    """Stripe's hosted page of one invoice. The address opens it without a sign-in: it is a secret."""

    stripe_customer_id: str
    status: str
    url: str | None = field(repr=False)
    on_behalf_of: str = ""


@dataclass(frozen=True)
class NextMethod:
    """What Stripe charges next; without `saved` there is nothing to charge."""

    saved: SavedMethod | None = None
    shown: PaymentMethod | None = None
    """What of it may be shown."""


@dataclass(frozen=True)
class InvoiceLook:
    """An invoice as it stands, and what a customer may be told with it: all of one moment."""

    invoice: Invoice
    problem: PaymentProblem | None = None
    """The last error of its payment, where there is one."""
    processing: bool = False
    """All that is due is under way: a bank debit, whose outcome takes days."""
    subscription: SubscriptionState | None = None
    """Its subscription, where it is of one."""
    next_method: NextMethod | None = None
    """What Stripe charges for it next, as things stand; None: not known."""

    @property
    def needs_new_method(self) -> bool:
        """Whether Stripe charges nothing more until there is a new payment method: after a decline of the kind that nothing
        else ends, unless another method than that is charged by now; and where there is nothing to charge."""
        if self.next_method is not None and self.next_method.saved is None:
            return True
        if self.problem is None or not self.problem.needs_new_method:
            return False
        saved = self.next_method.saved if self.next_method else None
        return saved is None or saved.id == (self.problem.payment_method or saved.id)


@dataclass(frozen=True)
class PriceLook:
    """What a subscription costs, by the preview of its next invoice: all of one moment."""

    terms: Terms
    """As the subscription itself tells them."""
    next_invoice: NextInvoice
    collection_paused: bool | None = False
    """None: nothing is collected by itself, since its invoices are sent."""
    collection_resumes_at: dt.datetime | None = None
    trial_ends_at: dt.datetime | None = None


@dataclass(frozen=True)
class Subscription:
    """A subscription as far as paying goes."""

    id: str
    stripe_customer_id: str
    status: str
    defaults: ChargeDefaults = SAYS_NOTHING
    """What it is to be charged to, where it says so itself; without it follows the customer."""
    ends_at: dt.datetime | None = None
    """When it will end, or has ended; None while no end is planned."""
    end_reason: str | None = None
    """Stripe's word for why it ended."""
    on_behalf_of: str = ""
    """The connected account on whose behalf a platform charges it; empty: nobody's."""
    application: str | None = None
    """The app or platform that made it, `ca_…`; None: the account itself did."""
    description: str | None = None
    """What the business calls it, where it gave it a name."""

    @property
    def state(self) -> SubscriptionState:
        """How it stands, for the rules about its invoices."""
        ended_at = self.ends_at if self.over else None
        return SubscriptionState(self.status, self.end_reason, ended_at)

    @property
    def over(self) -> bool:
        """Whether it has ended: nothing can be changed about it any more."""
        return SubscriptionState(self.status).ended

    @property
    def own_default(self) -> str | None:
        """What it is charged to before the customer's own default."""
        return _id(charged_method(SAYS_NOTHING, self.defaults))

    def has_another_default(self, payment_method: str) -> bool:
        """Whether its own default would be charged instead of `payment_method`."""
        return not self.over and self.own_default not in (None, payment_method)


@dataclass(frozen=True)
class Customer:
    """A Stripe customer as far as paying goes."""

    id: str
    defaults: ChargeDefaults = SAYS_NOTHING

    @property
    def default(self) -> str | None:
        """What is charged where neither invoice nor subscription say otherwise."""
        return _id(charged_method(self.defaults))


def _id(method: SavedMethod | None) -> str | None:
    return method.id if method else None


class PayOutcome(enum.StrEnum):
    """What became of one try to pay an invoice with a new card."""

    UNKNOWN = "unknown"
    """Asked, and Stripe's answer is not known (yet)."""
    PAID = "paid"
    ALREADY_PAID = "already_paid"
    PROCESSING = "processing"
    """A bank debit that settles in days: not a failure."""
    DECLINED = "declined"
    AUTHENTICATION_REQUIRED = "authentication_required"
    """The customer must confirm on the hosted invoice; nothing more to do from here."""
    ALREADY_TRIED = "already_tried"
    """Stripe's own attempt charged this card after it was set, and failed: asking the bank again tells nothing new."""
    CLOSED = "closed"
    """Void, uncollectible or deleted by now: nothing is owed."""
    REFUSED = "refused"
    """Stripe would not try; `detail` says why."""
    NOT_ALLOWED = "not_allowed"
    """Stripe does not let a platform pay this invoice, since it did not make its subscription."""
    NOT_CHARGED = "not_charged"
    """The answer was lost, and Stripe shows no charge: as if it had never been asked."""
    CAPPED = "capped"
    """Not asked: this invoice was tried as often as banks and networks put up with."""
    OBSERVED = "observed"
    """Not asked, and never will be by this change: the business observes, so this is only what would have been charged."""


@dataclass(frozen=True)
class Payment:
    """The outcome of one try, with the decline's reason or the refusal's code."""

    outcome: PayOutcome
    detail: str | None = None


@dataclass(frozen=True)
class PaymentTrace:
    """What an invoice's payments show of the tries to pay it."""

    processing: bool = False
    """A bank debit is under way. The invoice stays `open` until it settles, days later."""
    debited: str | None = None
    """What that debit is made to, `pm_…`; None: not known."""
    paid_with: str | None = None
    """The payment method that paid, `pm_…`."""
    problem: PaymentProblem | None = None
    """The last error."""


def fate(
    invoice: Invoice, trace: PaymentTrace, payment_method: str, since: dt.datetime
) -> Payment | None:
    """What came of trying `payment_method` on the invoice after `since`, read off Stripe's objects; None while they show
    nothing of it.

    For a try whose answer was lost. Stripe's moments are whole seconds: an error of the second of `since` counts.
    """
    if invoice.status == "paid":
        ours = trace.paid_with == payment_method
        return Payment(PayOutcome.PAID if ours else PayOutcome.ALREADY_PAID)
    if invoice.status != "open":
        return Payment(PayOutcome.CLOSED, invoice.status)
    if trace.processing:
        return Payment(PayOutcome.PROCESSING)
    problem = trace.problem
    if problem is None or problem.payment_method != payment_method:
        return None
    if problem.needs_customer or problem.answers(payment_method, since - dt.timedelta(seconds=1)):
        return declined(problem.reason)
    return None


def declined(reason: Decline | None) -> Payment:
    """A charge that failed for this reason."""
    if reason in (Decline.AUTHENTICATION_REQUIRED, Decline.ACCOUNT_UNVERIFIED):
        return Payment(PayOutcome.AUTHENTICATION_REQUIRED, reason)
    return Payment(PayOutcome.DECLINED, reason)


OWN_RETRY_PREFIX: Final = "pay:"
"""Starts the idempotency key of our own retry: how the webhook knows our own doing (`own_retry`), in keys of earlier
releases too."""


def pay_key(invoice_id: str, payment_method: str, change_id: str, number: int = 1) -> str:
    """The idempotency key of our own retry.

    Stripe replays what it answered to a key for 24 hours, a decline and a server error included
    (https://docs.stripe.com/api/idempotent_requests). So the key names the card and the change that made it the default:
    however often Stripe's events about that change come, the bank is asked once, and the same card chosen again is asked
    again. `number` counts further keys within the change, after one that brought no charge about.
    """
    key = f"{OWN_RETRY_PREFIX}{invoice_id}:{payment_method}:{change_id}"
    return key if number == 1 else f"{key}:{number}"


OWN_POINTING_PREFIX: Final = "point:"
"""Starts the idempotency key with which we point a subscription at a new card: the change that it makes is our
own echo, not a customer's wish."""

OWN_CANCELLING_PREFIX: Final = "cancel:"
"""Starts the idempotency key with which we plan a subscription's end after the business approved it."""
