"""What the adapters of the other services have in common: questions asked together, and moments with a zone."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

from nameko.extensions import DependencyProvider

from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.batching import Batcher
from shared.nameko_ext.rpc import RpcClient, RpcTimeout, RpcUnavailable

EARLY_SECONDS: Final = 1.0
"""How old an answer may be that was asked for early. It would be looked at in a moment, and is not kept beyond."""


class EarlyFetch:
    """Asks about one thing, together with others: when it is called, or before that, while something else has to be waited for."""

    def __init__(
        self, fetch: Batcher[Any, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`fetch` does it for one thing, together with others."""
        self._fetch, self._clock = fetch, clock
        self._early: dict[Any, tuple[float, Callable[[], Any]]] = {}
        """What was asked for early and not looked at, the oldest first: when, and how to wait for its answer."""

    def begin(self, name: Any) -> None:
        """Ask about it now: who calls within `EARLY_SECONDS` gets the answer. What was asked before, of something that has happened to it
        since, is forgotten."""
        now = self._clock()
        self._early.pop(name, None)
        for old in [one for one, (at, _) in self._early.items() if now - at > EARLY_SECONDS]:
            del self._early[old]
        self._early[name] = now, self._fetch.begin(name)

    def ask(self, name: Any) -> Callable[[], Any]:
        """Ask, if that was not begun before, and go on: what to call for the answer, which waits for it, and raises what the question raised."""
        began, answer = self._early.pop(name, (-math.inf, None))
        if answer is None or self._clock() - began > EARLY_SECONDS:
            return self._fetch.begin(name)
        return answer

    def __call__(self, name: Any) -> Any:
        """The answer. Raises what the question raised."""
        return self.ask(name)()


class Fetch(DependencyProvider):
    """Injects an `EarlyFetch` that asks another service about many things in one call, over a proxy of the batch's own."""

    def __init__(
        self,
        name: str,
        target_service: str,
        work: Callable[[Any, list[Any]], list[Any]],
        *,
        apart: Callable[[Any], Hashable] | None = None,
        **bounds: int,
    ) -> None:
        """`work` gets a proxy of `target_service`, of which the service has an `RpcClient`, and the names; with `apart`, those of
        one group (see `Batcher`)."""
        self.label, self.target_service, self.work, self.bounds = name, target_service, work, bounds
        self.apart = apart

    def setup(self) -> None:
        client = next(
            each
            for each in self.container.dependencies
            if isinstance(each, RpcClient) and each.target_service == self.target_service
        )

        def ask(names: list[Any]) -> list[Any]:
            return self.work(client.proxy_for(self.label), names)

        away = (RemoteFault, RpcTimeout, RpcUnavailable, UnreadableAnswer)
        batcher: Batcher[Any, Any] = Batcher(
            self.label, ask, fails_all=away, apart=self.apart, span=True, **self.bounds
        )
        self.fetch = EarlyFetch(batcher)

    def get_dependency(self, worker_ctx: Any) -> EarlyFetch:
        return self.fetch


def aware(moment: dt.datetime | None) -> dt.datetime | None:
    """A moment of an answer, in UTC where it names no zone."""
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
