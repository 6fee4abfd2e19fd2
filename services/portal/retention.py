"""What of the portal's tables grows old: the ids of events that were acted upon, events of its own that are published,
evidence that does not stand any more, requests and keys of the HTTP API and links to connect an account that are good for nothing, what hosts have
had time to hear; and what serves nobody any more of what Stripe tells of its customers. What an object said last is never forgotten: an older word of it may still come."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, or_

from services.portal.models import (
    ApiKeyRow,
    ConnectionRow,
    HostEventRow,
    IdempotentRequestRow,
    LinkEvidenceRow,
    OutboxEvent,
    ProcessedEventRow,
    StripeProfileRow,
)
from services.portal.queries import profiles
from services.portal.queries.host_events import place_of
from shared.contracts.host_api import REPEATED_WITHIN
from shared.retention import Rule

RULES: Final = (
    Rule(ProcessedEventRow, lambda before: ProcessedEventRow.processed_at < before),
    Rule(OutboxEvent, lambda before: OutboxEvent.published_at < before),
    Rule(LinkEvidenceRow, lambda before: LinkEvidenceRow.withdrawn_at < before),
    # By its place, which may be later than it: a host's cursor is one.
    Rule(
        HostEventRow,
        lambda before: or_(
            HostEventRow.position < place_of(before),
            and_(HostEventRow.position.is_(None), HostEventRow.noted_at < before),
        ),
    ),
    # A customer who had the address has another one now, or is gone.
    Rule(StripeProfileRow, lambda _: profiles.unneeded()),
    # What nobody repeats any more.
    Rule(
        IdempotentRequestRow,
        lambda before: IdempotentRequestRow.began_at < before,
        at_most=REPEATED_WITHIN,
    ),
    Rule(ConnectionRow, lambda before: ConnectionRow.expires_at < before),
    Rule(
        ApiKeyRow, lambda before: or_(ApiKeyRow.revoked_at < before, ApiKeyRow.expires_at < before)
    ),
)
