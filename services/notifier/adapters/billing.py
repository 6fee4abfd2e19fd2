"""Billing over RPC: how an invoice stands. Answers are parsed here, at the edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from services.notifier.adapters.batched_fetch import aware
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.ports import InvoiceReport
from shared.contracts import rpc as contracts
from shared.contracts.accounts import StripeId, account_argument, account_shown, by_account
from shared.contracts.invoices import InvoiceStatus
from shared.contracts.payments import Decline
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.billing import InvoiceState, SourcedInvoiceState
from shared.contracts.rpc.errors import InvalidArgument, RemoteFault
from shared.nameko_ext.batching import Interrupted, Overloaded
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable
from shared.telemetry import get_logger

log = get_logger(__name__)

Billing = Any
"""The RPC proxy of billing, as a worker has it."""

MOST_INVOICES: Final = 100
"""How many invoices billing answers about in one call."""


def fetch_invoices(billing: Billing, invoices: list[StripeId]) -> list[SourcedInvoiceState | None]:
    """Billing's answers about invoices, many in one call; None for one that nobody knows. Like `fetch_contacts`."""
    answers: dict[StripeId, SourcedInvoiceState] = {}
    for account, ids in by_account(invoices).items():
        try:
            told = contracts.billing.INVOICE_STATES.call(
                billing, invoice_ids=ids, **account_argument(account)
            )
        except RemoteFault as fault:
            if account and fault.means(InvalidArgument):
                continue  # it is not served any more, which is no reason for others' to go without
            raise
        answers |= {StripeId(account, id): state for id, state in told.items()}
    return [answers.get(invoice) for invoice in invoices]


class BillingInvoices:
    """`Invoices` over RPC to billing; best effort, since the email must not depend on it. Those asked for at the same
    time share a call."""

    def __init__(self, billing: Billing, fetch: Callable[[StripeId], Any]) -> None:
        """`fetch` does `fetch_invoices` for one question, together with others."""
        self._billing = billing
        self._fetch = fetch

    def report(self, invoice: StripeId) -> InvoiceReport | None:
        """See `Invoices.report`."""
        try:
            wire = self._state(invoice)
            why = "nobody knows it"
        except (
            RemoteFault,
            RpcTimeout,
            RpcUnavailable,
            Overloaded,
            Interrupted,
            UnreadableAnswer,
        ) as error:
            wire = None
            why = error.error if isinstance(error, RemoteFault) else type(error).__name__
        if wire is None:
            log.warning(
                "invoice not looked up, writing without it",
                invoice_id=invoice.id,
                why=why,
                **account_shown(invoice.account),
            )
            return None
        now = InvoiceNow(
            status=enum_or_none(InvoiceStatus, wire.status),
            amount_remaining=wire.amount_remaining,
            next_payment_attempt=aware(wire.next_payment_attempt),
            number=wire.number,
            purpose=wire.purpose,
            purpose_more=wire.purpose_more,
            decline=enum_or_none(Decline, wire.decline.reason) if wire.decline else None,
            needs_new_method=wire.decline is not None and wire.decline.needs_new_method,
            auto_advance=wire.auto_advance,
            processing=wire.processing,
            charge_id=wire.charge_id,
            payment_method_id=wire.payment_method_id,
            subscription_status=wire.subscription_status,
            subscription_end_reason=wire.subscription_end_reason,
            subscription_ended_at=wire.subscription_ended_at,
            heard=isinstance(wire, SourcedInvoiceState) and wire.source == "webhooks",
        )
        return InvoiceReport(
            now=now,
            method=wire.charged(),
            dashboard_url=wire.dashboard_url,
            next_method=wire.next_charged(),
        )

    def _state(self, invoice: StripeId) -> InvoiceState | None:
        try:
            found: InvoiceState | None = self._fetch(invoice)
            return found
        except RemoteFault as fault:
            if fault.error != "MethodNotFound":
                raise
        # A billing of the version before this one, in the middle of an upgrade.
        return contracts.billing.INVOICE_STATE.call(
            self._billing, invoice_id=invoice.id, **account_argument(invoice.account)
        )


def enum_or_none(kind: Any, value: str | None) -> Any:
    """The enum's member; None for a value that this code does not know (yet)."""
    return kind(value) if value in set(kind) else None
