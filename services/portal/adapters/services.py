"""The real billing pages and the real mailer: RPC calls to billing and notifier."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from services.portal.ports import BillingUnavailable, DeclineSeen, MailUnavailable, PriceSeen
from shared.contracts.invoices import LONGEST_PURPOSE
from shared.contracts.payments import Decline, PaymentMethod, told_method
from shared.contracts.prices import Lasts, NextInvoice, Terms, pricing_of
from shared.nameko_ext.rpc import RemoteFault, RpcTimeout, RpcUnavailable

Shape = TypeVar("Shape")


def _reason(error: Exception) -> str:
    return error.error if isinstance(error, RemoteFault) else type(error).__name__


class RpcBillingPages:
    """`BillingPages` over billing's RPC. Leads only to `origins`, whatever the answer says."""

    def __init__(self, billing: Any, origins: Sequence[str]) -> None:
        self._billing = billing
        self._origins = frozenset(origins)

    def open(
        self,
        stripe_customer_id: str,
        *,
        return_url: str,
        flow: str | None,
        locale: str | None,
        business_id: str,
    ) -> str:
        """See `BillingPages.open`."""
        try:
            answer = self._billing.create_portal_session(
                stripe_customer_id=stripe_customer_id,
                return_url=return_url,
                flow=flow,
                locale=locale,
                business_id=business_id,
            )
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise BillingUnavailable(_reason(error)) from error
        return self._checked(answer)

    def invoice(self, invoice_id: str, stripe_customer_id: str) -> str | None:
        """See `BillingPages.invoice`."""
        try:
            answer = self._billing.hosted_invoice_url(
                invoice_id=invoice_id, stripe_customer_id=stripe_customer_id
            )
        except RemoteFault as error:
            if error.error in ("InvoiceClosed", "UnknownInvoice"):
                return None
            raise BillingUnavailable(error.error) from error
        except (RpcTimeout, RpcUnavailable) as error:
            raise BillingUnavailable(_reason(error)) from error
        return self._checked(answer)

    def _checked(self, answer: Any) -> str:
        address = answer.get("url") if isinstance(answer, dict) else None
        if not isinstance(address, str) or _origin(address) not in self._origins:
            # Neither an open redirect nor a page that the browser's form-action would block silently.
            raise BillingUnavailable("UnexpectedOrigin")
        return address


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


class RpcFreshLinkMailer:
    """Has the notifier mail a customer their current link, to the address on file."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def send_fresh_link(self, customer_id: str) -> None:
        """Ask for the mail. Raises MailUnavailable."""
        try:
            self._notifier.send_fresh_link(customer_id=customer_id)
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise MailUnavailable(_reason(error)) from error


class _WireDecline(msgspec.Struct):
    reason: str | None = None
    needs_new_method: bool = False


class _WireInvoice(msgspec.Struct):
    source: str
    decline: _WireDecline | None = None
    method: PaymentMethod | None = None
    card: PaymentMethod | None = None
    """From a billing of the release before, which names cards alone."""
    processing: bool = False
    next_payment_attempt: dt.datetime | None = None
    purpose: str | None = None
    purpose_more: int = 0


class _WireNext(msgspec.Struct):
    amount: int
    recurring: int | None = None
    discount: str | None = None
    until: dt.datetime | None = None


class _WirePrice(msgspec.Struct):
    upcoming: bool
    pricing: str | None = None
    amount: int | None = None
    currency: str | None = None
    interval: str | None = None
    interval_count: int = 1
    discounted: bool | None = None
    collection_paused: bool = False
    collection_resumes_at: dt.datetime | None = None
    trial_ends_at: dt.datetime | None = None
    next_invoice: _WireNext | None = None


class _WireRights(msgspec.Struct):
    cancel: bool


class _WireEnd(msgspec.Struct):
    ends_at: dt.datetime | None = None


class RpcBilling:
    """`Billing` over billing's RPC. Answers are parsed here, at the edge."""

    def __init__(self, billing: Any) -> None:
        self._billing = billing

    def _ask(self, method: str, shape: type[Shape], **arguments: Any) -> Shape:
        try:
            return msgspec.convert(getattr(self._billing, method)(**arguments), shape)
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise BillingUnavailable(_reason(error)) from error
        except msgspec.ValidationError as error:
            raise BillingUnavailable("UnreadableAnswer") from error

    def declines(self, invoice_ids: Sequence[str]) -> dict[str, DeclineSeen]:
        """See `Billing.declines`."""
        states = self._ask("invoice_states", dict[str, _WireInvoice], invoice_ids=list(invoice_ids))
        return {id: _seen(state) for id, state in states.items() if state.source == "stripe"}

    def prices(self, subscription_ids: Sequence[str]) -> dict[str, PriceSeen | None]:
        """See `Billing.prices`."""
        told = self._ask(
            "subscription_prices", dict[str, _WirePrice], subscription_ids=list(subscription_ids)
        )
        return {id: _price_seen(one) for id, one in told.items()}

    def customers_may_cancel(self, business_id: str) -> bool:
        """See `Billing.customers_may_cancel`."""
        return self._ask("customers_may", _WireRights, business_id=business_id).cancel

    def cancel_at_period_end(
        self, stripe_customer_id: str, subscription_id: str, idempotency_key: str
    ) -> dt.datetime | None:
        """See `Billing.cancel_at_period_end`."""
        try:
            return self._ask(
                "cancel_at_period_end",
                _WireEnd,
                stripe_customer_id=stripe_customer_id,
                subscription_id=subscription_id,
                idempotency_key=idempotency_key,
            ).ends_at
        except BillingUnavailable as error:
            if error.reason == "UnknownSubscription":
                return None
            raise


def _price_seen(told: _WirePrice) -> PriceSeen | None:
    coming = told.next_invoice
    if not told.upcoming or coming is None:
        return None
    discount = coming.discount
    if discount is not None and discount not in set(Lasts):
        discount = Lasts.MIXED
    return PriceSeen(
        terms=Terms(
            pricing=pricing_of(told.pricing),
            amount=told.amount,
            currency=told.currency,
            interval=told.interval,
            interval_count=told.interval_count,
            discounted=told.discounted,
            next_invoice=NextInvoice(
                amount=coming.amount,
                recurring=coming.recurring,
                discount=Lasts(discount) if discount else None,
                until=coming.until,
            ),
        ),
        collection_paused=told.collection_paused,
        collection_resumes_at=told.collection_resumes_at,
        trial_ends_at=told.trial_ends_at,
    )


def _seen(state: _WireInvoice) -> DeclineSeen:
    decline = state.decline or _WireDecline()
    return DeclineSeen(
        method=told_method(state.method, state.card),
        reason=Decline(decline.reason) if decline.reason in set(Decline) else None,
        needs_new_method=decline.needs_new_method,
        next_payment_attempt=state.next_payment_attempt,
        processing=state.processing,
        purpose=state.purpose[:LONGEST_PURPOSE] if state.purpose else None,
        purpose_more=state.purpose_more,
    )


class RpcMail:
    """`Mail` over the notifier's RPC."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def _ask(self, method: str, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        try:
            getattr(self._notifier, method)(kind=kind, customer_id=customer_id, context=context)
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise MailUnavailable(_reason(error)) from error

    def to_business(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """See `Mail.to_business`."""
        self._ask("send_business_mail", kind, customer_id, context)

    def to_customer(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """See `Mail.to_customer`."""
        self._ask("send_customer_mail", kind, customer_id, context)
