"""What of billing's tables grows old."""

from __future__ import annotations

from typing import Final

from services.billing.models import InboxEvent, OutboxEvent, Recovery, RecoveryRun
from shared.retention import Rule

RULES: Final = (
    # What is quarantined stays until somebody has looked at it.
    Rule(
        InboxEvent,
        lambda before: (InboxEvent.received_at < before) & (InboxEvent.status != "quarantined"),
    ),
    Rule(OutboxEvent, lambda before: OutboxEvent.published_at < before),
    Rule(Recovery, lambda before: Recovery.at < before),
    Rule(RecoveryRun, lambda before: RecoveryRun.finished_at < before),
)
