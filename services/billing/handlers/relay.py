"""The outbox goes out: published with confirms, marked only when the broker has it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from services.billing import queries
from services.billing.models import OutboxEvent
from services.billing.ports import Publisher
from shared import events
from shared.messaging.amqp import BrokerUnavailable

BATCH: Final = 100
FIRST_PAUSE: Final = dt.timedelta(seconds=2)
LONGEST_PAUSE: Final = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Round:
    """What one round of the relay did."""

    published: int
    failed: int
    broker_down: bool

    @property
    def more(self) -> bool:
        """Whether another round at once makes sense: a full batch, and a broker that takes messages."""
        return not self.broker_down and self.published + self.failed >= BATCH


def relay(session: Session, publisher: Publisher, now: dt.datetime) -> Round:
    """Publish a batch of what is due, in order of arrival, inside the caller's transaction.

    The rows stay locked until the commit, so a second relay takes the next ones. A crash between the publish
    and the commit publishes a row again: consumers know an event by its id.
    """
    rows = queries.due_outbox(session, now, BATCH)
    batch: list[tuple[OutboxEvent, events.Event]] = []
    failed = 0
    for row in rows:
        try:
            batch.append((row, events.decode(row.body)))
        except events.EventError as error:  # written by a version that this one does not know
            _put_off(row, error, now)
            failed += 1
    published, broker_down = 0, False
    outcomes = publisher.publish_batch([event for _, event in batch])
    for (row, _), problem in zip(batch, outcomes, strict=True):
        if problem is None:
            row.published_at, row.last_error = now, None
            published += 1
        elif isinstance(problem, BrokerUnavailable):
            # Not the row's fault, so it is due again at once: an hour without a broker must not shuffle the order.
            row.attempts += 1
            row.last_error = _text(problem)
            broker_down = True
        else:
            _put_off(row, problem, now)
            failed += 1
    return Round(published, failed, broker_down)


def _put_off(row: OutboxEvent, error: Exception, now: dt.datetime) -> None:
    """Let others pass: this row alone can't be published now."""
    row.attempts += 1
    row.last_error = _text(error)
    pause = FIRST_PAUSE * 2 ** min(row.attempts - 1, 10)
    row.next_attempt_at = now + min(pause, LONGEST_PAUSE)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def backlog(session: Session, now: dt.datetime) -> tuple[int, float]:
    """How many events wait, and how many seconds the oldest of them has waited."""
    count, oldest = queries.outbox_backlog(session)
    return count, max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
