"""Entrypoints of looking at Stripe within the budget: at many invoices at once, and at what subscriptions cost."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import eventlet

from services.billing.domain.budget import Budget
from services.billing.domain.per_account import PerAccount
from services.billing.rpc.entrypoints import BillingEntrypoints
from services.billing.rpc.errors import served
from services.billing.workflows import invoice_reports as looking
from services.billing.workflows import pricing
from shared.contracts.accounts import OWN
from shared.contracts.deadlines import STRIPE_AT_MANY
from shared.contracts.rpc.billing import SourcedInvoiceState
from shared.contracts.rpc.errors import InvalidArgument
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.rpc import rpc
from shared.nameko_ext.side_by_side import run_concurrently

MOST_LOOKS: Final = 100
Seen = TypeVar("Seen")


class Looking(BillingEntrypoints):
    """What the notifier asks before it writes, and the portal for its page."""

    looks = OfProcess(lambda settings: PerAccount(lambda: Budget(settings.stripe_look_rate)))
    """The process's budgets of requests to Stripe that look at invoices, one an account."""

    @rpc
    def invoice_states(
        self, invoice_ids: list[str], account: str = OWN
    ) -> dict[str, SourcedInvoiceState]:
        """Invoices as they stand, by their ids, at most 100. Where Stripe was asked too often lately (STRIPE_LOOK_RATE) or
        did not answer, they are told from its webhooks. What neither knows is left out.
        """
        if len(invoice_ids) > MOST_LOOKS:
            raise InvalidArgument(f"invoice_ids: expected at most {MOST_LOOKS}")
        at = served(account, self.accounts.directory)
        return looking.invoice_states(
            self.database,
            self.gateways.at(at),
            self.looks.at(at),
            invoice_ids,
            side_by_side=_side_by_side,
            run_concurrently=run_concurrently,
        )

    @rpc
    def subscription_prices(
        self, subscription_ids: list[str], account: str = OWN
    ) -> dict[str, pricing.Price]:
        """What subscriptions cost by Stripe's preview of the next invoice, by their ids, at most 100. Left out: what Stripe was
        not asked now (STRIPE_LOOK_RATE, of which half is left to emails), or did not answer.
        """
        if len(subscription_ids) > MOST_LOOKS:
            raise InvalidArgument(f"subscription_ids: expected at most {MOST_LOOKS}")
        at = served(account, self.accounts.directory)
        return pricing.subscription_prices(
            self.gateways.at(at),
            self.looks.at(at),
            subscription_ids,
            side_by_side=_side_by_side,
        )


def _side_by_side(look: Callable[[str], Seen | None], ids: Sequence[str]) -> dict[str, Seen | None]:
    """Look at all at the same time, as far as that is done in `STRIPE_AT_MANY`. One alone is looked at here, at once: what was begun to be
    done beside it waits until Stripe is asked."""
    found: dict[str, Seen | None] = {}

    def one(id: str) -> None:
        found[id] = look(id)

    if len(ids) == 1:
        with eventlet.Timeout(STRIPE_AT_MANY, False):
            one(ids[0])
        return found
    # Log lines and spans of each look belong to the call.
    threads = [eventlet.spawn(contextvars.copy_context().run, one, id) for id in ids]
    with eventlet.Timeout(STRIPE_AT_MANY, False):
        for thread in threads:
            thread.wait()
    for thread in threads:
        thread.kill()
    return found
