"""A socket that is waited for again and again stays with epoll in between, and never fills the hub with what nobody waits for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from eventlet import hubs

from shared.nameko_ext.readable import Readable


@pytest.fixture
def ends() -> Iterator[tuple[Any, socket.socket]]:
    """Ours and the client's end of a connection."""
    ours, client = socket.socketpair()
    ours.setblocking(False)
    yield ours, client
    ours.close()
    client.close()


def listens(sock: Any) -> bool:
    """Whether the hub asks epoll about it."""
    return sock.fileno() in hubs.get_hub().listeners[hubs.get_hub().READ]


def take(readable: Readable, sock: Any, within: float = 1.0) -> bytes:
    with eventlet.Timeout(within):
        readable.wait()
    data: bytes = sock.recv(100)
    return data


def test_it_stays_between_two_waits(ends: tuple[Any, socket.socket]) -> None:
    """One request after the other is read without telling epoll of the socket anew; the end is something to read."""
    ours, client = ends
    readable = Readable(ours)
    for word in (b"one", b"two"):
        eventlet.spawn_after(0.01, client.send, word)
        assert take(readable, ours) == word
        assert listens(ours)
    client.close()
    assert take(readable, ours) == b""
    readable.forget()
    assert not listens(ours)


def test_what_comes_while_nobody_waits_is_asked_about_no_more(
    ends: tuple[Any, socket.socket],
) -> None:
    """Epoll would tell of it at each look; it is there when somebody waits again."""
    ours, client = ends
    readable = Readable(ours)
    client.send(b"one")
    assert take(readable, ours) == b"one"
    client.send(b"two")
    eventlet.sleep(0.01)
    assert not listens(ours)
    assert take(readable, ours) == b"two"
    readable.forget()


def test_who_is_ended_while_waiting_is_not_woken_later(ends: tuple[Any, socket.socket]) -> None:
    """A time-out, or the end of the green thread: what comes afterwards is the next one's."""
    ours, client = ends
    readable = Readable(ours)
    with pytest.raises(eventlet.Timeout):
        take(readable, ours, within=0.01)
    client.send(b"late")
    eventlet.sleep(0.01)
    assert take(readable, ours) == b"late"
    readable.forget()


@pytest.mark.whole
def test_a_socket_that_is_taken_away_ends_the_wait(ends: tuple[Any, socket.socket]) -> None:
    """Where its number is another's by now, whoever waits hears of it, and the number is left alone."""
    ours, _ = ends
    readable = Readable(ours)
    waiting = eventlet.spawn(readable.wait)
    eventlet.sleep(0)
    hubs.notify_opened(ours.fileno())
    with pytest.raises(hubs.IOClosed):
        waiting.wait()
    assert not listens(ours)
    readable.forget()
