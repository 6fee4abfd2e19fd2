"""billing's RPC methods for the import of a Stripe account; mixed into the service."""

from __future__ import annotations

import time
from typing import Final

from services.billing.adapters.stripe.lists import StripeLists
from services.billing.domain.accounts import Way
from services.billing.queries import imports, reads
from services.billing.queries.imports import Progress
from services.billing.rpc.entrypoints import MOST_ROWS, BillingEntrypoints
from services.billing.rpc.errors import served, wire_errors, within
from services.billing.stripe_events.imports import Listed, Run
from services.billing.workflows import importing
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.imports import Holder, ImportFinding, ImportPlan, ImportProgress
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.rpc import audited_rpc, rpc

PLAN_SECONDS: Final = 90.0
"""Some thirty reads."""


class Importing(BillingEntrypoints):
    """The import of an account, a page a call: whoever drives it may die anywhere, and another one goes on."""

    looks: OfProcess

    @rpc
    def import_plan(self, account: str = OWN) -> ImportPlan:
        """What the import of an account will read, and what its key may not. Costs up to thirty reads: Stripe tells no totals, so the
        lists are sampled, and all numbers are about right at best. May take a minute: where Stripe says that there are too many requests it
        is waited for."""
        at = served(account, self.accounts.directory)
        gateway = self.gateways.at(at)
        with wire_errors(), within(PLAN_SECONDS):
            plan = importing.plan(self.database, StripeLists(gateway), at, pause=time.sleep)
        with self.database.reading() as session:
            pool = reads.pool_of(session, self.settings.stripe_read_pool, utc_now().date())
        return ImportPlan(
            livemode=gateway.livemode,
            lacking=[one.value for one in plan.lacking],
            customers=plan.sizes.get(Listed.CUSTOMERS, 0),
            subscriptions=plan.sizes.get(Listed.SUBSCRIPTIONS, 0),
            invoices=plan.sizes.get(Listed.INVOICES, 0),
            reads=plan.reads,
            pool=pool.size,
            pool_used=pool.used,
            own_key=gateway.way is Way.OWN_KEY,
            unfinished=_progress(plan.unfinished) if plan.unfinished else None,
        )

    @audited_rpc("account")
    def import_page(self, holder: Holder, account: str = OWN) -> ImportProgress:
        """Take in one page of an account's customers, subscriptions or open invoices; call again with the same `holder` until `what` is
        `done`, each time after the wait that the answer names. Goes on with what was begun; after the end, another `holder` begins anew.
        ImportRunning: another one is at it. It takes reads from live work's budget (STRIPE_LOOK_RATE) while half is left, and one in four
        of them in any case; `held` says what has the way."""
        at = served(account, self.accounts.directory)
        gateway = self.gateways.at(at)
        budget = self.looks.at(at) if self.settings.stripe_look_rate else None
        run = Run(at, gateway.livemode, "", utc_now())
        with wire_errors(), within(importing.PAGE_SECONDS):
            step = importing.step(
                self.database, StripeLists(gateway), budget, run, holder=holder, clock=utc_now
            )
        self.wake_relay()
        return _progress(step.progress, step.wait, step.held)

    @rpc
    def import_findings(
        self, account: str = OWN, after: str = "", limit: int = 100
    ) -> list[ImportFinding]:
        """What is worth telling of the customers that the account's last import met, by their ids, those after `after`. `limit` is 1 to
        500. Kept for ninety days."""
        check_limit(limit, MOST_ROWS)
        with self.database.reading() as session:
            found = imports.findings(session, Account(account), after, limit)
        return [ImportFinding(stripe_customer_id=id, findings=words) for id, words in found]


def _progress(progress: Progress, wait: float = 0.0, held: str | None = None) -> ImportProgress:
    return ImportProgress.of(progress, wait=wait, held=held)
