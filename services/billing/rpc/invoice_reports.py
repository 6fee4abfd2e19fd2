"""Entrypoints of looking at Stripe within the budget: at many invoices at once, and at what subscriptions cost."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any, Final

import eventlet
from nameko.extensions import DependencyProvider

from services.billing.domain.budget import Budget
from services.billing.ports import PaymentGateway
from services.billing.workflows import invoice_reports as looking
from services.billing.workflows import pricing
from shared.contracts.deadlines import STRIPE_AT_MANY
from shared.nameko_ext.database import Database
from shared.nameko_ext.rpc import InvalidArgument, rpc

MOST_LOOKS: Final = 100


class LookBudget(DependencyProvider):
    """Injects the process's budget of requests to Stripe that look at invoices."""

    def setup(self) -> None:
        self.budget = Budget(self.container.config["settings"].stripe_look_rate)

    def get_dependency(self, worker_ctx: Any) -> Budget:
        return self.budget


class Looking:
    """What the notifier asks before it writes, and the portal for its page."""

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

    @rpc
    def subscription_prices(self, subscription_ids: list[str]) -> dict[str, Any]:
        """What subscriptions cost by Stripe's preview of the next invoice, by their ids, at most 100: `{"upcoming", "pricing",
        "amount", "currency", "interval", "interval_count", "discounted", "collection_paused", "collection_resumes_at",
        "trial_ends_at", "next_invoice": {"amount", "recurring", "discount", "until"}}`. The first as in the event
        `subscription.updated`; `recurring` is the fixed part with its discounts, and `discount` how long these last: `once`,
        `repeating`, `forever`, `mixed`. `upcoming` false, alone: there is no next invoice. Left out: what Stripe was not asked
        now (STRIPE_LOOK_RATE, of which half is left to emails), or did not answer.
        """
        if len(subscription_ids) > MOST_LOOKS:
            raise InvalidArgument(f"subscription_ids: expected at most {MOST_LOOKS}")
        return pricing.subscription_prices(
            self.gateway, self.looks, subscription_ids, side_by_side=_side_by_side
        )


def _side_by_side(look: looking.Look, ids: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """Look at all at the same time, as far as that is done in `STRIPE_AT_MANY`."""
    found: dict[str, dict[str, Any] | None] = {}

    def one(id: str) -> None:
        found[id] = look(id)

    # Log lines and spans of each look belong to the call.
    threads = [eventlet.spawn(contextvars.copy_context().run, one, id) for id in ids]
    with eventlet.Timeout(STRIPE_AT_MANY, False):
        for thread in threads:
            thread.wait()
    for thread in threads:
        thread.kill()
    return found
