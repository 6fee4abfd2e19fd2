"""What the portal learns from billing in the background, and what it has to ask about."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.models import BusinessRow, CustomerRow, InvoiceRow
from services.portal.queries.account_states import is_disconnected
from services.portal.queries.behalves import counts_for
from services.portal.queries.invoices import COLUMNS, read_invoices
from shared.contracts.accounts import Account, StripeId
from shared.contracts.payments import BANK_DEBITS
from shared.database import UtcDateTime
from shared.statements import changed, is_object


def invoices_to_ask_about(
    session: Session,
    now: dt.datetime,
    limit: int,
    *,
    failed_since: dt.datetime,
    tried_since: dt.datetime,
    changed_between: tuple[dt.datetime, dt.datetime],
) -> dict[StripeId, Invoice]:
    """Open invoices of our customers about which billing may know what the page doesn't: those whose last failure was not
    asked about yet, those with a newer payment method of which it isn't known whether a payment is under way, and those of
    bank accounts that Stripe may have tried again."""
    rows = session.execute(
        _asking(),
        {
            "now": now,
            "most": limit,
            "failed_since": failed_since,
            "tried_since": tried_since,
            "changed_from": changed_between[0],
            "changed_until": changed_between[1],
        },
    )
    return read_invoices(rows)


@cache
def _asking() -> Select[Any]:
    """Made once: it is asked after each batch of failures, and making it costs more than asking."""
    now, most = bindparam("now", type_=UtcDateTime()), bindparam("most", type_=Integer)
    changed_at = InvoiceRow.method_changed_at
    in_part = InvoiceRow.under_way_amount < InvoiceRow.amount_remaining
    # `Invoice.retrying_since`, as a condition.
    unanswered = or_(
        changed_at > InvoiceRow.last_failed_at,
        and_(changed_at == InvoiceRow.last_failed_at, ~InvoiceRow.last_failure_own),
    )
    unknown_failure = and_(
        InvoiceRow.last_failed_at > bindparam("failed_since"),
        or_(
            InvoiceRow.card_of_failure.is_(None),
            InvoiceRow.card_of_failure != InvoiceRow.last_failed_at,
        ),
    )
    new_method = and_(
        changed_at.between(bindparam("changed_from"), bindparam("changed_until")),
        unanswered,
        or_(InvoiceRow.under_way_since.is_(None), InvoiceRow.under_way_since < changed_at, in_part),
    )
    # `Invoice.tried_since_failure`, while no answer is known and no date lies ahead.
    tried_again = and_(
        or_(
            InvoiceRow.method_type.is_(None),
            InvoiceRow.method_type.in_(sorted(BANK_DEBITS)),
        ),
        InvoiceRow.as_of > InvoiceRow.last_failed_at,
        InvoiceRow.as_of > bindparam("tried_since"),
        or_(InvoiceRow.next_payment_attempt.is_(None), InvoiceRow.next_payment_attempt <= now),
        or_(changed_at.is_(None), changed_at < InvoiceRow.last_failed_at),
        or_(
            InvoiceRow.under_way_since.is_(None),
            InvoiceRow.under_way_since < InvoiceRow.last_failed_at,
            in_part,
        ),
    )
    # Each by a partial index of its own, newest first: asked for all three at once, PostgreSQL reads whatever is open.
    newest = [
        select(InvoiceRow.account, InvoiceRow.invoice_id)
        .join(
            CustomerRow,
            and_(
                CustomerRow.account == InvoiceRow.account,
                CustomerRow.platform_stripe_customer_id == InvoiceRow.stripe_customer_id,
                counts_for(InvoiceRow.account, InvoiceRow.on_behalf_of, CustomerRow.on_behalf_of),
            ),
        )
        .where(
            InvoiceRow.status == "open",
            or_(InvoiceRow.ask_again_at.is_(None), InvoiceRow.ask_again_at <= now),
            ~is_disconnected(InvoiceRow.account),
            which,
        )
        .order_by(InvoiceRow.last_failed_at.desc())
        .limit(most)
        .subquery()
        for which in (unknown_failure, new_method, tried_again)
    ]
    return (
        select(*COLUMNS)
        .where(
            tuple_(InvoiceRow.account, InvoiceRow.invoice_id).in_(
                union(*(select(one.c.account, one.c.invoice_id) for one in newest))
            )
        )
        .order_by(InvoiceRow.last_failed_at.desc())
        .limit(most)
    )


def note_learnt(session: Session, invoice: StripeId, values: dict[str, Any]) -> None:
    """Keep what billing told of an invoice."""
    changed(session, update(InvoiceRow).where(_is(invoice)).values(**values))


def _is(invoice: StripeId) -> ColumnElement[bool]:
    return is_object(InvoiceRow.account, InvoiceRow.invoice_id, invoice)


def note_date_learnt(
    session: Session,
    invoice: StripeId,
    date: dt.datetime,
    at: dt.datetime,
    *,
    known: tuple[int, dt.datetime | None],
) -> None:
    """Keep the date of an invoice's next try as it was read, said to be of `at`; unless an event has told of the schedule
    since it was `known` (attempt, and when it was last spoken of)."""
    attempt, as_of = known
    changed(
        session,
        update(InvoiceRow)
        .where(
            _is(invoice),
            InvoiceRow.attempt_count == attempt,
            InvoiceRow.schedule_as_of.is_not_distinct_from(as_of),
        )
        .values(next_payment_attempt=date, schedule_as_of=at, schedule_changed=True),
    )


def businesses_to_check(
    session: Session, before: dt.datetime, limit: int
) -> list[tuple[Account, str]]:
    """Businesses (each with its Stripe account) about which billing was last asked before a moment, or never."""
    checked = BusinessRow.may_cancel_checked_at
    found = session.execute(
        select(BusinessRow.account, BusinessRow.business_id)
        .where(or_(checked.is_(None), checked < before))
        .order_by(checked.is_not(None), checked, BusinessRow.id)
        .limit(limit)
    )
    return [(Account(account), business_id) for account, business_id in found]


def note_rights(
    session: Session, business_id: str, may_cancel: bool | None, now: dt.datetime
) -> None:
    """Keep what a business's customers may do on Stripe's page."""
    changed(
        session,
        update(BusinessRow)
        .where(BusinessRow.business_id == business_id)
        .values(may_cancel=may_cancel, may_cancel_checked_at=now),
    )
