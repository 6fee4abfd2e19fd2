"""Tries to pay with a new card, and the hour's limit of them. The caller commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import and_, bindparam, literal, or_, select, tuple_, update
from sqlalchemy.orm import Session

from services.billing.domain.changes import A_MONTH, ONCE_IN, Change, Try
from services.billing.domain.paying import Invoice, Payment, PayOutcome, pay_key
from services.billing.models import PaymentMethodChange, PaymentTry, Recovery, RecoveryRun
from shared.contracts.accounts import Account, StripeId
from shared.contracts.rpc.billing import RecoveryAttempt
from shared.statements import Kept, insert_new, is_among, is_object, table_of

_TABLE: Final = table_of(PaymentTry)
_TRIES: Final = Kept(
    select(_TABLE.c.invoice_id, _TABLE.c.outcome, _TABLE.c.at)
    .where(
        _TABLE.c.account == bindparam("account"),
        is_among(_TABLE.c.invoice_id, "invoice_ids"),
    )
    .order_by(_TABLE.c.started_at, _TABLE.c.number)
)
NOT_ASKED: Final = frozenset(
    {PayOutcome.ALREADY_TRIED, PayOutcome.REFUSED, PayOutcome.NOT_ALLOWED, PayOutcome.CAPPED}
)
"""After these nothing is under way, and nobody tries again with this card."""


def recent_runs(
    session: Session, customer: StripeId, payment_method: str, now: dt.datetime
) -> dict[str, dt.datetime]:
    """When a bank was last asked about this card, within the last hour, by scope."""
    found = session.execute(
        select(RecoveryRun.scope, RecoveryRun.finished_at).where(
            is_object(RecoveryRun.account, RecoveryRun.stripe_customer_id, customer),
            RecoveryRun.payment_method_id == payment_method,
            RecoveryRun.finished_at > now - ONCE_IN,
        )
    )
    return {row.scope: row.finished_at for row in found}


def note_run(session: Session, change: Change, scope: str, now: dt.datetime) -> None:
    """Remember that a bank is asked about this card now. Replicas of the release before go by it, too."""
    row = {
        "account": change.account,
        "stripe_customer_id": change.stripe_customer_id,
        "payment_method_id": change.payment_method,
        "scope": scope,
        "finished_at": now,
    }
    if not insert_new(session, table_of(RecoveryRun), [row], returning="stripe_customer_id"):
        session.execute(
            update(RecoveryRun)
            .where(
                is_object(RecoveryRun.account, RecoveryRun.stripe_customer_id, change.customer),
                RecoveryRun.payment_method_id == change.payment_method,
                RecoveryRun.scope == scope,
            )
            .values(finished_at=now)
        )


def start_try(
    session: Session,
    change: Change,
    *,
    invoice_id: str,
    attempt: int,
    since: dt.datetime,
    payment: Payment,
    now: dt.datetime,
    would_charge: Invoice | None = None,
) -> Try:
    """Write down that an invoice is about to be paid with the change's card, or why it is not; with `would_charge`, which sum of it
    was observed."""
    tried = select(PaymentTry.number).where(
        is_object(PaymentTry.account, PaymentTry.change_id, change.name),
        PaymentTry.invoice_id == invoice_id,
    )
    row = PaymentTry(
        account=change.account,
        change_id=change.id,
        invoice_id=invoice_id,
        number=max(session.scalars(tried), default=0) + 1,
        stripe_customer_id=change.stripe_customer_id,
        payment_method_id=change.payment_method,
        attempt=attempt,
        since=since,
        started_at=now,
        sent_at=now,
        key_spent=False,
        outcome=payment.outcome.value,
        detail=payment.detail,
        at=now,
    )
    if would_charge is not None:
        row.amount, row.currency = would_charge.amount_remaining, would_charge.currency
        row.on_behalf_of = would_charge.on_behalf_of
    session.add(row)
    session.flush()
    parent = session.scalars(
        select(PaymentMethodChange).where(
            is_object(PaymentMethodChange.account, PaymentMethodChange.id, change.name)
        )
    ).one()
    parent.tried_at = parent.tried_at or now
    return _try(row)


def send_try(session: Session, known: Try, now: dt.datetime) -> None:
    """Its key is about to be sent, for the first time or again."""
    _row(session, known).sent_at = now


def spend_key(session: Session, known: Try) -> None:
    """Its key can't bring a charge about any more."""
    _row(session, known).key_spent = True


def end_try(session: Session, known: Try, payment: Payment, now: dt.datetime) -> None:
    """What came of it is known."""
    row = _row(session, known)
    row.outcome, row.detail, row.at = payment.outcome.value, payment.detail, now


def unknown_tries(session: Session, customer: StripeId) -> list[Try]:
    """The customer's tries, of whatever change, whose answer is not known."""
    rows = session.scalars(
        select(PaymentTry)
        .where(
            is_object(PaymentTry.account, PaymentTry.stripe_customer_id, customer),
            PaymentTry.outcome == PayOutcome.UNKNOWN.value,
        )
        .order_by(PaymentTry.started_at, PaymentTry.invoice_id)
    )
    return [_try(row) for row in rows]


def answered_invoices(session: Session, change: StripeId) -> set[str]:
    """The invoices about which this change has had its answer."""
    open_ended = (PayOutcome.UNKNOWN.value, PayOutcome.NOT_CHARGED.value)
    return set(
        session.scalars(
            select(PaymentTry.invoice_id).where(
                is_object(PaymentTry.account, PaymentTry.change_id, change),
                PaymentTry.outcome.not_in(open_ended),
            )
        )
    )


def refused_tries(
    session: Session, account: Account, invoice_ids: Collection[str]
) -> dict[str, dt.datetime]:
    """When the last try of each of these invoices ended with no bank asked; those of which that is not so are left out."""
    rows = _TRIES.run(session, {"account": account, "invoice_ids": list(invoice_ids)})
    last = {invoice_id: (outcome, at) for invoice_id, outcome, at in rows}
    return {invoice_id: at for invoice_id, (outcome, at) in last.items() if outcome in NOT_ASKED}


def times_tried(
    session: Session, invoice: StripeId, now: dt.datetime
) -> list[tuple[str, dt.datetime]]:
    """With which cards, and when, a bank may have been asked about the invoice by us, in the last month."""
    not_asked = (
        PayOutcome.ALREADY_TRIED.value,
        PayOutcome.CAPPED.value,
        PayOutcome.OBSERVED.value,
    )
    found = session.execute(
        select(PaymentTry.payment_method_id, PaymentTry.started_at).where(
            is_object(PaymentTry.account, PaymentTry.invoice_id, invoice),
            PaymentTry.outcome.not_in(not_asked),
            PaymentTry.started_at > now - A_MONTH,
        )
    )
    return [(card, at) for card, at in found]


def observed_tries(
    session: Session,
    since: dt.datetime,
    after: tuple[dt.datetime, str, str, str] | None,
    limit: int,
) -> Sequence[PaymentTry]:
    """What would have been charged since a moment, of all accounts, oldest first. `after` is moment, account, change and invoice of the
    last one that was seen."""
    names = (PaymentTry.account, PaymentTry.change_id, PaymentTry.invoice_id)
    statement = select(PaymentTry).where(
        PaymentTry.outcome == PayOutcome.OBSERVED.value, PaymentTry.at >= since
    )
    if after is not None:
        at, *last = after
        statement = statement.where(
            or_(
                PaymentTry.at > at,
                and_(PaymentTry.at == at, tuple_(*names) > tuple_(*map(literal, last))),
            )
        )
    return session.scalars(statement.order_by(PaymentTry.at, *names).limit(limit)).all()


def _row(session: Session, known: Try) -> PaymentTry:
    return session.scalars(
        select(PaymentTry).where(
            is_object(PaymentTry.account, PaymentTry.change_id, known.change),
            PaymentTry.invoice_id == known.invoice_id,
            PaymentTry.number == known.number,
        )
    ).one()


def _try(row: PaymentTry) -> Try:
    return Try(
        account=Account(row.account),
        key=pay_key(row.invoice_id, row.payment_method_id, row.change_id, row.number),
        change_id=row.change_id,
        invoice_id=row.invoice_id,
        payment_method=row.payment_method_id,
        number=row.number,
        since=row.since,
        started_at=row.started_at,
        sent_at=row.sent_at,
        key_spent=row.key_spent,
    )


def recoveries(
    session: Session,
    account: Account,
    *,
    stripe_customer_id: str | None,
    invoice_id: str | None,
    limit: int,
) -> list[RecoveryAttempt]:
    """Tries for people, newest first; of releases before changes were rows, `change_id` is None."""
    found: list[RecoveryAttempt] = []
    tables: tuple[type[Any], ...] = (PaymentTry, Recovery)
    for table in tables:
        statement = select(table).where(table.account == account).order_by(table.at.desc())
        if stripe_customer_id is not None:
            statement = statement.where(table.stripe_customer_id == stripe_customer_id)
        if invoice_id is not None:
            statement = statement.where(table.invoice_id == invoice_id)
        found += map(RecoveryAttempt.of, session.scalars(statement.limit(limit)))
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]
