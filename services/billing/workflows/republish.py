"""Giving a consumer again what its queue held: a queue that somebody deleted, or a broker that was restored empty.

The outbox keeps what was published for as long as consumers know what they have acted on. So each event of the time goes into the
queue once more, and the consumer acts on those alone that it had not seen.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.billing.domain.errors import InvalidRequest
from services.billing.queries import outbox
from shared import events
from shared.contracts.rpc.billing import RepublishedPage
from shared.contracts.rpc.errors import NotRepublished
from shared.database import Transactions
from shared.messaging import topology
from shared.outbox import Publisher
from shared.retention import SHORTEST
from shared.telemetry import get_logger

log = get_logger(__name__)

SOURCE: Final = "billing"
PAGE: Final = 500


def types_of(queue: str) -> list[str]:
    """The types of events that a queue is bound for. Raises InvalidRequest."""
    bound = {
        one.name: sorted(each.routing_key for each in one.bindings)
        for service in events.CONSUMERS
        for one in topology.event_queues(service, SOURCE)
    }
    if queue not in bound:
        raise InvalidRequest(f"queue: expected one of {', '.join(sorted(bound))}")
    return bound[queue]


def check_since(since: dt.datetime, now: dt.datetime) -> None:
    """Older events may be forgotten by their consumer already, which would act on them again. Raises InvalidRequest."""
    if not now - SHORTEST <= since <= now:
        raise InvalidRequest(f"since: expected a moment of the last {SHORTEST.days} days")


def count(database: Transactions, queue: str, since: dt.datetime, until: dt.datetime) -> int:
    """How many events `republish` would put into the queue."""
    with database.reading() as session:
        return outbox.OUTBOX.count_published(session, types_of(queue), since, until)


def republish(
    database: Transactions,
    publisher: Publisher,
    queue: str,
    since: dt.datetime,
    until: dt.datetime,
    *,
    after: int = 0,
) -> RepublishedPage:
    """Put a page of the events that were published between `since` and `until` into the queue. Raises NotRepublished."""
    with database.reading() as session:
        rows = outbox.OUTBOX.published(
            session, types_of(queue), since, until, after=after, limit=PAGE
        )
        bodies = [row.body for row in rows]
        last = rows[-1].id if len(rows) == PAGE else None
    batch = []
    for body in bodies:
        try:
            batch.append(events.decode(body))
        except events.EventError as error:  # written by a version that this one does not know
            log.warning("event not republished", reason=str(error))
    failed = [one for one in publisher.publish_batch(batch, queue=queue) if one is not None]
    if failed:
        raise NotRepublished(f"{len(failed)} of {len(batch)} events: {failed[0]}")
    return RepublishedPage(events=len(batch), next=last)
