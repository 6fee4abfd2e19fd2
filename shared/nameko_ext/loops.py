"""Background rounds over what the database says is due: the relay, the sender.

A loop's method does one round and returns True when there may be more. It runs one at a time in a process, at
once after a wake-up, and at the latest every `poll` seconds, so work that another process (or a crashed one)
left behind is found too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import eventlet
from eventlet.event import Event
from nameko.containers import ServiceContainer
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint

from shared.database import DatabaseUnavailable
from shared.nameko_ext.container import entrypoint_of
from shared.telemetry import LOOP_FAILURES, get_logger

log = get_logger(__name__)

LONGEST_PAUSE_SECONDS: Final = 30.0
Method = TypeVar("Method", bound=Callable[..., Any])


_told: dict[str, float] = {}
"""When each reason for which the database is away was told last, by any loop of the process."""


def tell_away(reason: str, loop: str) -> None:
    """Once for all loops and turns, which all find the same, and again after the longest pause."""
    now = time.monotonic()
    if now - _told.get(reason, -LONGEST_PAUSE_SECONDS) >= LONGEST_PAUSE_SECONDS:
        _told[reason] = now
        log.warning(
            "background round put off, the database can't be used", loop=loop, reason=reason
        )


class Loop(Entrypoint):
    """Entrypoint that runs its method again and again; see the module's text."""

    def __init__(self, poll: float, **kwargs: Any) -> None:
        self.poll = poll
        self._stopping = False
        self._woken = False
        self._sleeper: Event | None = None
        self._thread: Any = None
        super().__init__(**kwargs)

    def start(self) -> None:
        self._thread = self.container.spawn_managed_thread(self._run, identifier=self.method_name)

    def stop(self) -> None:
        self._stopping = True
        self.wake()
        if self._thread is not None:
            self._thread.wait()

    def kill(self) -> None:
        if self._thread is not None:
            self._thread.kill()

    def wake(self) -> None:
        """Run a round now; several wake-ups during a round make one more round."""
        self._woken = True
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            sleeper.send()

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._woken = False
            more, failed = self._round()
            failures = failures + 1 if failed else 0
            if failed:
                pause = min(self.poll * 2**failures, LONGEST_PAUSE_SECONDS)
                self._sleep(pause * random.uniform(0.5, 1), through_wakes=True)  # noqa: S311
            elif not more:
                self._sleep(self.poll)

    def _round(self) -> tuple[bool, bool]:
        done = Event()

        def settle(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            done.send((result, exc_info))
            return result, exc_info

        try:
            self.container.spawn_worker(self, (), {}, handle_result=settle)
        except ContainerBeingKilled:
            self._stopping = True
            return False, False
        result, exc_info = done.wait()
        if exc_info is None:
            return bool(result), False
        LOOP_FAILURES.labels(self.container.service_name, self.method_name).inc()
        if isinstance(exc_info[1], DatabaseUnavailable):
            tell_away(str(exc_info[1]), self.method_name)
        else:
            log.error("background round failed", loop=self.method_name, exc_info=exc_info)
        return False, True

    def _sleep(self, seconds: float, *, through_wakes: bool = False) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            if self._woken and not through_wakes:
                return
            self._sleeper = sleeper = Event()
            with eventlet.Timeout(left, False):
                sleeper.wait()


def loop(poll: float) -> Callable[[Method], Method]:
    """Decorate a method that does one round of background work and returns True when there may be more."""
    decorator: Callable[[Method], Method] = Loop.decorator(poll=poll)
    return decorator


def wake(container: ServiceContainer, method: str) -> None:
    """Run a loop of the service again, if it has one of this name."""
    for one in container.entrypoints:
        if isinstance(one, Loop) and one.method_name == method:
            one.wake()


class Waker(DependencyProvider):
    """Injects a function that wakes the loop `method` of the same service in the same process."""

    def __init__(self, method: str, after: float = 0.0) -> None:
        """`after`: how many seconds later, for a loop that is in nobody's way then; whoever else wakes it meanwhile has it woken once."""
        self.method = method
        self.after = after
        self._is_due = False

    def start(self) -> None:
        self._wake = entrypoint_of(self.container, Loop, self.method).wake

    def get_dependency(self, worker_ctx: Any) -> Callable[[], None]:
        return self._wake_later if self.after else self._wake

    def _wake_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            eventlet.spawn_after(self.after, self._wake_now)

    def _wake_now(self) -> None:
        self._is_due = False
        self._wake()
