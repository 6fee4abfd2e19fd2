"""Connections side by side: what ends for many of them at once holds nobody else up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import eventlet
import pytest
from eventlet import greenio

from shared.nameko_ext import http_connections
from shared.nameko_ext.http_answers import Reply, json_answer
from shared.nameko_ext.http_bodies import BodyBudget, Held, NoRoom
from shared.nameko_ext.http_connections import Connection
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.http_turns import PASS_SECONDS, Line

CROWD = 20
BUDGET = CROWD << 10
BEGUN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 999
BODY_SECONDS = 0.5


class House:
    """A server that reads bodies, and takes a whole pass of the line to say that one did not come."""

    accepting = True

    def __init__(self) -> None:
        self.bodies, self.line = BodyBudget(BUDGET), Line()
        self.ended = 0

    def respond(self, request: HttpRequest) -> Reply:
        with self.bodies.room(BUDGET) as room:
            try:
                request.read_body(room)
            except (NoRoom, TimeoutError):
                self.ended += 1
                hold_up(PASS_SECONDS)
        return json_answer(503, {})

    def unreadable(self, status: int) -> Reply:
        return json_answer(status, {})


def hold_up(seconds: float) -> None:
    """Have everybody wait."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """With a crowd of clients, of whose bodies a byte never comes."""
    monkeypatch.setattr(http_connections, "BODY_SECONDS", BODY_SECONDS)
    house, clients = House(), list[socket.socket]()
    for _ in range(CROWD):
        here, there = socket.socketpair()
        clients.append(there)
        there.sendall(BEGUN)
        eventlet.spawn(Connection(house, greenio.GreenSocket(here)).run)
    while house.bodies.taken < CROWD * 999:
        eventlet.sleep(0)
    yield house
    for one in clients:
        one.close()
    eventlet.sleep(0)


def their_time_is_over(house: House) -> None:
    """All in a moment in which nobody looked."""
    hold_up(BODY_SECONDS)


def their_memory_is_wanted(house: House) -> None:
    """All of it, for one."""
    Held(house.bodies, lambda _: None).hold(BUDGET)


@pytest.mark.parametrize("end", [their_time_is_over, their_memory_is_wanted])
def test_bodies_that_end_at_once_are_answered_in_turns(
    house: House, end: Callable[[House], None]
) -> None:
    """Whoever waits for the hub waits for one of them, or two."""
    end(house)
    seen = [0]
    while seen[-1] < CROWD:
        eventlet.sleep(0)
        seen.append(house.ended)
    assert max(later - before for before, later in pairwise(seen)) <= 2
