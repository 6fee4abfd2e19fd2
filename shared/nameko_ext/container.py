"""nameko's service container: one correlation id on every log line of a piece of work, and less work around the work.

The id starts at a webhook, a click or a call, travels in events and in nameko's context headers, and so joins
what three services say about one thing.

Around each call nameko formats log lines that nobody reads, makes a call id, takes the time four times, has all providers make what
they inject, and asks each four times whether it has something to do. Here each call asks only those providers that have, gets what it
asks for when it first does, and what already has a green thread of its own (a request over HTTP, a call) runs in it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final, TypeVar

import eventlet
import structlog
from nameko.containers import ServiceContainer, WorkerContext
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint

from shared import tracing
from shared.contracts.accounts import account_shown

KEY: Final = "correlation_id"
ACCOUNT: Final = "stripe_account"
"""In a worker's context: the Stripe account that its event is about, for each of its log lines; empty: the own one."""

LOOK_SECONDS: Final = 0.02
"""How often whoever waits for the end of all work looks for it."""

Kind = TypeVar("Kind", bound=Entrypoint)
Handler = Callable[..., tuple[Any, Any]]
"""Gets a worker's context, its result and what it raised, and returns the latter two."""


def entrypoint_of(container: ServiceContainer, kind: type[Kind], method: str) -> Kind:
    """The entrypoint of this kind that calls the method. Raises LookupError where the service has none."""
    for one in container.entrypoints:
        if isinstance(one, kind) and one.method_name == method:
            return one
    raise LookupError(f"{container.service_name} has no {kind.__name__.lower()} {method!r}")


def new_correlation_id() -> str:
    """A random id for work that begins here. It tells work apart and protects nothing."""
    return f"{random.getrandbits(64):016x}"


class Workers(eventlet.GreenPool):
    """A pool that counts those who wait for a place among its workers.

    Where all its places fall free at one moment (callers of a batch are woken together), GreenPool takes itself for empty until those
    who waited have begun, and whoever waited for its end then waits indefinitely.
    """

    @property
    def is_idle(self) -> bool:
        """Whether nobody works, or is about to."""
        idle: bool = self.sem.balance == self.size
        return idle

    def waitall(self) -> None:
        """Return when it is idle."""
        while not self.is_idle:
            eventlet.sleep(LOOK_SECONDS)


@contextmanager
def _place_in(pool: eventlet.GreenPool) -> Iterator[Any]:
    """The calling green thread as one of the pool's, while it lasts: what `GreenPool.spawn` does around a new one."""
    here = eventlet.getcurrent()
    pool.sem.acquire()
    if not pool.coroutines_running:
        pool.no_coros_running = eventlet.Event()
    pool.coroutines_running.add(here)
    try:
        yield here
    finally:
        pool._spawn_done(here)


class _Injected:
    """An attribute of a service that its provider makes when a worker first asks for it: most ask for few of many."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def __get__(self, service: Any, owner: type) -> Any:
        made = self._provider.get_dependency(service.worker_ctx)
        service.__dict__[self._provider.attr_name] = made
        return made


class CorrelatedContainer(ServiceContainer):
    """Binds the correlation id (and the service's name) of a worker's context to its green thread's log."""

    def __init__(self, service_cls: type, config: Any) -> None:
        super().__init__(service_cls, config)
        self._worker_pool = Workers(self.max_workers)

    @property
    def workers(self) -> Workers:
        """The pool whose size is `max_workers`: how many run, are free, wait."""
        return self._worker_pool

    def run_here(
        self,
        entrypoint: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context_data: dict[str, Any],
        handle_result: Handler | None = None,
    ) -> Any:
        """Run a service method as a worker of the pool, but in the calling green thread; returns its result.

        Counts against `max_workers`, is waited for by stop() and ended by kill() like any worker. The calling
        green thread must be one that ends when it is killed. Raises what the method raises, unless that is left to `handle_result`.
        """
        if self._being_killed:
            raise ContainerBeingKilled
        with _place_in(self.workers) as here:
            worker_ctx = WorkerContext(self, None, entrypoint, args, kwargs, data=context_data)
            threads = self._worker_threads
            threads[worker_ctx] = here
            try:
                result, exc_info = self._traced(worker_ctx, handle_result)
            finally:
                threads.pop(worker_ctx, None)
        try:
            if exc_info is not None and handle_result is None:
                raise exc_info[1]
            return result
        finally:
            exc_info = None  # it holds this frame, which would hold it

    def _run_worker(self, worker_ctx: Any, handle_result: Handler | None) -> None:
        self._traced(worker_ctx, handle_result)

    def _traced(self, worker_ctx: Any, handle_result: Handler | None) -> tuple[Any, Any]:
        # An entrypoint whose work is worth a span has a method `span`. (A request over HTTP has its own, around more.)
        begin = getattr(worker_ctx.entrypoint, "span", None) if tracing.is_on() else None
        with begin(worker_ctx) if begin else tracing.NOTHING as span:
            result, exc_info = self._work(worker_ctx, handle_result)
            if exc_info is not None:
                span.failed(exc_info[0].__name__)
        try:
            return result, exc_info
        finally:
            exc_info = None

    def _work(self, worker_ctx: Any, handle_result: Handler | None) -> tuple[Any, Any]:
        """nameko's life of a worker: inject, set up, call, hand over the result, tear down."""
        data = worker_ctx.data
        correlation_id = data.get(KEY)
        if correlation_id is None:
            correlation_id = data[KEY] = new_correlation_id()
        bound = structlog.contextvars.bind_contextvars(
            correlation_id=correlation_id,
            service=self.service_name,
            **account_shown(data.get(ACCOUNT, "")),
        )
        try:
            service = self._injected_cls()
            service.worker_ctx = worker_ctx
            for provider in self._with("worker_setup"):
                provider.worker_setup(worker_ctx)
            result = exc_info = None
            try:
                method = getattr(service, worker_ctx.entrypoint.method_name)
                result = method(*worker_ctx.args, **worker_ctx.kwargs)
            except Exception:  # the entrypoints in shared/ log it, without the arguments
                exc_info = sys.exc_info()
            if handle_result is not None:
                result, exc_info = handle_result(worker_ctx, result, exc_info)
            for provider in self._with("worker_result"):
                provider.worker_result(worker_ctx, result, exc_info)
            for provider in self._with("worker_teardown"):
                provider.worker_teardown(worker_ctx)
            return result, exc_info
        finally:
            exc_info = None
            structlog.contextvars.reset_contextvars(**bound)

    @cached_property
    def _injected_cls(self) -> Any:
        """The service's class, with what its providers inject."""
        injected = {each.attr_name: _Injected(each) for each in self.dependencies}
        return type(self.service_cls.__name__, (self.service_cls,), injected)

    def _with(self, hook: str) -> tuple[Any, ...]:
        return self._hooks[hook]

    @cached_property
    def _hooks(self) -> dict[str, tuple[Any, ...]]:
        """The providers that have something to do at each point of a worker's life."""
        return {
            hook: tuple(
                provider
                for provider in self.dependencies
                if getattr(type(provider), hook) is not getattr(DependencyProvider, hook)
            )
            for hook in ("worker_setup", "worker_result", "worker_teardown")
        }
