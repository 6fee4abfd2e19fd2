"""Turns of accounts: some at a time, one an account, and a slow one holds up its own work alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from nameko.exceptions import ContainerBeingKilled
from structlog.testing import capture_logs

from shared.contracts.accounts import OWN
from shared.database import DatabaseUnavailable
from shared.nameko_ext.container import ACCOUNT
from shared.nameko_ext.loops import Loop
from shared.nameko_ext.turns import Turn, Turns


class House:
    """A container whose workers end when a test lets them."""

    service_name = "billing"

    def __init__(self, most: int = 2) -> None:
        self.gates: dict[str, Event] = {}
        self.contexts: list[dict[str, str]] = []
        self.woken = 0
        self.killed = False
        loop: Any = Loop(poll=5.0)
        loop.method_name, loop.wake = "find", self._wake
        self.turn: Any = Turn(wakes="find", most=most)
        self.turn.method_name = "work"
        self.turn.container = self
        self.entrypoints = [loop, self.turn]

    def _wake(self) -> None:
        self.woken += 1

    def spawn_worker(
        self, entrypoint: Any, args: Any, kwargs: Any, context_data: Any, handle_result: Any
    ) -> None:
        if self.killed:
            raise ContainerBeingKilled
        self.contexts.append(context_data)
        gate = self.gates[args[0]] = Event()

        def run() -> None:
            try:
                handle_result(None, gate.wait(), None)
            except Exception as error:
                handle_result(None, None, (type(error), error, None))

        eventlet.spawn(run)

    def end(self, account: str, result: Any = None) -> None:
        self.gates.pop(account).send(result)
        eventlet.sleep(0)

    def fail(self, account: str, error: Exception | None = None) -> None:
        self.gates.pop(account).send_exception(error or LookupError("no such thing"))
        eventlet.sleep(0)


def test_an_account_has_one_turn_at_a_time_and_others_theirs_beside_it() -> None:
    """While one hangs, another one's work begins and ends; the account itself waits for its own."""
    house = House()
    assert house.turn.begin("slow") is True
    assert house.turn.begin("slow") is False
    for _ in range(3):
        assert house.turn.begin("quick") is True
        house.end("quick")
    assert set(house.turn.in_hand) == {"slow"}
    house.end("slow")
    assert house.turn.begin("slow") is True


def test_so_many_accounts_are_worked_for_at_a_time() -> None:
    """Beyond that nothing begins; who waits for a place has it as soon as one leaves, and not for longer than wanted."""
    house = House()
    house.turn.begin("one")
    house.turn.begin("two")
    assert house.turn.begin("three") is False
    assert house.turn.wait_for_place(0.01) is False
    waiting = eventlet.spawn(house.turn.wait_for_place, 5)
    eventlet.sleep(0)
    house.end("one")
    with eventlet.Timeout(1):
        assert waiting.wait() is True
    assert house.turn.begin("three") is True


def test_where_there_may_be_more_the_loop_is_run_again() -> None:
    """And where there is nothing more, or the work failed, it waits for its time: no tight circle."""
    house = House()
    for account, result in (("one", True), ("two", False), ("three", None)):
        house.turn.begin(account)
        house.end(account, result)
    assert house.woken == 1


def test_work_that_fails_gives_its_place_back_and_names_its_account() -> None:
    """Nothing is lost but the turn."""
    house = House()
    house.turn.begin("acct_1")
    with capture_logs() as lines:
        house.fail("acct_1")
    assert [(line["event"], line["turn"], line["account"]) for line in lines] == [
        ("a turn failed", "work", "acct_1")
    ]
    assert (list(house.turn.in_hand), house.woken) == ([], 0)


def test_a_database_that_is_away_is_told_once_for_all_turns() -> None:
    """Every turn of every account finds the same, and none needs a trace."""
    house = House()
    reason = "server closed the connection in test_turns"
    with capture_logs() as lines:
        for account in ("acct_1", "acct_2", "acct_3"):
            house.turn.begin(account)
            house.fail(account, DatabaseUnavailable(reason))
    assert [(line["log_level"], line["reason"], "exc_info" in line) for line in lines] == [
        ("warning", reason, False)
    ]
    assert house.woken == 0


def test_the_own_account_has_a_place_of_its_own() -> None:
    """However many others are slow, it begins, and it takes none of theirs."""
    house = House()
    for account in ("acct_1", OWN, "acct_2"):
        assert house.turn.begin(account) is True
    assert house.turn.begin("acct_3") is False
    house.end(OWN)
    assert house.turn.begin("acct_3") is False
    assert house.turn.begin(OWN) is True


def test_a_process_that_stops_begins_nothing_more() -> None:
    """Neither is a place waited for: who waits for one is told that there is none, also where one becomes free."""
    house = House()
    house.turn.begin("acct_1")
    house.turn.begin("acct_2")
    waiting = eventlet.spawn(house.turn.wait_for_place, 60)
    eventlet.sleep(0)
    house.turn.stop()
    with eventlet.Timeout(1):
        assert waiting.wait() is False
    house.end("acct_1")
    assert [house.turn.begin("acct_3"), house.turn.begin(OWN)] == [False, False]
    assert house.turn.wait_for_place(60) is False
    assert set(house.turn.in_hand) == {"acct_2"}


def test_the_log_of_a_turn_names_its_account() -> None:
    """The own one is not named, as everywhere."""
    house = House()
    house.turn.begin("acct_1")
    house.turn.begin("")
    assert house.contexts == [{ACCOUNT: "acct_1"}, {}]


def test_nothing_begins_when_the_service_is_killed() -> None:
    """And nobody waits for it."""
    house = House()
    house.killed = True
    assert house.turn.begin("one") is False
    assert list(house.turn.in_hand) == []


def test_the_service_has_the_turns_of_its_method() -> None:
    """A wrong name is told at the start."""
    house = House()
    found: Any = Turns("work")
    found.container = house
    found.start()
    assert found.get_dependency(SimpleNamespace()) is house.turn
    wrong: Any = Turns("play")
    wrong.container = house
    with pytest.raises(LookupError, match="no turn 'play'"):
        wrong.start()
