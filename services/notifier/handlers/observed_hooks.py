"""Deliveries to hosts that end, or wait, without having been sent."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from services.notifier.domain.hooks import OBSERVED, DeliveryStatus
from services.notifier.queries import hook_deliveries, hook_endpoints
from services.notifier.queries.hook_deliveries import HookLease


def record_observed(session: Session, lease: HookLease, now: dt.datetime) -> None:
    """A delivery ends without having been sent. It is told among the attempts, and says nothing about the endpoint; which begins anew when
    its business is live: days without a try don't count as days of failing."""
    row = hook_deliveries.lock_leased(session, lease)
    if row is None:
        return
    row.status, row.finished_at, row.lease_token = DeliveryStatus.OBSERVED, now, None
    hook_deliveries.add_attempt(
        session, lease, now, status=None, milliseconds=0, error=OBSERVED.error
    )
    session.flush()
    hook_endpoints.forget_failures(session, lease.endpoint_id)


def put_off(session: Session, lease: HookLease, until: dt.datetime) -> None:
    """A delivery that can't be decided on now is due again; that is no attempt."""
    row = hook_deliveries.lock_leased(session, lease)
    if row is not None:
        row.due_at, row.lease_token = until, None
