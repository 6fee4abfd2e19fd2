"""What the adapters of the other services have in common: questions asked together, and moments with a zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from typing import Any

from nameko.extensions import DependencyProvider

from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.batching import Batcher
from shared.nameko_ext.rpc import RpcClient, RpcTimeout, RpcUnavailable


class Fetch(DependencyProvider):
    """Injects a batcher that asks another service about many things in one call, over a proxy of the batch's own."""

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
        self.batcher = Batcher(
            self.label, ask, fails_all=away, apart=self.apart, span=True, **self.bounds
        )

    def get_dependency(self, worker_ctx: Any) -> Batcher[Any, Any]:
        return self.batcher


def aware(moment: dt.datetime | None) -> dt.datetime | None:
    """A moment of an answer, in UTC where it names no zone."""
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
