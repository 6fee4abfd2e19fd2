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
from shared.events import StripeCustomerSeen
from shared.retention import Rule

YEARS_TURN: Final = dt.timedelta(days=366)
"""The time between two charges of a yearly subscription; Stripe's tries of the second are within what anything is kept for."""

ADDRESSES: Final = dt.timedelta(days=7)
"""How long what was told of Stripe's customers can be published again for a portal that has lost it."""
CAUGHT_UP: Final = dt.timedelta(days=7)
"""How long the loop may have stood still."""


def _outdated(before: dt.datetime) -> ColumnElement[bool]:
    """What is quarantined stays until somebody has closed it, and what was closed as long as the others from then on."""
    return (
        (InboxEvent.received_at < before)
        & (InboxEvent.status != "quarantined")
        & (InboxEvent.closed_at.is_(None) | (InboxEvent.closed_at < before))
    )


def _addresses(before: dt.datetime) -> ColumnElement[bool]:
    """What was told of Stripe's customers, with name and address, whether or not anybody keeps those. Only what has come of age lately is
    looked for, since an outbox may be long; what was missed goes with the rest."""
    return (
        (OutboxEvent.published_at < before)
        & (OutboxEvent.published_at > before - CAUGHT_UP)
        & (OutboxEvent.type == StripeCustomerSeen.type)
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
    Rule(OutboxEvent, _addresses, at_most=ADDRESSES),
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
