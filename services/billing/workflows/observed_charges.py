"""What would have been charged to new payment methods of customers whose business observes."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from services.billing.models import PaymentTry
from services.billing.queries import payment_tries
from services.billing.workflows.invoice_reports import invoices_heard
from shared.contracts.accounts import Account, StripeId, by_account
from shared.contracts.invoices import Invoice, settlement
from shared.contracts.rpc.billing import ObservedCharge, ObservedCharges
from shared.contracts.rpc.errors import InvalidArgument


def observed_charges(
    session: Session,
    since: dt.datetime,
    *,
    limit: int,
    starting_after: str | None,
    livemode: bool,
) -> ObservedCharges:
    """Up to `limit` since a moment, with what the stored webhooks tell of each invoice now. Raises InvalidArgument for a
    `starting_after` that was no answer's `next`."""
    after = None if starting_after is None else _read_position(starting_after)
    rows = payment_tries.observed_tries(session, since, after, limit + 1)
    shown = rows[:limit]
    names = by_account(StripeId(Account(row.account), row.invoice_id) for row in shown)
    heard = {
        StripeId(account, invoice_id): invoice
        for account, ids in names.items()
        for invoice_id, invoice in invoices_heard(session, account, ids, livemode=livemode).items()
    }
    return ObservedCharges(
        charges=[
            _charge(row, heard.get(StripeId(Account(row.account), row.invoice_id))) for row in shown
        ],
        next=_position(shown[-1]) if len(rows) > limit else None,
    )


def _charge(row: PaymentTry, invoice: Invoice | None) -> ObservedCharge:
    return ObservedCharge.of(
        row,
        on_behalf_of=row.on_behalf_of or "",
        amount=row.amount or 0,
        currency=row.currency or "",
        number=invoice.number if invoice else None,
        invoice_status=invoice.status if invoice else None,
        amount_paid=settlement(invoice).paid if invoice else None,
        amount_credited=invoice.amount_credited if invoice else None,
        amount_remaining=invoice.amount_remaining if invoice else None,
    )


def _position(row: PaymentTry) -> str:
    return "/".join((row.at.isoformat(), row.account, row.change_id, row.invoice_id))


def _read_position(text: str) -> tuple[dt.datetime, str, str, str]:
    try:
        moment, account, change_id, invoice_id = text.split("/")
        at = dt.datetime.fromisoformat(moment)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidArgument("starting_after: expected the `next` of an answer")
    return at, account, change_id, invoice_id
