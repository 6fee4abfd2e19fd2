"""What of billing's tables grows old."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import ColumnElement

from services.billing.models import (
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    PlatformRefusal,
    Recovery,
    RecoveryRun,
    SpentCode,
    StripeImportCustomer,
    StripeRead,
)
from shared.retention import Rule

YEARS_TURN: Final = dt.timedelta(days=366)
"""The time between two charges of a yearly subscription; Stripe's tries of the second are within what anything is kept for."""


def _outdated(before: dt.datetime) -> ColumnElement[bool]:
    """What is quarantined stays until somebody has closed it, and what was closed as long as the others from then on."""
    return (
        (InboxEvent.received_at < before)
        & (InboxEvent.status != "quarantined")
        & (InboxEvent.closed_at.is_(None) | (InboxEvent.closed_at < before))
    )


RULES: Final = (
    Rule(InboxEvent, _outdated),
    # Of before accounts were named: as long as there are such rows, the id alone is the key.
    Rule(
        InboxEvent,
        lambda before: _outdated(before) & InboxEvent.account.is_(None),
        key=(InboxEvent.id,),
    ),
    Rule(OutboxEvent, lambda before: OutboxEvent.published_at < before),
    Rule(PaymentMethodChange, lambda before: PaymentMethodChange.closed_at < before),
    Rule(PaymentMethodChangeEvent, lambda before: PaymentMethodChangeEvent.joined_at < before),
    Rule(PaymentTry, lambda before: PaymentTry.started_at < before),
    # A new card that waits for its turn may wait for a year; whose end nobody told us of does not wait for ever.
    Rule(
        PlatformRefusal,
        lambda before: (
            (PlatformRefusal.refused_at < before) & PlatformRefusal.payment_method_id.is_(None)
            | (PlatformRefusal.refused_at < before - YEARS_TURN)
        ),
    ),
    Rule(Recovery, lambda before: Recovery.at < before),
    Rule(RecoveryRun, lambda before: RecoveryRun.finished_at < before),
    Rule(SpentCode, lambda before: SpentCode.spent_at < before),
    Rule(StripeImportCustomer, lambda before: StripeImportCustomer.met_at < before),
    Rule(StripeRead, lambda before: StripeRead.day < before.date()),
)
