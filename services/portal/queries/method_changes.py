"""When payment methods were last replaced."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.models import MethodChangeRow
from shared.statements import changed, insert_new, table_of


def method_changes(
    session: Session, stripe_customer_ids: Collection[str]
) -> dict[str, dict[str, dt.datetime]]:
    """When the payment methods of these Stripe customers were last replaced: by customer, then by subscription or
    invoice (the empty one is the customer's own default)."""
    found: dict[str, dict[str, dt.datetime]] = defaultdict(dict)
    for row in session.execute(
        select(
            MethodChangeRow.stripe_customer_id,
            MethodChangeRow.subscription_id,
            MethodChangeRow.changed_at,
        ).where(MethodChangeRow.stripe_customer_id.in_(stripe_customer_ids))
    ):
        found[row.stripe_customer_id][row.subscription_id] = row.changed_at
    return found


def note_method_change(
    session: Session, stripe_customer_id: str, scope: str, changed_at: dt.datetime
) -> None:
    """Keep the latest time of a change; `scope` is a subscription, an invoice, or empty."""
    insert_new(
        session,
        table_of(MethodChangeRow),
        [
            {
                "stripe_customer_id": stripe_customer_id,
                "subscription_id": scope,
                "changed_at": changed_at,
            }
        ],
        conflict=["stripe_customer_id", "subscription_id"],
        returning="stripe_customer_id",
    )
    changed(
        session,
        update(MethodChangeRow)
        .where(
            MethodChangeRow.stripe_customer_id == stripe_customer_id,
            MethodChangeRow.subscription_id == scope,
            MethodChangeRow.changed_at < changed_at,
        )
        .values(changed_at=changed_at),
    )
