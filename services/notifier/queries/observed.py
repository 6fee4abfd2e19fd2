"""Notifications that were observed instead of sent."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import DUNNING
from services.notifier.domain.notification_rules import Failure
from services.notifier.domain.vocabulary import Status
from services.notifier.models import Notification
from services.notifier.queries.notifications import failure_of
from shared.contracts.accounts import Account, StripeId
from shared.statements import among_objects

_OBSERVED = Notification.status == Status.OBSERVED.value


def failures(
    session: Session, invoices: Collection[StripeId], besides: Collection[str]
) -> dict[StripeId, list[Failure]]:
    """The failures of these invoices of which their customers would have been told, had their business been live: by invoice, without
    the notifications `besides`."""
    if not invoices:
        return {}
    rows = session.scalars(
        select(Notification).where(
            among_objects(Notification.account, Notification.invoice_id, invoices),
            Notification.kind.in_([kind.value for kind in DUNNING]),
            _OBSERVED,
            Notification.notification_id.not_in(besides),
        )
    )
    observed: dict[StripeId, list[Failure]] = defaultdict(list)
    for row in rows:
        if row.invoice is not None:
            observed[row.invoice].append(failure_of(row))
    return observed


def page(
    session: Session,
    *,
    business_id: str | None,
    since: dt.datetime | None,
    after: Notification | None,
    limit: int,
) -> list[Notification]:
    """Up to `limit` observed notifications of a business, in the order in which they would have gone out; of None those of all, business
    by business, and last those of which the portal named none."""
    in_time = (Notification.finished_at, Notification.notification_id)
    found = select(Notification).where(_OBSERVED).limit(limit)
    if since is not None:
        found = found.where(Notification.finished_at >= since)
    of_none = found.where(Notification.business_id.is_(None)).order_by(*in_time)
    found = found.order_by(Notification.business_id.nulls_last(), *in_time)
    if business_id is not None:
        found = found.where(Notification.business_id == business_id)
    if after is None:
        return list(session.scalars(found))
    last = (after.finished_at, after.notification_id)
    if after.business_id is None:
        return list(session.scalars(of_none.where(tuple_(*in_time) > last)))
    rows = list(
        session.scalars(
            found.where(tuple_(Notification.business_id, *in_time) > (after.business_id, *last))
        )
    )
    if business_id is None and len(rows) < limit:  # nothing is after NULL
        rows += session.scalars(of_none.limit(limit - len(rows)))
    return rows


def invoices_of(session: Session, notification_ids: Collection[str]) -> set[StripeId]:
    """The invoices that these notifications are about."""
    rows = session.execute(
        select(Notification.account, Notification.invoice_id).where(
            Notification.notification_id.in_(notification_ids), Notification.invoice_id.is_not(None)
        )
    )
    return {StripeId(Account(account), invoice_id) for account, invoice_id in rows}


def accepted_waiting(session: Session, invoices: Collection[StripeId]) -> list[str]:
    """The notifications about failures of these invoices that a person has accepted, and that no sender holds or has begun."""
    return list(
        session.scalars(
            select(Notification.notification_id).where(
                among_objects(Notification.account, Notification.invoice_id, invoices),
                Notification.kind.in_([kind.value for kind in DUNNING]),
                Notification.status == Status.PENDING.value,
                Notification.accepted_at.is_not(None),
                Notification.unconfirmed_since.is_(None),
            )
        )
    )


def businesses_of(session: Session, notification_ids: list[str]) -> dict[str, str | None]:
    """The business of each observed one of these notifications, by notification; None of one that is not observed."""
    rows = session.execute(
        select(Notification.notification_id, Notification.status, Notification.business_id).where(
            Notification.notification_id.in_(notification_ids)
        )
    )
    return {
        notification_id: business_id if status == Status.OBSERVED else None
        for notification_id, status, business_id in rows
    }
