"""The outbox: events written in the transaction of what they tell of, published afterwards, marked when the broker has them.

A service that publishes has a table with these columns (`OutboxColumns`), an `Outbox` over it and a loop that calls
`relay_round`. Several relays share the work: each locks the rows that it publishes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    Text,
    bindparam,
    func,
    not_,
    select,
    text,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, declared_attr, mapped_column

from shared import events
from shared.database import Transactions, brin_index, partial_index
from shared.messaging.amqp import BrokerUnavailable
from shared.postgresql import WITH_NEXT
from shared.prepared import prepared
from shared.statements import Kept, insert_new, is_among, table_of
from shared.telemetry import get_logger, redact

log = get_logger(__name__)

BATCH: Final = 100
FIRST_PAUSE: Final = dt.timedelta(seconds=2)
LONGEST_PAUSE: Final = dt.timedelta(minutes=5)

# SQLite counts up by itself only in an INTEGER column.
BigId = BigInteger().with_variant(Integer, "sqlite")


class Publisher(Protocol):
    """The broker."""

    def publish_batch(
        self, events: Sequence[events.Event], *, queue: str | None = None
    ) -> Sequence[Exception | None]:
        """Publish with confirms; for each event None when the broker has it, else what went wrong. With `queue`, into that
        queue alone."""
        ...


@dataclass(frozen=True)
class Outgoing:
    """An event of ours, ready for the outbox, and the key under which it is said only once."""

    event: events.Event
    dedupe_key: str
    again_key: str | None = None
    """The key under which it is said when `dedupe_key` is taken already: it may be another thing of the same name, and
    its consumers can tell. None: what is said under `dedupe_key` is not said again."""


class OutboxColumns:
    """The columns of an outbox; a service's model adds its `Base`, the table is called `outbox`."""

    __tablename__ = "outbox"

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> Any:
        """Indexes of the relay's question, asked every second: a handful of rows of millions; and of what is old."""
        return (
            brin_index("ix_outbox_published_at", "published_at"),
            partial_index("ix_outbox_unpublished", "id", where="published_at IS NULL"),
        )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    """Order of arrival."""
    event_id: Mapped[str] = mapped_column(String(512), unique=True)
    dedupe_key: Mapped[str] = mapped_column(String(1024), unique=True)
    type: Mapped[str] = mapped_column(String(255))
    body: Mapped[str] = mapped_column(Text)
    """The envelope as JSON, exactly what goes over the wire."""
    created_at: Mapped[dt.datetime]
    published_at: Mapped[dt.datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    next_attempt_at: Mapped[dt.datetime]


def said_of(
    body: ColumnElement[str] | InstrumentedAttribute[str], account: str
) -> ColumnElement[bool]:
    """Whether a stored event is about this Stripe account: events of before accounts were named are about the own one."""
    named = body.contains(f'"account":"{account}"', autoescape=True)
    return named if account else not_(body.contains('"account":"a', autoescape=True))


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


_UNHURRIED: Final = Kept(text("SET LOCAL synchronous_commit TO off"), WITH_NEXT)
"""https://www.postgresql.org/docs/current/wal-async-commit.html"""
_SAID: Final = "said to the outbox"


def has_said(session: Session) -> bool:
    """Whether an event was queued in this transaction: the relay has something to do then."""
    return bool(session.info.get(_SAID))


class Outbox:
    """The outbox of one service, over its table."""

    def __init__(self, model: type[Any]) -> None:
        """`model`: a declarative class with `OutboxColumns`."""
        self._model = model
        # Made once: a relay that is woken for one event would spend most of its time on making them.
        table = table_of(model)
        self._due = Kept(
            prepared(
                select(table.c.id, table.c.body)
                .where(table.c.published_at.is_(None), table.c.next_attempt_at <= bindparam("now"))
                .order_by(table.c.id)
                .limit(bindparam("most", type_=Integer))
                .with_for_update(skip_locked=True)
            )
        )
        self._marking = Kept(
            update(table)
            .where(is_among(table.c.id, "ids"))
            .values(published_at=bindparam("now"), last_error=None),
            WITH_NEXT,
        )

    def add(self, session: Session, outgoing: Iterable[Outgoing], now: dt.datetime) -> list[str]:
        """Queue the events that were not said before; returns the ids of those that are new."""
        wanted = list(outgoing)
        new = self._insert(session, [(one.event, one.dedupe_key) for one in wanted], now)
        taken = [
            (one.event, one.again_key)
            for one in wanted
            if one.again_key is not None and one.event.id not in new
        ]
        return new + self._insert(session, taken, now)

    def _insert(
        self, session: Session, keyed: Iterable[tuple[events.Event, str]], now: dt.datetime
    ) -> list[str]:
        rows = [
            {
                "event_id": event.id,
                "dedupe_key": key,
                "type": event.type,
                "body": events.encode(event).decode(),
                "created_at": now,
                "attempts": 0,
                "next_attempt_at": now,
            }
            for event, key in keyed
        ]
        session.info[_SAID] = session.info.get(_SAID, False) or bool(rows)
        return insert_new(
            session,
            table_of(self._model),
            rows,
            conflict=["dedupe_key"],
            returning="event_id",
        )

    def due(self, session: Session, now: dt.datetime, limit: int) -> Sequence[Any]:
        """Unpublished events whose time has come, `id` and `body` of each, in order of arrival, locked for this relay alone.

        SKIP LOCKED lets two relays share the work; SQLite has one connection and ignores it.
        """
        return self._due.run(session, {"now": now, "most": limit}).all()

    def relay_round(self, database: Transactions, publisher: Publisher, now: dt.datetime) -> bool:
        """One round of a service's loop; True when there may be more."""
        with database.transaction() as session:
            done = self.relay(session, publisher, now)
        if done.broker_down or done.failed:
            log.warning("events not published", failed=done.failed, broker_down=done.broker_down)
        return done.more

    def relay(self, session: Session, publisher: Publisher, now: dt.datetime) -> Round:
        """Publish a batch of what is due, in order of arrival, inside the caller's transaction.

        The rows stay locked until the commit, so a second relay takes the next ones. A crash between the publish
        and the commit publishes a row again: consumers know an event by its id.
        """
        batch: list[tuple[int, events.Event]] = []
        held: dict[int, Exception] = {}
        for row in self.due(session, now, BATCH):
            try:
                batch.append((row.id, events.decode(row.body)))
            except events.EventError as error:  # written by a version that this one does not know
                held[row.id] = error
        published: list[int] = []
        outcomes = publisher.publish_batch([event for _, event in batch])
        for (row_id, _), problem in zip(batch, outcomes, strict=True):
            if problem is None:
                published.append(row_id)
            else:
                held[row_id] = problem
        self._mark_published(session, published, now)
        self._hold(session, held, now)
        away = [one for one in held.values() if isinstance(one, BrokerUnavailable)]
        return Round(len(published), len(held) - len(away), bool(away))

    def _hold(self, session: Session, held: Mapping[int, Exception], now: dt.datetime) -> None:
        """Note why these are not published. They alone are read whole: a row that is published costs half without."""
        if not held:
            return
        for row in session.scalars(select(self._model).where(self._model.id.in_(held))):
            problem = held[row.id]
            if isinstance(problem, BrokerUnavailable):
                # Not the row's fault, so it is due again at once: an hour without a broker must not shuffle the order.
                row.attempts += 1
                row.last_error = _text(problem)
            else:
                _reschedule(row, problem, now)

    def _mark_published(self, session: Session, ids: Sequence[int], now: dt.datetime) -> None:
        """One statement for all: an UPDATE a row costs more than publishing it.

        Its commit waits for no disk, and what others commit meanwhile does not wait behind it. A server that dies in that moment has the event
        published again, as a relay that does.
        """
        if not ids:
            return
        if session.get_bind().dialect.name == "postgresql":
            _UNHURRIED.run(session, {})
        self._marking.run(session, {"ids": list(ids), "now": now})

    def count_published(
        self, session: Session, types: Sequence[str], since: dt.datetime, until: dt.datetime
    ) -> int:
        """How many events of these types were published in this time and are still kept."""
        return int(
            session.scalar(select(func.count()).where(*self._published(types, since, until))) or 0
        )

    def published(
        self,
        session: Session,
        types: Sequence[str],
        since: dt.datetime,
        until: dt.datetime,
        *,
        after: int,
        limit: int,
    ) -> Sequence[Any]:
        """A page of them, in order of arrival, from the row with the id `after` on."""
        model = self._model
        return session.scalars(
            select(model)
            .where(model.id > after, *self._published(types, since, until))
            .order_by(model.id)
            .limit(limit)
        ).all()

    def _published(
        self, types: Sequence[str], since: dt.datetime, until: dt.datetime
    ) -> tuple[ColumnElement[bool], ...]:
        model = self._model
        return (model.published_at.between(since, until), model.type.in_(types))

    def backlog(self, session: Session, now: dt.datetime) -> tuple[int, float]:
        """How many events wait to be published, and how many seconds the oldest of them has waited."""
        model = self._model
        count, oldest = session.execute(
            select(func.count(), func.min(model.created_at)).where(model.published_at.is_(None))
        ).one()
        return count, max(0.0, (now - oldest).total_seconds()) if oldest else 0.0


def _reschedule(row: Any, error: Exception, now: dt.datetime) -> None:
    """Let others pass: this row alone can't be published now."""
    row.attempts += 1
    row.last_error = _text(error)
    pause = FIRST_PAUSE * 2 ** min(row.attempts - 1, 10)
    row.next_attempt_at = now + min(pause, LONGEST_PAUSE)


def _text(error: Exception) -> str:
    return redact(f"{type(error).__name__}: {error}")[:500]
