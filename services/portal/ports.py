"""What the portal needs from outside, by role."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Terms

NOT_SERVED: Final = "InvalidArgument"
"""The reason where billing does nothing on an account: its business has disconnected it, most likely."""


class _Away(Exception):
    """A call to another service failed. `reason` is one word for logs and metrics, never a URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BillingUnavailable(_Away):
    """No billing page can be opened now."""


class MailUnavailable(_Away):
    """The mail could not be asked for; nothing was sent."""


class ServiceAway(_Away):
    """Another service did not answer, or could not."""


class BillingPages(Protocol):
    """Opens Stripe's hosted page for a customer."""

    def open(
        self,
        stripe_customer: StripeCustomer,
        *,
        return_url: str,
        flow: str | None,
        locale: str | None,
        business_id: str,
    ) -> str:
        """The address of a page made for this click. It is a secret and dies within minutes: never keep or log it.

        `flow` is None or `payment_method_update`; `locale` is a BCP 47 tag; `business_id` picks what that
        business lets its customers do. Raises BillingUnavailable.
        """
        ...

    def invoice(self, invoice_id: str, stripe_customer: StripeCustomer) -> str | None:
        """The address of Stripe's page for one invoice of this customer, as secret as the other.

        None when there is nothing to pay any more. Raises BillingUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeclineSeen:
    """What Stripe tells of an invoice's last failure, and of the payment after it."""

    method: PaymentMethod | None = None
    """What failed, as far as it may be shown."""
    reason: Decline | None = None
    needs_new_method: bool = False
    """Stripe charges nothing more until there is a new payment method."""
    next_payment_attempt: dt.datetime | None = None
    """The date of the next try, where there is one."""
    processing: bool = False
    """A payment is under way, whose outcome takes days."""
    refused_at: dt.datetime | None = None
    """When billing's own try with a new payment method came to nothing, with no bank asked; None: it did not."""
    purpose: str | None = None
    """What the invoice is for, one line."""
    purpose_more: int = 0
    """How many other things it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen:
    """What Stripe tells of a subscription's price by the preview of its next invoice."""

    terms: Terms
    collection_paused: bool = False
    collection_resumes_at: dt.datetime | None = None
    trial_ends_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSeen:
    """How a Stripe account stands to billing."""

    served: bool
    """Whether anything is done on it."""
    disconnected: bool = False
    own_key: bool = False
    """It is worked on with a key of its own, and not as one that is connected."""
    livemode: bool | None = None
    """The mode in which it was connected; None: it never was."""


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """What came of planning a subscription's end."""

    ends_at: dt.datetime | None = None
    """When it ends, where that is known."""
    dashboard_url: str | None = None
    """Set where Stripe lets only the business plan it: where it does. Nothing was changed then."""


class Billing(Protocol):
    """What billing knows and does beyond opening pages. Every method may raise BillingUnavailable."""

    def account(self, account: Account) -> AccountSeen:
        """Whether a Stripe account can be worked on."""
        ...

    def declines(self, invoices: Sequence[StripeId]) -> dict[StripeId, DeclineSeen | None]:
        """What Stripe tells of each invoice's last failed payment, by the invoice; None: billing does nothing on its account.

        An invoice that is not in the answer was not looked at now: billing asks Stripe only so often.
        """
        ...

    def prices(self, subscriptions: Sequence[StripeId]) -> dict[StripeId, PriceSeen | None]:
        """What these subscriptions cost; None: there is no next invoice.

        One that is not in the answer was not looked at now: billing asks Stripe only so often.
        """
        ...

    def customers_may_cancel(self, account: Account, business_id: str) -> bool:
        """Whether Stripe's page lets this business's customers cancel by themselves."""
        ...

    def cancel_at_period_end(
        self, stripe_customer: StripeCustomer, subscription_id: str, idempotency_key: str
    ) -> PlannedEnd:
        """Let a subscription end with its current period, once for a key.

        One that is gone already is as good as ended.
        """
        ...


class Mail(Protocol):
    """Asks the notifier for mails. The notifier sends one a kind and request, however often it is asked."""

    def to_business(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """Write to the business of a customer. Raises MailUnavailable."""
        ...

    def to_customer(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """Write to a customer. Raises MailUnavailable."""
        ...
