"""Forgetting a customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from services.billing.models import (
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    PlatformRefusal,
    Recovery,
    RecoveryLease,
    RecoveryRun,
    StripeImportCustomer,
    inbox_account_is,
)
from shared.contracts.accounts import OWN, Account, StripeId
from shared.mentions import mentioned
from shared.outbox import said_of
from shared.statements import changed, is_object

ERASED: Final = "erased"
"""The `reason` of an event whose body was emptied for a customer who wanted to be forgotten."""


def erase_inbox(
    session: Session, account: Account, needles: Sequence[str], after: str, limit: int
) -> tuple[int, str | None]:
    """Empty the bodies of an account that name any of `needles`, among the next `limit` rows after the id `after`.

    The row and Stripe's id of the event stay, so that a repeated delivery is still known. Returns how many were
    emptied, and the id to go on after, None at the end. Bodies are searched as text: the customer may stand in
    an event of any type.
    """
    whose = _walked(session, account)
    ids = session.scalars(
        select(InboxEvent.id)
        .where(whose, InboxEvent.id > after)
        .order_by(InboxEvent.id)
        .limit(limit)
    ).all()
    if not ids:
        return 0, None
    named = or_(
        InboxEvent.stripe_customer_id.in_(needles),
        InboxEvent.object_id.in_(needles),
        *(mentioned(InboxEvent.payload, one) for one in needles),
    )
    emptied = changed(
        session,
        update(InboxEvent)
        .where(whose, InboxEvent.id > after, InboxEvent.id <= ids[-1], named)
        .values(
            payload="", reason=ERASED, closed_reason=None, object_id=None, stripe_customer_id=None
        )
        .execution_options(synchronize_session=False),
    )
    return emptied, ids[-1] if len(ids) == limit else None


def _walked(session: Session, account: Account) -> ColumnElement[bool]:
    """`inbox_account_is`, in one term once no row is without an account: only so is the primary key in the order of the walk."""
    nulls = select(InboxEvent.id).where(InboxEvent.account.is_(None)).limit(1)
    if account == OWN and session.scalar(nulls) is not None:
        return inbox_account_is(account)
    return InboxEvent.account == account


def erase_outbox(
    session: Session, account: Account, needles: Sequence[str], after: int, limit: int
) -> tuple[int, int | None]:
    """Delete what was said of an account about any of `needles`, among the next `limit` rows after `after`."""
    ids = session.scalars(
        select(OutboxEvent.id).where(OutboxEvent.id > after).order_by(OutboxEvent.id).limit(limit)
    ).all()
    if not ids:
        return 0, None
    gone = changed(
        session,
        delete(OutboxEvent)
        .where(
            OutboxEvent.id > after,
            OutboxEvent.id <= ids[-1],
            said_of(OutboxEvent.body, account),
            or_(
                *(mentioned(OutboxEvent.body, one) for one in needles),
                *(mentioned(OutboxEvent.dedupe_key, one) for one in needles),
            ),
        )
        .execution_options(synchronize_session=False),
    )
    return gone, ids[-1] if len(ids) == limit else None


def erase_recoveries(session: Session, customer: StripeId) -> int:
    """Forget the changes of this customer's cards, the tries to pay with them, and that an import met it."""
    changes = select(PaymentMethodChange.id).where(
        is_object(PaymentMethodChange.account, PaymentMethodChange.stripe_customer_id, customer)
    )
    told = delete(PaymentMethodChangeEvent).where(
        PaymentMethodChangeEvent.account == customer.account,
        PaymentMethodChangeEvent.change_id.in_(changes),
    )
    return changed(session, told.execution_options(synchronize_session=False)) + sum(
        changed(
            session,
            delete(table).where(is_object(table.account, table.stripe_customer_id, customer)),
        )
        for table in (
            PaymentMethodChange,
            PaymentTry,
            PlatformRefusal,
            Recovery,
            RecoveryRun,
            RecoveryLease,
            StripeImportCustomer,
        )
    )
