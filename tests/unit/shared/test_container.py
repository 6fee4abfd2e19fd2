"""Workers that run in the green thread of their request: counted, waited for, and with an id on their log lines."""

from __future__ import annotations

from typing import Any

import eventlet
import pytest
import structlog
from eventlet.event import Event
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint

from shared.nameko_ext.container import CorrelatedContainer


class Door(Entrypoint):
    """An entrypoint that runs its method where it is asked."""

    def ask(self, *args: Any) -> Any:
        return self.container.run_here(self, args, {}, {})


class Diary(DependencyProvider):
    """Remembers what nameko tells a provider of each worker."""

    lines: tuple[str, ...] = ()

    def note(self, line: str) -> None:
        self.lines = (*self.lines, line)

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self.note

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        self.note("failed" if exc_info else f"result {result}")

    def worker_teardown(self, worker_ctx: Any) -> None:
        self.note("teardown")


class House:
    """A service with one door."""

    name = "house"
    diary = Diary()

    @Door.decorator
    def work(self, what: Any) -> dict[str, Any]:
        """Do it, and tell what the log would know."""
        self.diary(what)
        if callable(what):
            what()
        if what == "fail":
            raise ValueError(what)
        if what == "wait":
            eventlet.sleep(0.05)
        return structlog.contextvars.get_contextvars()


@pytest.fixture
def container() -> CorrelatedContainer:
    return CorrelatedContainer(House, {"max_workers": 2})


def door(container: CorrelatedContainer) -> Door:
    return next(iter(container.entrypoints))


def diary(container: CorrelatedContainer) -> Diary:
    return next(iter(container.dependencies))


def test_a_worker_has_an_id_of_its_own(container: CorrelatedContainer) -> None:
    """While it runs the log knows service and correlation id; afterwards the green thread is as before."""
    first, second = door(container).ask("a"), door(container).ask("b")
    assert first["service"] == "house"
    assert len(first["correlation_id"]) == 16
    assert first["correlation_id"] != second["correlation_id"]
    assert structlog.contextvars.get_contextvars() == {}


def test_providers_hear_of_results_and_failures(container: CorrelatedContainer) -> None:
    """The error reaches the caller, and providers are told and torn down either way."""
    with pytest.raises(ValueError, match="fail"):
        door(container).ask("fail")
    door(container).ask("work")
    assert [line.partition(" ")[0] for line in diary(container).lines] == [
        "fail",
        "failed",
        "teardown",
        "work",
        "result",
        "teardown",
    ]


def test_no_more_at_once_than_workers(container: CorrelatedContainer) -> None:
    """Beyond `max_workers` callers wait for a free place."""
    threads = [eventlet.spawn(door(container).ask, "wait") for _ in range(4)]
    eventlet.sleep(0.01)
    assert diary(container).lines == ("wait", "wait")
    for thread in threads:
        thread.wait()
    assert container.workers.free() == 2


def test_stopping_waits_for_them(container: CorrelatedContainer) -> None:
    """stop() returns when the work that was accepted is done."""
    thread = eventlet.spawn(door(container).ask, "wait")
    eventlet.sleep(0)
    container.stop()
    assert thread.dead
    assert diary(container).lines[-1] == "teardown"


def test_stopping_waits_for_those_who_wait_for_a_place(container: CorrelatedContainer) -> None:
    """Also where all places fall free at one moment, as they do where workers wait for one batch."""
    batch = Event()
    threads = [eventlet.spawn(door(container).ask, batch.wait) for _ in range(3)]
    eventlet.sleep(0)
    eventlet.spawn_after(0.01, batch.send)
    with eventlet.Timeout(5):
        container.stop()
    assert [thread.dead for thread in threads] == [True] * 3
    assert container.workers.is_idle


def test_nothing_starts_while_being_killed(container: CorrelatedContainer) -> None:
    """A container that is killed takes no more work, and ends what runs."""
    thread = eventlet.spawn(door(container).ask, "wait")
    eventlet.sleep(0)
    container.kill()
    with pytest.raises(ContainerBeingKilled):
        door(container).ask("late")
    assert thread.dead


def test_a_provider_is_asked_once_by_each_worker_that_wants_it() -> None:
    """What it injects is made when the worker first asks for it; a worker that does not ask costs it nothing."""

    class Counted(DependencyProvider):
        asked = 0

        def get_dependency(self, worker_ctx: Any) -> int:
            self.asked += 1
            return self.asked

    class Shop:
        name = "shop"
        wanted, unwanted = Counted(), Counted()

        @Door.decorator
        def work(self) -> tuple[int, int]:
            return self.wanted, self.wanted

    shop = CorrelatedContainer(Shop, {"max_workers": 2})
    door = next(iter(shop.entrypoints))
    assert [door.ask() for _ in range(2)] == [(1, 1), (2, 2)]
    assert {one.attr_name: one.asked for one in shop.dependencies} == {"wanted": 2, "unwanted": 0}
