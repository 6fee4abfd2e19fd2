"""A publish ends in time, and says by a name of ours why it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eventlet
import pytest
from amqp.exceptions import AccessRefused, ChannelError

from shared.messaging import amqp
from shared.messaging.amqp import BrokerRefused, BrokerUnavailable, Unroutable
from shared.nameko_ext import bounded_publisher
from shared.nameko_ext.bounded_publisher import BoundedPublisher


class Broker:
    """A producer whose broker does `act` with each message."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self.taken: list[dict[str, Any]] = []

    def publish(self, payload: Any, **properties: Any) -> None:
        self._act()
        self.taken.append({"payload": payload, **properties})

    @contextmanager
    def producer(self, uri: str) -> Iterator[Broker]:
        yield self


def refusing(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Broker]:
    def made(act: Callable[[], Any]) -> Broker:
        broker = Broker(act)
        monkeypatch.setattr(amqp, "borrowed_producer", broker.producer)
        return broker

    return made


def test_a_broker_that_says_nothing_is_out_of_reach_in_time(
    broker: Callable[[Callable[[], Any]], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step it stops at: the limit is around them all, for calls as for messages that are moved."""
    monkeypatch.setattr(bounded_publisher, "LIMIT_SECONDS", 0.05)
    broker(lambda: eventlet.sleep(30))
    with pytest.raises(BrokerUnavailable, match="no confirm"):
        BoundedPublisher("amqp://nowhere").publish({}, routing_key="portal.book")
    with pytest.raises(BrokerUnavailable, match="no confirm"):
        bounded_publisher.publish_raw(
            "amqp://nowhere", b"{}", exchange="", routing_key="q", headers={}
        )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (ChannelError("NO_ROUTE"), Unroutable),
        (ChannelError("PRECONDITION_FAILED"), BrokerUnavailable),
        (AccessRefused("access to exchange"), BrokerRefused),
        (ConnectionResetError("gone"), BrokerUnavailable),
    ],
)
def test_what_a_broker_refuses_has_a_name(
    broker: Callable[[Callable[[], Any]], Broker], said: Exception, told: type[Exception]
) -> None:
    """Trying again helps where it is unavailable, and nowhere else."""
    broker(refusing(said))
    with pytest.raises(Exception) as caught:
        amqp.publish("amqp://nowhere", b"", headers={}, mandatory=True)
    assert type(caught.value) is told


def test_what_is_moved_is_persistent_and_mandatory(
    broker: Callable[[Callable[[], Any]], Broker],
) -> None:
    """An event that waits for its next try survives the broker's restart, and is never published to nobody."""
    there = broker(lambda: None)
    amqp.publish_raw("amqp://nowhere", b"{}", exchange="", routing_key="q", headers={"x": 1})
    (taken,) = there.taken
    assert (taken["payload"], taken["headers"]) == (b"{}", {"x": 1})
    assert (taken["delivery_mode"], taken["mandatory"]) == ("persistent", True)
