"""What of billing's tables grows old."""

from __future__ import annotations

from typing import Final

from services.billing.models import (
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    Recovery,
    RecoveryRun,
)
from shared.retention import Rule

RULES: Final = (
    # What is quarantined stays until somebody has closed it, and what was closed as long as the others from then on.
    Rule(
        InboxEvent,
        lambda before: (
            (InboxEvent.received_at < before)
            & (InboxEvent.status != "quarantined")
            & (InboxEvent.closed_at.is_(None) | (InboxEvent.closed_at < before))
        ),
    ),
    Rule(OutboxEvent, lambda before: OutboxEvent.published_at < before),
    Rule(PaymentMethodChange, lambda before: PaymentMethodChange.closed_at < before),
    Rule(PaymentMethodChangeEvent, lambda before: PaymentMethodChangeEvent.joined_at < before),
    Rule(PaymentTry, lambda before: PaymentTry.started_at < before),
    Rule(Recovery, lambda before: Recovery.at < before),
    Rule(RecoveryRun, lambda before: RecoveryRun.finished_at < before),
)
