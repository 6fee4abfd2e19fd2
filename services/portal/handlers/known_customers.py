"""Changing a customer who is there: what nearly every upsert is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType
from sqlalchemy.orm import Session

from services.portal.queries import customers as people
from shared.contracts.rpc.portal import UpsertedCustomer


def change(
    session: Session,
    business_id: str,
    external_id: str,
    stripe_id: str | UnsetType | None,
    values: Mapping[str, Any],
    now: dt.datetime,
) -> UpsertedCustomer | None:
    """Change a customer of whom the host gives no new word on whose they are, in two short statements, and in one where nothing differs.
    None: it is another case, and nothing was written.

    Nothing is locked when it is looked at. So what is given is written whole: it is all there, or all that somebody else gives at the
    same moment.
    """
    found = people.before_upsert(session, business_id, external_id)
    if found is None or (stripe_id is not UNSET and stripe_id != found.host_word):
        return None
    if any(getattr(found, name) != value for name, value in values.items()) and not (
        people.change_customer(session, found.id, {**values, "updated_at": now})
    ):
        return None
    return UpsertedCustomer(
        account=found.account,
        customer_id=found.public_id,
        created=False,
        platform_stripe_customer_id=found.platform_stripe_customer_id,
    )
