"""nameko's service container, with one correlation id on every log line of a piece of work.

The id starts at a webhook, a click or a call, travels in events and in nameko's context headers, and so joins
what three services say about one thing.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import structlog
from nameko.containers import ServiceContainer

KEY: Final = "correlation_id"


def new_correlation_id() -> str:
    """A random id for work that begins here."""
    return secrets.token_hex(8)


class CorrelatedContainer(ServiceContainer):
    """Binds the correlation id (and the service's name) of a worker's context to its green thread's log."""

    def _run_worker(self, worker_ctx: Any, handle_result: Any) -> None:
        correlation_id = worker_ctx.data.setdefault(KEY, new_correlation_id())
        with structlog.contextvars.bound_contextvars(
            correlation_id=correlation_id, service=self.service_name
        ):
            super()._run_worker(worker_ctx, handle_result)
