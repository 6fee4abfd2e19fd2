"""Answers go out together on a connection that is kept, and made anew when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import eventlet
import pytest
from amqp.exceptions import NotFound, RecoverableConnectionError

from shared.messaging.amqp import BrokerUnavailable
from shared.messaging.confirmed import Outcome, Publication
from shared.nameko_ext import bounded_publisher, replies
from shared.nameko_ext.replies import AWAY, ReplyPublisher

ANSWER = Publication(body=b"{}", exchange="nameko-rpc", routing_key="me", properties={})


class Broker:
    """What its connections do with each batch, in turn: None takes it."""

    def __init__(self, *acts: Callable[[], Any] | None) -> None:
        self.acts = list(acts)
        self.opened = self.dropped = 0
        self.taken: list[list[Publication]] = []

    def open(self, uri: str) -> Broker:
        self.opened += 1
        return self

    def publish(self, batch: Mapping[int, Publication], outcomes: list[Outcome]) -> None:
        act = self.acts.pop(0) if self.acts else None
        if act is not None:
            act()
        self.taken.append(list(batch.values()))
        for index in batch:
            outcomes[index] = None

    def drop(self) -> None:
        self.dropped += 1
        raise ConnectionResetError


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.fixture
def publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[ReplyPublisher, Broker]]:
    def made(*acts: Callable[[], Any] | None) -> tuple[ReplyPublisher, Broker]:
        broker = Broker(*acts)
        monkeypatch.setattr(replies, "open_channel", broker.open)
        return ReplyPublisher("amqp://nowhere"), broker

    return made


def test_one_connection_for_all(publisher: Callable[..., tuple[ReplyPublisher, Broker]]) -> None:
    """Batch after batch, until somebody closes it."""
    made, broker = publisher()
    assert made.publish([ANSWER, ANSWER]) == [None, None]
    assert made.publish([ANSWER]) == [None]
    made.close()
    assert (broker.opened, broker.dropped) == (1, 1)
    assert [len(batch) for batch in broker.taken] == [2, 1]


@pytest.mark.parametrize("end", [RecoverableConnectionError("gone"), ConnectionResetError()])
def test_a_connection_that_ended_meanwhile_loses_nothing(
    publisher: Callable[..., tuple[ReplyPublisher, Broker]], end: Exception
) -> None:
    """The broker was started anew, or closed it: the batch goes out on a new one."""
    made, broker = publisher(None, raising(end))
    made.publish([ANSWER])
    assert made.publish([ANSWER]) == [None]
    assert broker.opened == 2


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionRefusedError(), True),
        (BrokerUnavailable("blocked"), True),
        (NotFound("x"), False),
    ],
)
def test_a_new_connection_is_tried_once(
    publisher: Callable[..., tuple[ReplyPublisher, Broker]], error: Exception, away: bool
) -> None:
    """A broker that can't be had fails all that wait; what it refuses is somebody's own, and others may go without it."""
    made, broker = publisher(raising(error), raising(error))
    with pytest.raises(type(error)) as caught:
        made.publish([ANSWER])
    assert isinstance(caught.value, AWAY) == away
    assert (broker.opened, len(broker.acts)) == (1, 1)


def test_a_silent_broker_is_given_up_in_time(
    publisher: Callable[..., tuple[ReplyPublisher, Broker]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the limit of a publish, on a connection that was there too, and is not used again."""
    monkeypatch.setattr(bounded_publisher, "LIMIT_SECONDS", 0.05)
    made, broker = publisher(None, lambda: eventlet.sleep(30))
    made.publish([ANSWER])
    with pytest.raises(BrokerUnavailable, match="no confirm"):
        made.publish([ANSWER])
    assert made.publish([ANSWER]) == [None]
    assert broker.opened == 2
