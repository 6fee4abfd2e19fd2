"""Billing over RPC: sessions at Stripe, and what only billing knows. Answers are parsed here, at the edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from services.portal.adapters.failures import FAILURES, reason
from services.portal.ports import (
    NOT_SERVED,
    AccountSeen,
    BillingUnavailable,
    DeclineSeen,
    PlannedEnd,
    PriceSeen,
)
from shared.contracts.accounts import (
    Account,
    StripeCustomer,
    StripeId,
    account_argument,
    by_account,
    merchant_arguments,
)
from shared.contracts.invoices import LONGEST_PURPOSE
from shared.contracts.payments import Decline
from shared.contracts.prices import Lasts, NextInvoice, Terms, pricing_of
from shared.contracts.rpc import billing
from shared.contracts.rpc.base import Method, UnreadableAnswer
from shared.contracts.rpc.billing import InvoiceDecline, SourcedInvoiceState, SubscriptionPrice
from shared.contracts.rpc.errors import (
    InvoiceClosed,
    RemoteFault,
    UnknownInvoice,
    UnknownSubscription,
)

Shape = TypeVar("Shape")
NOT_STRIPES: Final = "UnexpectedOrigin"
"""The reason where an answer is no address of Stripe's."""


class RpcBillingPages:
    """`BillingPages` over billing's RPC. Leads only to `origins`, whatever the answer says."""

    def __init__(self, billing: Any, origins: Sequence[str]) -> None:
        self._billing = billing
        self._origins = frozenset(origins)

    def open(
        self,
        stripe_customer: StripeCustomer,
        *,
        return_url: str,
        flow: str | None,
        locale: str | None,
        business_id: str,
    ) -> str:
        """See `BillingPages.open`."""
        try:
            session = billing.CREATE_PORTAL_SESSION.call(
                self._billing,
                stripe_customer_id=stripe_customer.id,
                **merchant_arguments(stripe_customer.account, stripe_customer.on_behalf_of),
                return_url=return_url,
                flow=flow,
                locale=locale,
                business_id=business_id,
            )
        except FAILURES as error:
            raise BillingUnavailable(reason(error)) from error
        except UnreadableAnswer as error:
            raise BillingUnavailable(NOT_STRIPES) from error
        return self._checked(session.url)

    def invoice(self, invoice_id: str, stripe_customer: StripeCustomer) -> str | None:
        """See `BillingPages.invoice`."""
        try:
            page = billing.HOSTED_INVOICE_URL.call(
                self._billing,
                invoice_id=invoice_id,
                stripe_customer_id=stripe_customer.id,
                **merchant_arguments(stripe_customer.account, stripe_customer.on_behalf_of),
            )
        except FAILURES as error:
            if isinstance(error, RemoteFault) and error.means(InvoiceClosed, UnknownInvoice):
                return None
            raise BillingUnavailable(reason(error)) from error
        except UnreadableAnswer as error:
            raise BillingUnavailable(NOT_STRIPES) from error
        return self._checked(page.url)

    def _checked(self, address: str) -> str:
        if _origin(address) not in self._origins:
            # Neither an open redirect nor a page that the browser's form-action would block silently.
            raise BillingUnavailable(NOT_STRIPES)
        return address


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


class RpcBilling:
    """`Billing` over billing's RPC. Answers are parsed here, at the edge."""

    def __init__(self, billing: Any) -> None:
        self._billing = billing

    def _ask(self, method: Method[Shape], **arguments: Any) -> Shape:
        try:
            return method.call(self._billing, **arguments)
        except (*FAILURES, UnreadableAnswer) as error:
            raise BillingUnavailable(reason(error)) from error

    def _ask_of(
        self, asked: Sequence[StripeId], method: Method[dict[str, Shape]], ids_are: str
    ) -> Iterator[tuple[StripeId, Shape | None]]:
        """What is told of each, in a call an account; None on an account that billing does nothing on, for which the others don't
        wait."""
        for account, ids in by_account(asked).items():
            try:
                told = self._ask(method, **{ids_are: ids}, **account_argument(account))
            except BillingUnavailable as error:
                if error.reason != NOT_SERVED or not account:
                    raise
                yield from ((StripeId(account, id), None) for id in ids)
            else:
                yield from ((StripeId(account, id), one) for id, one in told.items())

    def account(self, account: Account) -> AccountSeen:
        """See `Billing.account`."""
        told = self._ask(billing.STRIPE_ACCOUNT, account=account)
        return AccountSeen(
            served=told.served,
            disconnected=told.state == "disconnected",
            own_key=told.way == "own_key",
            livemode=None if told.state is None else told.livemode,
        )

    def declines(self, invoices: Sequence[StripeId]) -> dict[StripeId, DeclineSeen | None]:
        """See `Billing.declines`."""
        return {
            name: None if state is None else _seen(state)
            for name, state in self._ask_of(invoices, billing.INVOICE_STATES, "invoice_ids")
            if state is None or state.source == "stripe"
        }

    def prices(self, subscriptions: Sequence[StripeId]) -> dict[StripeId, PriceSeen | None]:
        """See `Billing.prices`."""
        return {
            name: None if told is None else _price_seen(told)
            for name, told in self._ask_of(
                subscriptions, billing.SUBSCRIPTION_PRICES, "subscription_ids"
            )
        }

    def customers_may_cancel(self, account: Account, business_id: str) -> bool:
        """See `Billing.customers_may_cancel`."""
        return self._ask(
            billing.CUSTOMERS_MAY, business_id=business_id, **account_argument(account)
        ).cancel

    def cancel_at_period_end(
        self, stripe_customer: StripeCustomer, subscription_id: str, idempotency_key: str
    ) -> PlannedEnd:
        """See `Billing.cancel_at_period_end`."""
        try:
            end = self._ask(
                billing.CANCEL_AT_PERIOD_END,
                stripe_customer_id=stripe_customer.id,
                **merchant_arguments(stripe_customer.account, stripe_customer.on_behalf_of),
                subscription_id=subscription_id,
                idempotency_key=idempotency_key,
            )
        except BillingUnavailable as error:
            if error.reason == UnknownSubscription.__name__:
                return PlannedEnd()
            raise
        return PlannedEnd(end.ends_at, end.dashboard_url)


def _price_seen(told: SubscriptionPrice) -> PriceSeen | None:
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


def _seen(state: SourcedInvoiceState) -> DeclineSeen:
    decline = state.decline or InvoiceDecline()
    return DeclineSeen(
        method=state.charged(),
        reason=Decline(decline.reason) if decline.reason in set(Decline) else None,
        needs_new_method=decline.needs_new_method,
        next_payment_attempt=state.next_payment_attempt,
        processing=state.processing,
        refused_at=state.own_try_refused_at,
        purpose=state.purpose[:LONGEST_PURPOSE] if state.purpose else None,
        purpose_more=state.purpose_more,
    )
