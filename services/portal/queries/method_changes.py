"""When payment methods were last replaced."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from functools import lru_cache

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.models import MethodChangeRow
from shared.contracts.accounts import Account, StripeId
from shared.statements import (
    Kept,
    among_named,
    changed,
    insert_new,
    is_object,
    named_objects,
    table_of,
)


def method_changes(
    session: Session, stripe_customers: Collection[StripeId]
) -> dict[StripeId, dict[str, dt.datetime]]:
    """When the payment methods of these Stripe customers were last replaced: by customer, then by subscription or
    invoice (the empty one is the customer's own default)."""
    found: dict[StripeId, dict[str, dt.datetime]] = defaultdict(dict)
    accounts, names = named_objects(stripe_customers)
    for row in _of(accounts).run(session, names):
        whose = StripeId(Account(row.account), row.stripe_customer_id)
        found[whose][row.subscription_id] = row.changed_at
    return found


@lru_cache
def _of(accounts: int) -> Kept:
    row = table_of(MethodChangeRow).c
    return Kept(
        select(row.account, row.stripe_customer_id, row.subscription_id, row.changed_at).where(
            among_named(row.account, row.stripe_customer_id, accounts)
        )
    )


def note_method_change(
    session: Session,
    stripe_customer: StripeId,
    scope: str,
    changed_at: dt.datetime,
    on_behalf_of: str = "",
) -> None:
    """Keep the latest time of a change; `scope` is a subscription, an invoice (then charged `on_behalf_of`), or empty."""
    insert_new(
        session,
        table_of(MethodChangeRow),
        [
            {
                "account": stripe_customer.account,
                "stripe_customer_id": stripe_customer.id,
                "subscription_id": scope,
                "on_behalf_of": on_behalf_of,
                "changed_at": changed_at,
            }
        ],
        returning="stripe_customer_id",
    )
    changed(
        session,
        update(MethodChangeRow)
        .where(
            is_object(MethodChangeRow.account, MethodChangeRow.stripe_customer_id, stripe_customer),
            MethodChangeRow.subscription_id == scope,
            MethodChangeRow.changed_at < changed_at,
        )
        .values(changed_at=changed_at, on_behalf_of=on_behalf_of),
    )
