"""Entrypoint of looking again at many invoices at once."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any, Final

import eventlet
from nameko.extensions import DependencyProvider

from services.billing.budget import Budget
from services.billing.handlers import looking
from services.billing.ports import PaymentGateway
from shared.database import Database
from shared.rpc import InvalidArgument, rpc

MOST_LOOKS: Final = 100
LOOK_SECONDS: Final = 1.8
"""All of a look at many invoices: the notifier waits 2.5 s, and should get what the webhooks told in that time too."""


class LookBudget(DependencyProvider):
    """Injects the process's budget of requests to Stripe that look at invoices."""

    def setup(self) -> None:
        self.budget = Budget(self.container.config["settings"].stripe_look_rate)

    def get_dependency(self, worker_ctx: Any) -> Budget:
        return self.budget


class Looking:
    """What the notifier asks before it writes."""

    database: Database
    gateway: PaymentGateway
    looks = LookBudget()

    @rpc
    def invoice_states(self, invoice_ids: list[str]) -> dict[str, Any]:
        """Invoices as they stand, by their ids, at most 100: `invoice_state` of each, with `source`. `stripe`: read just
        now. `webhooks`: Stripe was asked too often lately (STRIPE_LOOK_RATE) or did not answer; then there is no method,
        and of declines only `authentication_required` is known. What neither knows is left out.
        """
        if len(invoice_ids) > MOST_LOOKS:
            raise InvalidArgument(f"invoice_ids: expected at most {MOST_LOOKS}")
        return looking.invoice_states(
            self.database,
            self.gateway,
            self.looks,
            invoice_ids,
            side_by_side=_side_by_side,
        )


def _side_by_side(
    look: looking.Look, invoice_ids: Sequence[str]
) -> dict[str, dict[str, Any] | None]:
    """Look at all at the same time, as far as that is done in `LOOK_SECONDS`."""
    found: dict[str, dict[str, Any] | None] = {}

    def one(invoice_id: str) -> None:
        found[invoice_id] = look(invoice_id)

    # Log lines and spans of each look belong to the call.
    threads = [
        eventlet.spawn(contextvars.copy_context().run, one, invoice_id)
        for invoice_id in invoice_ids
    ]
    with eventlet.Timeout(LOOK_SECONDS, False):
        for thread in threads:
            thread.wait()
    for thread in threads:
        thread.kill()
    return found
