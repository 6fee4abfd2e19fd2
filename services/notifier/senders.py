"""nameko's side of sending: one worker for each email on its way, at most so many at a time.

Each email is a worker of the container, so shutting down waits for it like for any request.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

import eventlet
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint

from services.notifier.queries.leases import Beside
from shared import tracing
from shared.nameko_ext.batch_consumer import BatchConsumer
from shared.nameko_ext.container import ACCOUNT, KEY, entrypoint_of
from shared.nameko_ext.loops import wake
from shared.telemetry import get_logger

log = get_logger(__name__)

KEPT_PART: Final = 8
"""One place in so many is kept for accounts without their share, while there is more than one account."""
SEVERAL_SECONDS: Final = 900.0
"""For so long after it sent for one account and then for another a process is one with several: a second account that has an email once
in a while costs no place for ever."""
BEHIND_PART: Final = 4
"""While events wait that are not written down yet, emails of several accounts have one place in so many: an event's account is not known
before it is read, so in front of a flood's emails goes reading what came after it."""
OTHERS_EVERY: Final = dt.timedelta(seconds=0.25)
"""Others' emails are looked for no sooner than this after the last look began,"""
OTHERS_PART: Final = 10
"""and no sooner than so many times what it took, so that looking is a small part of what the database does,"""
OTHERS_AT_LATEST: Final = dt.timedelta(seconds=5)
"""but after this however long it took."""
Method = TypeVar("Method", bound=Callable[..., Any])


class Leased(Protocol):
    """What is to be sent, and is leased to this process: a notification, or a webhook's delivery."""

    @property
    def account(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...
    @property
    def traceparent(self) -> str: ...
    def span_facts(self) -> dict[str, str]:
        """What the span of one try to send it tells."""
        ...


class Sender(Entrypoint):
    """Entrypoint of the method that sends what is leased to it: one thing at a time."""

    def __init__(self, wakes: str, task: str = "send notification", **kwargs: Any) -> None:
        """`wakes` names the loop that is run again when a place becomes free, `task` the span of one try."""
        self.wakes = wakes
        self.task = task
        self.busy = 0
        self.accounts: Counter[str] = Counter()
        """How many are under way of each Stripe account."""
        self._last_account: str | None = None
        self._changed_at: float | None = None
        """When this process last had something to send for another account than just before, by the monotonic clock."""
        self.wake_at: int | None = None
        """How few of them may be under way before the loop is run again; None: nothing is known to wait."""
        self.others_wait = False
        """Whether other accounts are known to have more due than there were places for them: then the loop is run after each."""
        self._wakes_soon = False
        super().__init__(**kwargs)

    @property
    def several(self) -> bool:
        """Whether this process has had something to send for more accounts than one lately."""
        return self._changed_at is not None and monotonic() < self._changed_at + SEVERAL_SECONDS

    def note(self, account: str) -> None:
        """Something of this account is to be sent."""
        if self._last_account not in (None, account):
            self._changed_at = monotonic()
        self._last_account = account

    def span(self, worker_ctx: Any) -> tracing.Span:
        """The span of one try to send, in the trace of what asked for it."""
        (leased,) = worker_ctx.args
        return tracing.task(
            self.task,
            leased.traceparent,
            **leased.span_facts(),
            correlation_id=leased.correlation_id,
        )

    def post(self, leased: Leased) -> None:
        """Start sending `leased`, and return at once."""
        self.busy += 1
        account = leased.account
        self.accounts[account] += 1
        self.note(account)
        said = {KEY: leased.correlation_id, ACCOUNT: leased.account}
        thread = {name: text for name, text in said.items() if text}

        def done(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            self._leave(account)
            return self._done(result, exc_info)

        try:
            self.container.spawn_worker(
                self, (leased,), {}, context_data=thread, handle_result=done
            )
        except ContainerBeingKilled:
            self._leave(account)  # the lease ends by itself

    def _leave(self, account: str) -> None:
        self.busy -= 1
        self.accounts[account] -= 1
        if not self.accounts[account]:
            del self.accounts[account]

    def _done(self, result: Any, exc_info: Any) -> tuple[Any, Any]:
        if exc_info is not None:
            log.error("sending failed, its lease will end", exc_info=exc_info)
        if self.wake_at is not None and (self.busy <= self.wake_at or self.others_wait):
            wake(self.container, self.wakes)
        return result, exc_info

    def wake_in(self, seconds: float) -> None:
        """Have the loop run again after so many seconds, or as was said before."""
        if not self._wakes_soon:
            self._wakes_soon = True
            eventlet.spawn_after(seconds, self._wake_now)

    def _wake_now(self) -> None:
        self._wakes_soon = False
        wake(self.container, self.wakes)


def sender(wakes: str, task: str = "send notification") -> Callable[[Method], Method]:
    """Decorate the method that sends one leased notification, or delivery."""
    decorator: Callable[[Method], Method] = Sender.decorator(wakes=wakes, task=task)
    return decorator


@dataclass(frozen=True)
class Others:
    """Places for the emails of other accounts than those that have many."""

    free: int
    beside: Beside


class SendSlots:
    """The senders of this process: how many are free, and since when nobody may send.

    While more is due than there are places, they are filled when half of them are free, and not one by one: so one
    transaction leases many, and what was leased together asks, marks and records together.
    """

    def __init__(
        self, size: int, entrypoint: Sender, is_behind: Callable[[], bool] = lambda: False
    ) -> None:
        """`is_behind` tells whether events wait that are not written down yet."""
        self._size = size
        self._entrypoint = entrypoint
        self._is_behind = is_behind
        self._closed_until: dt.datetime | None = None
        self._others_at: dt.datetime | None = None
        """When others may be looked for again."""
        self._held = 0
        """Places that are taken by nothing that has an end: kept while it is looked for what is due, or reserved."""

    def free(self, now: dt.datetime, *, keep: bool = False) -> int:
        """How many more emails may start now; none while SendGrid asks for patience. With `keep`, without the places that are
        for `for_others` alone."""
        if self._is_closed(now):
            return 0
        busy, wake_at = self._entrypoint.busy, self._entrypoint.wake_at
        room = self._room() if keep else self._size
        if busy >= room:
            if busy - self._held >= room:
                # The room may have shrunk since they began: what finds no place now is waited for, and looked for.
                self._entrypoint.wake_at = self._size // 2
            return 0
        if wake_at is not None and busy > min(wake_at, max(1, room // 2)):
            return 0
        return room - busy

    def _room(self) -> int:
        """The places for what has been due longest, whoever's it is: all, while there are several accounts without those for others."""
        if not self._entrypoint.several:
            return self._size
        if self._is_behind():
            return max(1, self._size // BEHIND_PART)
        return self._size - self._size // KEPT_PART

    def _is_closed(self, now: dt.datetime) -> bool:
        return self._closed_until is not None and now < self._closed_until

    def for_others(self, now: dt.datetime) -> Others | None:
        """While more is due than there are places: the places that are free, for accounts that don't have half of their share of all places, so
        that what one account has due, or how slow its Stripe is, holds up its own emails alone. None: there are no such places, or others were
        looked for a moment ago, which may read through all that is due; then the loop is run again when that moment is over. `note_others` has
        to follow."""
        entrypoint = self._entrypoint
        free = self._size - entrypoint.busy
        if entrypoint.wake_at is None or free <= 0 or self._is_closed(now):
            return None
        if self._others_at is not None and now < self._others_at:
            entrypoint.wake_in((self._others_at - now).total_seconds())
            return None
        self._others_at = now + OTHERS_EVERY
        places = self._room() if self._is_behind() else self._size
        accounts = len(entrypoint.accounts) + 1
        half = places / accounts / 2
        busy = frozenset(one for one, many in entrypoint.accounts.items() if many > half)
        return Others(free, Beside(busy, max(1, self._size // accounts // 2)))

    def heard(self, accounts: Collection[str]) -> None:
        """Emails of these accounts may have been written down just now. One of which nothing is under way doesn't wait behind a flood for
        its turn by age: others are looked for as soon as any email ends."""
        for account in sorted(accounts):
            self._entrypoint.note(account)
        if not self._entrypoint.accounts.keys() >= set(accounts):
            self._entrypoint.others_wait = True

    def note_others(self, wanted: int, got: int, took: dt.timedelta) -> None:
        """Remember whether other accounts had more due than there were places for them, and let what it took to look for them decide when
        it is done again."""
        self._entrypoint.others_wait = got == wanted
        if self._others_at is not None:
            pause = min(max(OTHERS_EVERY, took * OTHERS_PART), OTHERS_AT_LATEST)
            self._others_at += pause - OTHERS_EVERY

    @contextmanager
    def held(self, places: int) -> Iterator[None]:
        """Keep places that are free while it is looked what is due for them: what is written down meanwhile doesn't get them."""
        self._hold(places)
        try:
            yield
        finally:
            self._hold(-places)

    def _hold(self, places: int) -> None:
        self._held += places
        self._entrypoint.busy += places

    def note_lease(self, wanted: int, got: int) -> None:
        """Remember whether there was more to lease than there were places."""
        self._entrypoint.wake_at = self._size // 2 if got == wanted else None

    def reserve(self, now: dt.datetime, wanted: int) -> int:
        """Keep up to `wanted` free places for emails that are being written down; how many. None while others wait for a
        place, whose turn it is. What is reserved has to be filled."""
        if self._entrypoint.wake_at is not None:
            return 0
        reserved = min(wanted, self.free(now, keep=True))
        self._hold(reserved)
        return reserved

    def fill(self, reserved: int, leased: Sequence[Leased]) -> None:
        """Send these in the places that were reserved, and give the others back."""
        self._hold(-reserved)
        for one in leased:
            self.take(one)
        if leased and self._entrypoint.busy >= self._room():
            self.note_lease(len(leased), len(leased))

    def close_until(self, moment: dt.datetime) -> None:
        """Start nothing before `moment` (a 429's reset)."""
        self._closed_until = max(moment, self._closed_until or moment)

    def take(self, leased: Leased) -> None:
        """Send one notification in a place of its own."""
        self._entrypoint.post(leased)


class SendSlotsProvider(DependencyProvider):
    """Injects the process's `SendSlots` of one `Sender`; a setting says how many there are."""

    _places: SendSlots | None = None

    def __init__(self, method: str, setting: str) -> None:
        """`method` is the `Sender`'s, `setting` the field of the settings with the number."""
        self.method, self.setting = method, setting

    def get_dependency(self, worker_ctx: Any) -> SendSlots:
        if self._places is None:
            entrypoint = entrypoint_of(self.container, Sender, self.method)
            size = getattr(self.container.config["settings"], self.setting)
            readers = [
                each for each in self.container.entrypoints if isinstance(each, BatchConsumer)
            ]
            self._places = SendSlots(
                size, entrypoint, lambda: any(each.is_behind for each in readers)
            )
        return self._places
