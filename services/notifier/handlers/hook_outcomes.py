"""What a delivery to a host has come to: an attempt, with what follows for its endpoint, or none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from services.notifier import metrics
from services.notifier.domain.hooks import (
    FAILURES_IN_A_ROW,
    OBSERVED,
    OFF_AFTER,
    Answered,
    DeliveryStatus,
    DisabledBecause,
    next_try,
    pause,
)
from services.notifier.domain.keys import webhooks_stopped_key
from services.notifier.domain.kinds import Kind
from services.notifier.handlers.hooks import record_events
from services.notifier.models import HookEndpoint
from services.notifier.queries import hook_deliveries, hook_endpoints, notifications, outbox
from services.notifier.queries.hook_deliveries import HookLease
from services.notifier.queries.notifications import NewNotification
from shared.contracts.accounts import OWN
from shared.database import count_on_commit, on_commit
from shared.events import Event, WebhookEndpointDisabled
from shared.outbox import Outgoing
from shared.telemetry import get_logger

log = get_logger(__name__)


def record_attempt(
    session: Session,
    lease: HookLease,
    answer: Answered,
    now: dt.datetime,
    jitter: float,
) -> str:
    """Write down what an attempt has come to, with what follows for its delivery and its endpoint; in a word."""
    hook_deliveries.add_attempt(
        session,
        lease,
        now,
        status=answer.status,
        milliseconds=answer.milliseconds,
        error=answer.error,
    )
    row = hook_deliveries.lock_leased(session, lease)
    endpoint = None
    if not answer.delivered:
        endpoint = hook_endpoints.by_id(session, lease.endpoint_id, lock=True)
        if endpoint is not None and endpoint.url != lease.url:
            # It was given another address meanwhile: what the one before wants says nothing about that one.
            endpoint, answer = None, replace(answer, status=None, retry_after=None)
    outcome = "delivered" if answer.delivered else "failed"
    if row is not None:
        row.attempts += 1
        row.lease_token = None
        again = None if answer.gone else next_try(row.attempts, now, jitter, answer.retry_after)
        if answer.delivered:
            row.status, row.finished_at = DeliveryStatus.DELIVERED, now
        elif again is None:
            row.status, row.finished_at = DeliveryStatus.FAILED, now
            outcome = "gave_up"
        else:
            row.due_at = again
            outcome = "retried"
    if answer.delivered:
        hook_endpoints.note_success(session, lease.endpoint_id)
        return outcome
    if endpoint is not None:
        _note_failure(session, endpoint, answer, now, jitter)
    return outcome


def _note_failure(
    session: Session,
    endpoint: HookEndpoint,
    answer: Answered,
    now: dt.datetime,
    jitter: float,
) -> None:
    paused = pause(endpoint.failures + 1, now, jitter, answer.retry_after)
    if endpoint.failures < FAILURES_IN_A_ROW:
        # Others are under way at the same time: none of them shortens what the host has asked for.
        asked_for = (one for one in (endpoint.paused_until, paused) if one is not None)
        paused = max(asked_for, default=None)
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.paused_until = paused
    if not endpoint.enabled:
        return
    if answer.gone:
        _switch_off(session, endpoint, DisabledBecause.GONE, now)
    elif now - endpoint.failing_since >= OFF_AFTER:
        _switch_off(session, endpoint, DisabledBecause.FAILING, now)


def _switch_off(
    session: Session, endpoint: HookEndpoint, because: DisabledBecause, now: dt.datetime
) -> None:
    """An endpoint gets nothing more until somebody enables it; its business, and whoever listens elsewhere, hears of that."""
    endpoint.enabled, endpoint.disabled_because, endpoint.disabled_at = False, because, now
    event = Event(
        id=f"{endpoint.endpoint_id}/{int(now.timestamp())}/{WebhookEndpointDisabled.type}",
        occurred_at=now,
        correlation_id=endpoint.endpoint_id,
        data=WebhookEndpointDisabled(
            endpoint_id=endpoint.endpoint_id,
            business_id=endpoint.business_id,
            reason=because.value,
        ),
    )
    outbox.OUTBOX.add(session, [Outgoing(event, event.id)], now)
    host = urlsplit(endpoint.url).hostname
    if endpoint.business_id is not None:
        notifications.add_notification(
            session,
            NewNotification(
                account=OWN,
                dedupe_key=webhooks_stopped_key(endpoint.endpoint_id, now),
                kind=Kind.WEBHOOKS_STOPPED,
                now=now,
                correlation_id=endpoint.endpoint_id,
                context={
                    "business_id": endpoint.business_id,
                    "endpoint_id": endpoint.endpoint_id,
                    "endpoint_host": host,
                    "endpoint_gone": because is DisabledBecause.GONE,
                },
            ),
        )
    record_events(session, [event], now)
    on_commit(
        session,
        partial(
            log.error,
            "webhook endpoint switched off",
            endpoint_id=endpoint.endpoint_id,
            business_id=endpoint.business_id,
            host=host,
            why=because.value,
        ),
    )
    count_on_commit(session, metrics.HOOKS_SWITCHED_OFF.labels(because.value))


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
