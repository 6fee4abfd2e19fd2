"""One customer at a time: who works on whose card."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ColumnElement, delete, or_, update
from sqlalchemy.orm import Session

from services.billing.models import RecoveryLease
from shared.contracts.accounts import StripeId
from shared.statements import insert_new, is_object, table_of


def take_lease(
    session: Session, customer: StripeId, holder: str, now: dt.datetime, until: dt.datetime
) -> bool:
    """Take the customer for `holder`, or keep it; False while somebody else has it.

    The row stays locked until the caller commits: what is written with it is written by the holder alone.
    """
    table = table_of(RecoveryLease)
    row = {
        "account": customer.account,
        "stripe_customer_id": customer.id,
        "holder": holder,
        "until": until,
    }
    if insert_new(session, table, [row], returning="stripe_customer_id"):
        return True
    taken = session.execute(
        update(RecoveryLease)
        .where(
            _of(customer),
            or_(RecoveryLease.holder == holder, RecoveryLease.until <= now),
        )
        .values(holder=holder, until=until)
        .returning(RecoveryLease.holder)
    ).all()
    return bool(taken)


def release_lease(session: Session, customer: StripeId, holder: str) -> None:
    """Give the customer back, if it is still ours."""
    session.execute(delete(RecoveryLease).where(_of(customer), RecoveryLease.holder == holder))


def _of(customer: StripeId) -> ColumnElement[bool]:
    return is_object(RecoveryLease.account, RecoveryLease.stripe_customer_id, customer)
