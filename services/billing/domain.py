"""The rules of billing, pure: standard library only, no clock, no network.

Amounts are in the currency's minor unit, moments are aware datetimes in UTC.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit


class BillingError(Exception):
    """Something about Stripe that a caller has to know; the class name is what crosses the wire."""


class StripeUnavailable(BillingError):
    """Stripe does not answer, or not in time, or asks us to slow down. Trying again later may help."""


class StripeRefused(BillingError):
    """Stripe refused the request for good: our key, our arguments, or the object's state is wrong."""


class UnknownStripeCustomer(BillingError):
    """Stripe has no such customer in the mode of our key (or it was deleted)."""


class UnknownInvoice(BillingError):
    """Stripe has no such invoice in the mode of our key."""


class InvoiceClosed(BillingError):
    """The invoice is not open: paid, void or given up, so there is nothing to confirm or to pay."""


class UnknownSubscription(BillingError):
    """Stripe has no such subscription of this customer in the mode of our key."""


class PortalConfigurationMissing(BillingError):
    """The portal configuration that should be used does not exist in the mode of our key."""


class UnknownInboxEvent(BillingError):
    """No Stripe event of this id was ever stored."""


class ReconciliationRunning(BillingError):
    """Another reconciliation is under way; it will find the same."""


class InvalidRequest(BillingError):
    """An argument that no customer and no service of ours would send: `field: what is wrong with it`."""


# --- modes ---------------------------------------------------------------------------------------------------


def is_live_key(api_key: str) -> bool:
    """Whether a Stripe key (`sk_live_…`, `rk_test_…`) works on real money."""
    return api_key.split("_", 2)[1:2] == ["live"]


# --- declines ------------------------------------------------------------------------------------------------


class Decline(enum.StrEnum):
    """What a person can do something about; everything else is `declined`."""

    EXPIRED_CARD = "expired_card"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LOST_OR_STOLEN = "lost_or_stolen"
    AUTHENTICATION_REQUIRED = "authentication_required"
    INCORRECT_DETAILS = "incorrect_details"
    PROCESSING_ERROR = "processing_error"
    DECLINED = "declined"


_DECLINES: Final[dict[str, Decline]] = {
    "expired_card": Decline.EXPIRED_CARD,
    "insufficient_funds": Decline.INSUFFICIENT_FUNDS,
    "lost_card": Decline.LOST_OR_STOLEN,
    "stolen_card": Decline.LOST_OR_STOLEN,
    "authentication_required": Decline.AUTHENTICATION_REQUIRED,
    "authentication_not_handled": Decline.AUTHENTICATION_REQUIRED,
    "payment_intent_authentication_failure": Decline.AUTHENTICATION_REQUIRED,
    "invoice_payment_intent_requires_action": Decline.AUTHENTICATION_REQUIRED,
    "subscription_payment_intent_requires_action": Decline.AUTHENTICATION_REQUIRED,
    "incorrect_number": Decline.INCORRECT_DETAILS,
    "invalid_number": Decline.INCORRECT_DETAILS,
    "incorrect_cvc": Decline.INCORRECT_DETAILS,
    "invalid_cvc": Decline.INCORRECT_DETAILS,
    "incorrect_zip": Decline.INCORRECT_DETAILS,
    "incorrect_address": Decline.INCORRECT_DETAILS,
    "invalid_expiry_month": Decline.INCORRECT_DETAILS,
    "invalid_expiry_year": Decline.INCORRECT_DETAILS,
    "processing_error": Decline.PROCESSING_ERROR,
    "issuer_not_available": Decline.PROCESSING_ERROR,
    "try_again_later": Decline.PROCESSING_ERROR,
    "reenter_transaction": Decline.PROCESSING_ERROR,
}


def decline_reason(code: str | None, decline_code: str | None) -> Decline | None:
    """Why a charge failed, in our words; None when Stripe names no reason.

    `code` is Stripe's error code, `decline_code` the bank's reason where there is one
    (https://docs.stripe.com/declines/codes). The bank's reason says more, so it goes first. A code that we
    don't know is `declined`: never a guess.
    """
    for candidate in (decline_code, code):
        if candidate in _DECLINES:
            return _DECLINES[candidate]
    return Decline.DECLINED if code or decline_code else None


@dataclass(frozen=True)
class Card:
    """What may be shown of a card."""

    brand: str
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None


@dataclass(frozen=True)
class PaymentProblem:
    """The last error of an invoice's payment, as Stripe recorded it."""

    code: str | None = None
    decline_code: str | None = None
    needs_customer: bool = False
    """The bank waits for the customer to confirm (SCA)."""
    card: Card | None = None
    payment_method: str | None = None
    """The payment method that was tried, `pm_…`."""
    tried_at: dt.datetime | None = None
    """When, to the second; None when no charge was made."""

    @property
    def reason(self) -> Decline | None:
        return decline_reason(self.code, self.decline_code) or (
            Decline.AUTHENTICATION_REQUIRED if self.needs_customer else None
        )

    def answers(self, payment_method: str, since: dt.datetime) -> bool:
        """Whether this is what came of trying `payment_method` after `since`.

        Stripe's moments have a resolution of one second; within one second, here as on the customer's page, the
        failure counts as the earlier one.
        """
        tried_since = self.tried_at is not None and self.tried_at > since
        return self.payment_method == payment_method and tried_since


# --- what Stripe holds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Invoice:
    """A Stripe invoice, fresh from the API."""

    id: str
    stripe_customer_id: str
    status: str
    currency: str
    amount_remaining: int
    attempted: bool
    attempt_count: int
    collection_method: str
    number: str | None = None
    subscription_id: str | None = None
    next_payment_attempt: dt.datetime | None = None
    amount_due: int = 0
    amount_paid: int = 0
    billing_reason: str | None = None

    @property
    def collectable(self) -> bool:
        """An autopay invoice that was tried, failed, and is still owed: what a new card should pay now."""
        return (
            self.status == "open"
            and self.attempted
            and self.amount_remaining > 0
            and self.collection_method == "charge_automatically"
        )


@dataclass(frozen=True)
class HostedInvoice:
    """Stripe's hosted page of one invoice. The address opens it without a sign-in: it is a secret."""

    stripe_customer_id: str
    status: str
    url: str | None = field(repr=False)


@dataclass(frozen=True)
class Standing:
    """How a subscription stands. `end_reason` is Stripe's `cancellation_details.reason`: `payment_failed` when Stripe
    itself ended it after the last retry, `cancellation_requested` or `payment_disputed` otherwise."""

    status: str
    end_reason: str | None = None


@dataclass(frozen=True)
class InvoiceLook:
    """An invoice as it stands, and what a customer may be told with it: all of one moment."""

    invoice: Invoice
    problem: PaymentProblem | None = None
    """The last error of its payment, where there is one."""
    standing: Standing | None = None
    """Its subscription, where it is of one."""


@dataclass(frozen=True)
class Subscription:
    """A subscription as far as paying goes."""

    id: str
    stripe_customer_id: str
    status: str
    default_payment_method: str | None = None
    default_source: str | None = None
    ends_at: dt.datetime | None = None
    """When it will end, or has ended; None while no end is planned."""

    @property
    def over(self) -> bool:
        """Whether it has ended: nothing can be changed about it any more."""
        return self.status in ("canceled", "incomplete_expired")

    def has_another_default(self, payment_method: str) -> bool:
        """Whether its own default would be charged instead of `payment_method`.

        Stripe charges a subscription's own payment method or source before the customer's; without one of
        its own it follows the customer and needs no change.
        """
        if self.over:
            return False
        if self.default_payment_method is not None:
            return self.default_payment_method != payment_method
        return self.default_source is not None


@dataclass(frozen=True)
class Customer:
    """A Stripe customer as far as paying goes."""

    id: str
    default_payment_method: str | None = None


class PayOutcome(enum.StrEnum):
    """What became of one try to pay an invoice with a new card."""

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


@dataclass(frozen=True)
class Payment:
    """The outcome of one try, with the decline's reason or the refusal's code."""

    outcome: PayOutcome
    detail: str | None = None


def pay_key(invoice_id: str, payment_method: str, attempt_count: int) -> str:
    """The idempotency key of our own retry.

    Stripe replays the stored answer for a key, a decline included, so the key must contain the payment
    method: another card is another try. The attempt count makes a later attempt of the schedule a new
    occasion. The prefix `pay:` is how the webhook knows its own doing (`own_retry`).
    """
    return f"{OWN_RETRY_PREFIX}{invoice_id}:{payment_method}:{attempt_count}"


OWN_RETRY_PREFIX: Final = "pay:"

OWN_POINTING_PREFIX: Final = "point:"
"""Starts the idempotency key with which we point a subscription at a new card: the change that it makes is our
own echo, not a customer's wish."""

OWN_CANCELLING_PREFIX: Final = "cancel:"
"""Starts the idempotency key with which we plan a subscription's end after the business approved it."""


# --- the portal ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PortalPolicy:
    """What customers may do on Stripe's page beyond updating their card and reading their invoices.

    The default is conservative: no cancelling and no pausing without the contractor's approval.
    """

    cancel: bool = False
    pause: bool = False


@dataclass(frozen=True)
class PortalConfiguration:
    """A Billing Portal configuration (`bpc_…`) as Stripe holds it."""

    id: str
    livemode: bool
    active: bool
    key: str | None
    """Our name for it, in its metadata under `portico_key`."""
    may: tuple[tuple[str, bool], ...]
    """Every feature of Stripe's portal by its name in the API, and whether it is on."""
    login_page: bool = False

    def allows(self, feature: str) -> bool:
        return dict(self.may).get(feature, False)

    def describe(self) -> list[tuple[str, bool]]:
        """Each thing a customer might do on Stripe's page, in words, and whether they may."""
        return [
            ("update the saved payment method", self.allows("payment_method_update")),
            ("see invoices and receipts", self.allows("invoice_history")),
            ("cancel a subscription", self.allows("subscription_cancel")),
            ("pause a subscription", self.allows("subscription_pause")),
            ("change name, email or address", self.allows("customer_update")),
            ("switch plans", self.allows("subscription_update")),
            ("sign in at Stripe without a link of ours", self.login_page),
        ]

    def follows(self, policy: PortalPolicy) -> bool:
        """Whether customers may do exactly what the policy says."""
        wanted = {
            "payment_method_update": True,
            "invoice_history": True,
            "customer_update": False,
            "subscription_update": False,
            "subscription_cancel": policy.cancel,
            "subscription_pause": policy.pause,
        }
        return not self.login_page and all(
            self.allows(name) == value for name, value in wanted.items()
        )


FLOWS: Final = ("payment_method_update",)
"""Deep links into Stripe's page that we offer."""


def configuration_key(business_id: str | None) -> str:
    """Our name for a configuration: the one of a business, or the default."""
    return f"business:{business_id}" if business_id else "default"


# fmt: off
PORTAL_LOCALES: Final = frozenset((
    "bg", "cs", "da", "de", "el", "en", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ",
    "en-SG", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv",
    "th", "tr", "vi", "zh", "zh-HK", "zh-TW",
))
# fmt: on
"""The languages of Stripe's page (`params/billing_portal/_session_create_params.py` of stripe 16.1.0)."""

_BY_LOWER: Final = {name.lower(): name for name in PORTAL_LOCALES}


def portal_locale(locale: str | None) -> str:
    """The language of Stripe's page for a BCP 47 tag (`de-AT`, `pt_BR`): the closest one, else `auto`."""
    if not locale:
        return "auto"
    tag = locale.replace("_", "-").lower()
    language = tag.split("-", 1)[0]
    if language in ("no", "nn"):  # Stripe speaks Norwegian in Bokmål only
        return "nb"
    return _BY_LOWER.get(tag) or _BY_LOWER.get(language) or "auto"


def check_return_url(return_url: str, public_url: str) -> None:
    """Refuse a way back that does not lead to our own house: an open redirect otherwise.

    Raises InvalidRequest. Compared by its parts, since `https://me.example.com.evil.test` starts with
    `https://me.example.com` too.
    """
    try:
        url, ours = urlsplit(return_url), urlsplit(public_url)
        same_place = (url.scheme, url.hostname, url.port) == (ours.scheme, ours.hostname, ours.port)
    except ValueError:
        raise InvalidRequest("return_url: expected an absolute http(s) URL") from None
    if url.scheme not in ("http", "https") or not same_place or "@" in url.netloc:
        raise InvalidRequest("return_url: expected a URL under PUBLIC_URL")
    if not (url.path + "/").startswith(ours.path.rstrip("/") + "/"):
        raise InvalidRequest("return_url: expected a URL under PUBLIC_URL")
