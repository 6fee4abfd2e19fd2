"""Webhooks as the inbox takes them, one at a time."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from services.billing.handlers.inbox import Outcome, Received, store_webhooks


def store_webhook(session: Session, received: Received, now: dt.datetime) -> Outcome:
    """A batch of one; what became of it."""
    return store_webhooks(session, [received], now)[0]
