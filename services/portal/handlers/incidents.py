"""What failed of a business's customers, as a host sees it."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.portal.handlers import existing
from services.portal.queries import customers as people
from services.portal.queries import incidents, invoices, subscriptions
from shared.contracts import host_api
from shared.contracts.accounts import Account, StripeId
from shared.contracts.invoices import settlement
from shared.contracts.rpc.errors import NotFound
from shared.contracts.rpc.notifier import Notification


def page(
    session: Session, asked: host_api.IncidentPageArguments, business_id: str
) -> tuple[Sequence[Any], bool]:
    """Rows of a page, newest first, and whether there are more. Raises NotFound for the business, and for `starting_after`."""
    owner = existing.business(session, business_id)
    after = None
    if asked.starting_after is not None:
        name = StripeId(Account(owner.account), asked.starting_after)
        last = incidents.of_invoice(session, owner.id, name)
        if last is None:
            raise NotFound("starting_after: no such incident")
        after = (last.InvoiceRow.first_failed_at, asked.starting_after)
    whose = None if asked.customer_id is None else people.customer(session, asked.customer_id)
    rows = incidents.of_business(
        session,
        owner.id,
        after=after,
        # An id that was merged into another one leads there, as everywhere.
        customer_id=asked.customer_id if whose is None else whose.public_id,
        open_=asked.open,
        limit=asked.limit + 1,
    )
    return rows[: asked.limit], len(rows) > asked.limit


def find(session: Session, business_id: str, invoice_id: str) -> Any:
    """The row of one incident of a business's. Raises NotFound, which doesn't say whether somebody else's it is."""
    owner = existing.business(session, business_id)
    row = incidents.of_invoice(session, owner.id, StripeId(Account(owner.account), invoice_id))
    if row is None:
        raise NotFound("invoice_id: no such incident")
    return row


def names_of(rows: Iterable[Any]) -> list[StripeId]:
    """Whole names of the invoices in these rows."""
    return [StripeId(Account(row.InvoiceRow.account), row.InvoiceRow.invoice_id) for row in rows]


def told(
    rows: Iterable[Any], emails: Iterable[Notification], now: dt.datetime
) -> list[host_api.Incident]:
    """Incidents with the emails about them, and with a date of the next try where the customer's page would promise one."""
    of: dict[tuple[str, str | None], list[host_api.IncidentEmail]] = defaultdict(list)
    for one in emails:
        of[one.account, one.invoice_id].append(_copied(host_api.IncidentEmail, one))
    return [
        _incident(row, of[row.InvoiceRow.account, row.InvoiceRow.invoice_id], now) for row in rows
    ]


def _incident(
    row: Any, emails: list[host_api.IncidentEmail], now: dt.datetime
) -> host_api.Incident:
    known = row.SubscriptionRow
    subscription = subscriptions.read_state(known) if known is not None else None
    invoice = invoices.read_invoice(row.InvoiceRow)
    told: host_api.Incident = _copied(
        host_api.Incident,
        row.InvoiceRow,
        business_id=row.business_id,
        customer_id=row.customer_id,
        external_id=row.external_id,
        amount_paid=settlement(invoice).paid,
        next_payment_attempt=invoice.retry_plan(subscription, now).at,
        emails=emails,
    )
    return told


def _copied(struct: Any, source: Any, **given: Any) -> Any:
    names = [name for name in struct.__struct_fields__ if name not in given]
    return struct(**{name: getattr(source, name) for name in names}, **given)
