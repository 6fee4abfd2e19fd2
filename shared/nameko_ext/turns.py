"""Work for many accounts, some at a time and one piece an account: one whose vendor is slow holds up its own work alone.

A loop finds what is due and begins turns; each is a worker of the container, so shutting down waits for it like for any request, and
none begins from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

import eventlet
from eventlet.event import Event
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint

from shared.contracts.accounts import OWN, account_shown
from shared.database import DatabaseUnavailable
from shared.nameko_ext.container import ACCOUNT, entrypoint_of
from shared.nameko_ext.loops import tell_away, wake
from shared.telemetry import get_logger

log = get_logger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])

PLACES: Final = 8
"""Accounts beside the own one that are worked for at a time; the own one has a place of its own, so that none of them holds it up."""


class Turn(Entrypoint):
    """Entrypoint of a method that does one piece of work for an account: it gets the account, and what `begin` got besides. Where it
    returns True there may be more to do, and the loop is run again at once."""

    def __init__(self, wakes: str = "", most: int = PLACES, **kwargs: Any) -> None:
        """`wakes` names the loop, `most` is how many accounts beside the own one may be worked for at a time."""
        self._wakes, self._most = wakes, most
        self._stopping = False
        self._in_hand: set[str] = set()
        self._left = Event()
        super().__init__(**kwargs)

    @property
    def in_hand(self) -> Collection[str]:
        """The accounts that are worked for now; it changes with them."""
        return self._in_hand

    def stop(self) -> None:
        self._stopping = True
        self._wake_waiting()

    def wait_for_place(self, seconds: float) -> bool:
        """Whether a turn of an account beside the own one may begin, now or within so many seconds."""
        with eventlet.Timeout(seconds, False):
            while self._is_full() and not self._stopping:
                self._left.wait()
        return not self._stopping and not self._is_full()

    def begin(self, account: str, *args: Any) -> bool:
        """Work for an account, and return at once. False: it is worked for already, there is no place, or the process stops."""
        if self._stopping or account in self._in_hand or (account != OWN and self._is_full()):
            return False
        self._in_hand.add(account)

        def done(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            self._leave(account)
            if exc_info is not None and isinstance(exc_info[1], DatabaseUnavailable):
                tell_away(str(exc_info[1]), self.method_name)
            elif exc_info is not None:
                log.error(
                    "a turn failed",
                    turn=self.method_name,
                    exc_info=exc_info,
                    **account_shown(account),
                )
            elif result:
                wake(self.container, self._wakes)
            return result, exc_info

        data = {ACCOUNT: account} if account else {}
        try:
            self.container.spawn_worker(
                self, (account, *args), {}, context_data=data, handle_result=done
            )
        except ContainerBeingKilled:
            self._leave(account)
            return False
        return True

    def _is_full(self) -> bool:
        return len(self._in_hand - {OWN}) >= self._most

    def _leave(self, account: str) -> None:
        self._in_hand.discard(account)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        left, self._left = self._left, Event()
        left.send()


def turn(wakes: str = "", most: int = PLACES) -> Callable[[Method], Method]:
    """Decorate the method that does one piece of work for an account."""
    decorator: Callable[[Method], Method] = Turn.decorator(wakes=wakes, most=most)
    return decorator


class Turns(DependencyProvider):
    """Injects the `Turn` of a method of the same service."""

    def __init__(self, method: str) -> None:
        self.method = method

    def start(self) -> None:
        self._turn = entrypoint_of(self.container, Turn, self.method)

    def get_dependency(self, worker_ctx: Any) -> Turn:
        return self._turn
