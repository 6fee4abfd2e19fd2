"""What of the notifier's tables grows old. Who must not be written to (bounced addresses, deleted customers), and who was
welcomed and is not to be again, never does."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain.vocabulary import ACTIVE
from services.notifier.models import (
    HookAttempt,
    HookDelivery,
    HookEvent,
    IncidentRow,
    Notification,
    OutboxEvent,
    ProcessedEvent,
    SendGridEvent,
    WelcomeRun,
)
from shared.retention import Rule

HOOKS: Final = dt.timedelta(days=30)
"""How long webhooks can be looked at and replayed."""
_ACTIVE: Final = [status.value for status in ACTIVE]

RULES: Final = (
    Rule(
        Notification,
        lambda before: (Notification.created_at < before) & Notification.status.not_in(_ACTIVE),
    ),
    # An open invoice's story is not over.
    Rule(IncidentRow, lambda before: IncidentRow.closed_at < before),
    Rule(ProcessedEvent, lambda before: ProcessedEvent.processed_at < before),
    Rule(SendGridEvent, lambda before: SendGridEvent.received_at < before),
    Rule(OutboxEvent, lambda before: OutboxEvent.published_at < before),
    Rule(WelcomeRun, lambda before: WelcomeRun.finished_at < before),
    Rule(HookAttempt, lambda before: HookAttempt.at < before, at_most=HOOKS),
    Rule(HookDelivery, lambda before: HookDelivery.created_at < before, at_most=HOOKS),
    Rule(HookEvent, lambda before: HookEvent.received_at < before, at_most=HOOKS),
)
