"""Endpoints of hosts: made, changed, tried and replayed; and the events that they hear of."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from services.notifier.domain.hook_addresses import BadUrl, read_url
from services.notifier.domain.hook_events import as_told, test_event
from services.notifier.domain.hook_signing import BOTH_FOR, Signer
from services.notifier.domain.hooks import DeliveryStatus, DisabledBecause
from services.notifier.models import HookEndpoint
from services.notifier.queries import hook_deliveries, hook_endpoints, hook_events, host_requests
from shared.contracts.rpc import hooks as contract
from shared.contracts.rpc.errors import InvalidArgument, NotFound
from shared.events import Event

MOST_ENDPOINTS: Final = 20
"""Of one business, and of the installation itself."""
OLDEST_REPLAY: Final = dt.timedelta(days=30)
"""What is older is forgotten (`services/notifier/retention.py`)."""


@dataclass(frozen=True)
class HookRules:
    """What this installation takes for an endpoint."""

    signer: Signer
    loopback: bool = False
    """Whether this machine may be one: in `make run`."""

    def check(self, url: str) -> None:
        """Raises InvalidArgument."""
        try:
            read_url(url, loopback=self.loopback)
        except BadUrl as error:
            raise InvalidArgument(f"url: {error}") from None

    def need_keys(self) -> Signer:
        """What signs. Raises InvalidArgument while webhooks are off."""
        if not self.signer.is_on:
            raise InvalidArgument("webhooks to hosts are off: set HOOK_KEYS at the notifier")
        return self.signer


def view(row: HookEndpoint) -> contract.WebhookEndpoint:
    """An endpoint, for its host."""
    return contract.WebhookEndpoint.of(row)


def find(
    session: Session,
    endpoint_id: str,
    business_id: str | None,
    *,
    lock: bool = False,
    field: str = "endpoint_id",
) -> HookEndpoint:
    """Raises NotFound, of another business's too."""
    row = hook_endpoints.by_id(session, endpoint_id, business_id, lock=lock)
    if row is None:
        raise NotFound(f"{field}: no such webhook endpoint")
    return row


def create(
    session: Session,
    rules: HookRules,
    *,
    url: str,
    business_id: str | None,
    event_types: Sequence[str],
    now: dt.datetime,
    request_id: str | None = None,
    repeated: bool = False,
) -> contract.WebhookSecret:
    """A new endpoint with its secret; for a request that comes again, the one that it made. `repeated`: that it made one is certain. Raises
    InvalidArgument, and NotFound where that one was deleted since."""
    signer = rules.need_keys()
    known = _begin(session, "create_webhook_endpoint", request_id, now)
    if known is not None or repeated:
        made = hook_endpoints.by_id(session, known, business_id) if known else None
        if made is None:
            raise NotFound("url: this request made an endpoint, which was deleted since")
        secret = signer.secret(made.endpoint_id, made.generation)
        return contract.WebhookSecret(secret=secret, about=view(made))
    rules.check(url)
    if hook_endpoints.count_of(session, business_id) >= MOST_ENDPOINTS:
        raise InvalidArgument(f"url: there are {MOST_ENDPOINTS} endpoints already; delete one")
    row = HookEndpoint(
        endpoint_id="whe_" + secrets.token_urlsafe(16),
        business_id=business_id,
        url=url,
        event_types=sorted(set(event_types)),
        enabled=True,
        generation=1,
        failures=0,
        created_at=now,
    )
    session.add(row)
    session.flush()
    _finish(session, request_id, row.endpoint_id)
    return contract.WebhookSecret(secret=signer.secret(row.endpoint_id, 1), about=view(row))


def _begin(session: Session, method: str, request_id: str | None, now: dt.datetime) -> str | None:
    """What came of a request that is repeated; None: it is done now."""
    return host_requests.begin(session, method, request_id, now) if request_id else None


def _finish(session: Session, request_id: str | None, outcome: str) -> None:
    if request_id:
        host_requests.finish(session, request_id, outcome)


def listed(
    session: Session, business_id: str | None, limit: int, starting_after: str | None
) -> list[contract.WebhookEndpoint]:
    """Endpoints in the order in which they were made. Raises NotFound."""
    after = None
    if starting_after:
        after = find(session, starting_after, business_id, field="starting_after")
    return [view(row) for row in hook_endpoints.page(session, business_id, limit, after)]


def change(
    session: Session,
    rules: HookRules,
    row: HookEndpoint,
    *,
    url: str | None,
    event_types: Sequence[str] | None,
    enabled: bool | None,
    now: dt.datetime,
) -> contract.WebhookEndpoint:
    """Change what is given. Raises InvalidArgument."""
    if url is not None:
        rules.check(url)
        row.url = url
    if event_types is not None:
        row.event_types = sorted(set(event_types))
    if url is not None or enabled:
        row.failures, row.failing_since, row.paused_until = 0, None, None
    if enabled and not row.enabled:
        row.enabled, row.disabled_because, row.disabled_at = True, None, None
    elif enabled is False and row.enabled:
        row.enabled, row.disabled_because, row.disabled_at = False, DisabledBecause.BY_HAND, now
    session.flush()
    return view(row)


def rotate(
    session: Session,
    rules: HookRules,
    row: HookEndpoint,
    now: dt.datetime,
    request_id: str | None = None,
    *,
    repeated: bool = False,
) -> contract.WebhookSecret:
    """Give an endpoint a new secret; those before sign too for a day. A request that comes again within it changes nothing. `repeated`:
    that it did is certain. Raises InvalidArgument."""
    signer = rules.need_keys()
    lately = row.rotated_at is not None and now - row.rotated_at < BOTH_FOR
    if not (request_id and lately and row.rotated_by == request_id):
        if repeated:
            raise InvalidArgument(
                "endpoint_id: its secret was rotated once more since this request: the one that it made is replaced"
            )
        row.generation += 1
        row.rotated_at, row.rotated_by = now, request_id
        session.flush()
    secret = signer.secret(row.endpoint_id, row.generation)
    return contract.WebhookSecret(secret=secret, about=view(row))


def test(
    session: Session,
    rules: HookRules,
    row: HookEndpoint,
    now: dt.datetime,
    request_id: str | None,
) -> contract.SentWebhooks:
    """Send an endpoint an event that says nothing; for a request that comes again no other one. Raises InvalidArgument."""
    rules.need_keys()
    event_id = _begin(session, "test_webhook_endpoint", request_id, now)
    if event_id is None:
        _need_enabled(row)
        event = test_event(row.endpoint_id, row.business_id, secrets.token_urlsafe(12), now)
        event_id = event.hook_event_id
        hook_events.record(session, [(event, "")], now, due=None)
        hook_events.deliver(session, [(row.endpoint_id, event_id)], now, now)
        _finish(session, request_id, event_id)
    return contract.SentWebhooks(endpoint_id=row.endpoint_id, count=1, event_id=event_id)


def replay(
    session: Session,
    row: HookEndpoint,
    *,
    event_id: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    failed_only: bool,
    now: dt.datetime,
    request_id: str | None = None,
) -> contract.SentWebhooks:
    """Send one event again, or all that were received in a range; for a request that comes again nothing. Raises InvalidArgument,
    NotFound."""
    known = _begin(session, "replay_webhooks", request_id, now)
    if known is not None:
        return contract.SentWebhooks(endpoint_id=row.endpoint_id, count=int(known), event_id=event_id)  # fmt: skip
    _need_enabled(row)
    if (event_id is None) == (since is None):
        raise InvalidArgument("since: expected a time, or event_id, and not both")
    if since is not None and (since > now or now - since > OLDEST_REPLAY):
        raise InvalidArgument(
            f"since: expected a past time, at most {OLDEST_REPLAY.days} days ago: what is older is forgotten"
        )
    if since is not None and until is not None and until <= since:
        raise InvalidArgument("until: expected a time after since")
    count = hook_events.replay(
        session,
        row,
        now,
        since=since,
        until=until,
        hook_event_id=event_id,
        failed_only=failed_only,
    )
    if event_id is not None and not count:
        raise NotFound("event_id: no such event for this endpoint, or it is on its way")
    _finish(session, request_id, str(count))
    return contract.SentWebhooks(endpoint_id=row.endpoint_id, count=count, event_id=event_id)


def _need_enabled(row: HookEndpoint) -> None:
    if not row.enabled:
        raise InvalidArgument("endpoint_id: this endpoint is switched off; enable it first")


def attempts(
    session: Session, endpoint_id: str, limit: int, before: int | None, event_id: str | None
) -> list[contract.WebhookAttempt]:
    """What was tried, newest first."""
    rows = hook_deliveries.attempts(session, endpoint_id, limit, before, event_id)
    return [
        contract.WebhookAttempt.of(
            row,
            event_id=row.hook_event_id,
            type=type_,
            delivery_status=delivery_status,
            next_try_at=due_at if delivery_status == DeliveryStatus.PENDING else None,
        )
        for row, type_, delivery_status, due_at in rows
    ]


def record_events(session: Session, batch: Sequence[Event], now: dt.datetime) -> int:
    """Write down what of these events hosts hear; how many."""
    told = [(as_told(event), event.traceparent) for event in batch]
    some = [(one, traceparent) for one, traceparent in told if one is not None]
    hook_events.record(session, some, now, due=now)
    return len(some)
