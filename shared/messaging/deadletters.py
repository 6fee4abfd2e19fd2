"""Dead letters: looking at them without taking them, and moving them back to where they came from.

Looking means taking without acknowledging and giving back. Since RabbitMQ 4 a quorum queue drops a message that was
given back twenty times, so one that was looked at often is written anew first, which starts its count again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from amqp.exceptions import NotFound

from shared.mentions import mentions
from shared.messaging import incoming, topology
from shared.messaging.amqp import make_connection, publish_raw

LOOKS_BEFORE_REWRITE: Final = 10
MOST: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that was given up."""

    queue: str
    """The queue whose consumer gave it up; the letter lies in `<queue>.dead`."""
    key: str
    """The event's id, or `body:` and the beginning of the body's SHA-256 where it has none."""
    type: str
    reason: str
    given_up_at: dt.datetime | None = None
    """None: by a release that did not note it."""
    attempts: int
    routing_key: str
    correlation_id: str
    replays: int
    looks: int
    """How often it was looked at, or otherwise delivered, since it was written."""
    whole: bool
    """False when only the beginning of its body was read, because it is too large: it can't be replayed."""
    body: bytes = field(repr=False)
    headers: dict[str, Any] = field(repr=False)

    def mentions(self, name: str, account: str = "") -> bool:
        """Whether the body names this id or address, in this Stripe account. One that names no account is of the installation's own."""
        own = b'"account":"acct_' not in self.body
        ours = own if not account else f'"account":"{account}"'.encode() in self.body
        return ours and mentions(self.body.decode("utf-8", "replace"), name)

    def view(self, *, body: bool = False) -> dict[str, Any]:
        """As JSON types, and a time."""
        shown: dict[str, Any] = {
            "queue": self.queue,
            "key": self.key,
            "type": self.type,
            "given_up_at": self.given_up_at,
            "x-error": self.reason,
            "x-attempt": self.attempts,
            "x-original-routing-key": self.routing_key,
            "correlation_id": self.correlation_id,
            "replays": self.replays,
        }
        if body:
            shown["body"] = self.body.decode("utf-8", "replace")
        return shown


def queues() -> list[str]:
    """The queues that have dead letters."""
    return [
        queue.name
        for source in topology.sources()
        for service in topology.consumers_of(source)
        for queue in topology.event_queues(service, source)
    ]


class DeadLetters:
    """The dead letters of one broker. Raises what `BROKER_ERRORS` names."""

    def __init__(self, amqp_uri: str) -> None:
        self._uri = amqp_uri

    def counts(self) -> dict[str, int]:
        """How many each queue has; queues that were never declared are left out."""
        found = {}
        connection = make_connection(self._uri)
        try:
            for name in queues():
                try:
                    declared = connection.channel().queue_declare(f"{name}.dead", passive=True)
                except NotFound:
                    continue
                found[name] = declared.message_count
        finally:
            connection.collect()
        return found

    def look(self, queue: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        """The oldest dead letters, of one queue or of all; they stay where they are."""
        found: list[DeadLetter] = []

        def keep(letter: DeadLetter) -> bool:
            found.append(letter)
            return False

        for name in [queue] if queue else queues():
            self._each(name, limit - len(found), keep)
        return found

    def replay(self, queue: str, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """Give those that are wanted back to the consumer's queue, each confirmed before its dead letter goes; one that is not
        whole stays. Raises Unroutable where that queue is gone: then the letter that `wanted` was last asked about, and what
        follows it, stay."""

        def again(letter: DeadLetter) -> bool:
            if not wanted(letter) or not letter.whole:
                return False
            headers = {
                **incoming.carried(letter.headers),
                incoming.GIVEN_UP_AT: "",
                incoming.ATTEMPT: 0,
                incoming.ERROR: "",
                incoming.REPLAYS: letter.replays + 1,
                incoming.LAST_ERROR: letter.reason,
            }
            publish_raw(
                self._uri, letter.body, exchange="", routing_key=letter.queue, headers=headers
            )
            return True

        return self._each(queue, MOST, again)

    def discard(self, queue: str, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """Throw those that are wanted away."""
        return self._each(queue, MOST, wanted)

    def _each(
        self, queue: str, limit: int, settle: Callable[[DeadLetter], bool]
    ) -> list[DeadLetter]:
        """Show each letter to `settle`: True takes it off the queue. Returns those that were taken."""
        taken = []
        connection = make_connection(self._uri)
        try:
            channel = connection.channel()
            try:
                waiting = channel.queue_declare(f"{queue}.dead", passive=True).message_count
            except NotFound:
                return []
            for message in _messages(channel, f"{queue}.dead", min(waiting, limit)):
                letter = _read(queue, message)
                if settle(letter):
                    channel.basic_ack(message.delivery_tag)
                    taken.append(letter)
                elif letter.whole and letter.looks >= LOOKS_BEFORE_REWRITE:
                    publish_raw(
                        self._uri,
                        letter.body,
                        exchange="",
                        routing_key=f"{queue}.dead",
                        headers={
                            **incoming.carried(letter.headers),
                            incoming.ERROR: letter.reason,
                            incoming.GIVEN_UP_AT: letter.given_up_at.isoformat()
                            if letter.given_up_at
                            else "",
                        },
                    )
                    channel.basic_ack(message.delivery_tag)
            channel.close()  # what was only looked at goes back
        finally:
            connection.collect()
        return taken


def _messages(channel: Any, queue: str, count: int) -> Iterator[Any]:
    for _ in range(count):
        message = channel.basic_get(queue)
        if message is None:
            return
        yield message


def _read(queue: str, message: Any) -> DeadLetter:
    body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
    headers = message.properties.get("application_headers") or {}
    own = incoming.own_headers(headers)
    key, type_ = incoming.identify(body)
    return DeadLetter(
        queue=queue,
        key=key,
        type=type_,
        reason=own.error or f"given up by the broker: {own.died_of or 'no reason'}",
        given_up_at=own.given_up_at,
        attempts=own.attempt,
        routing_key=own.original_routing_key,
        correlation_id=own.correlation_id,
        replays=own.replays,
        looks=own.deliveries,
        whole=message.body_size <= message.most,
        body=body,
        headers=headers,
    )
