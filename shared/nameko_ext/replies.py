"""Answers to calls on their way back: those that are due together are one write, and one wait for the broker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from amqp.exceptions import ConnectionError as AMQPConnectionError
from kombu.exceptions import KombuError

from shared.messaging.amqp import BROKER_ERRORS, BrokerUnavailable
from shared.messaging.confirmed import Outcome, Publication, Publications, open_channel
from shared.nameko_ext.bounded_publisher import limit

ENDED: Final = (OSError, EOFError, AMQPConnectionError)
"""What a connection raises that is no more."""
AWAY: Final = (*ENDED, KombuError, BrokerUnavailable)
"""What says nothing of the message: the broker can't be had. What it raises besides is about one of them, which it refuses."""


class ReplyPublisher:
    """Publishes answers on one connection, which is opened when needed and again after a fault."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._opened: Publications | None = None

    def publish(self, batch: Sequence[Publication]) -> list[Outcome]:
        """What became of each. Where the connection has ended since the last batch, they are tried once more on a new one: of an answer
        that comes twice its caller takes one.

        Raises one of BROKER_ERRORS, within the limit of a publish; where it is none of AWAY, the same without one of them may do.
        """
        with limit():
            if self._opened is not None:
                with suppress(*ENDED):
                    return self._try(batch)
            return self._try(batch)

    def _try(self, batch: Sequence[Publication]) -> list[Outcome]:
        outcomes: list[Outcome] = [BrokerUnavailable("not confirmed")] * len(batch)
        try:
            if self._opened is None:
                self._opened = open_channel(self._uri)
            self._opened.publish(dict(enumerate(batch)), outcomes)
        except BaseException:
            self.close()
            raise
        return outcomes

    def close(self) -> None:
        """Throw the connection away."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with suppress(*BROKER_ERRORS):
                opened.drop()
