"""Entrypoints of reconciliation, and of the reads that it costs; mixed into the service."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from prometheus_client import Gauge

from services.billing.domain.accounts import Way
from services.billing.domain.errors import StripeKeyRefused
from services.billing.queries import reads
from services.billing.rpc.entrypoints import BillingEntrypoints
from services.billing.workflows import connected, reconciling
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, account_shown
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable
from shared.nameko_ext.loops import loop
from shared.nameko_ext.turns import Turn, turn
from shared.telemetry import get_logger

log = get_logger(__name__)

READS_BATCH: Final = 500
"""Accounts whose reads are stored in one transaction."""
PLACE_SECONDS: Final = 5.0
"""How long a round waits for a place, while as many accounts as may be are worked for; who is not reached is among the first of the
next round."""
READS_POOL = Gauge(
    "portico_stripe_read_pool", "Reads that the platform's key may do in thirty days"
)
READS_USED = Gauge(
    "portico_stripe_read_pool_used",
    "Reads of the last thirty days with the platform's key, of all accounts",
)

CONNECTED = Gauge(
    "portico_stripe_connected_accounts",
    "Accounts that are served with the platform's key, beside its own",
)


class Reconciling(BillingEntrypoints):
    """What the webhooks did not bring."""

    reconciled: Turn

    @loop(poll=60.0)
    def scheduled_reconcile(self) -> bool:
        """What the webhooks did not bring of the own account, by one replica, every quarter of an hour; and what makes connected
        accounts worth a read."""
        self._reconcile(OWN, reconciling.scheduled)
        directory = self.accounts.directory
        if len(directory):
            connected.note_causes(self.database, self.gateways.at(OWN), directory, utc_now())
        return False

    @loop(poll=60.0)
    def reconcile_accounts(self) -> bool:
        """The same of the other accounts, in turns, some at a time, so that one whose Stripe is slow holds up itself: those with keys of
        their own as often, connected ones where there is cause, within the platform's allowance of reads."""
        directory, turns = self.accounts.directory, self.reconciled
        if not len(directory):
            return False
        due = connected.due(
            self.database,
            directory,
            pool=self.settings.stripe_read_pool,
            clock=utc_now,
            beside=turns.in_hand,
        )
        while turns.wait_for_place(PLACE_SECONDS) and (found := next(due, None)) is not None:
            if not turns.begin(*found):
                connected.give_back(self.database, found[0])
        return False

    @turn()
    def reconcile_account(self, account: Account, way: Way) -> None:
        """Reconcile an account whose turn it is."""
        own_key = way is Way.OWN_KEY
        self._reconcile(account, reconciling.scheduled if own_key else reconciling.catch_up)

    def _reconcile(self, account: Account, walk: Callable[..., reconciling.Report | None]) -> None:
        try:
            report = walk(
                self.database, self.gateways.at(account), holder=secrets.token_hex(8), clock=utc_now
            )
        except (StripeUnavailable, StripeRefused) as error:
            say = log.error if isinstance(error, StripeKeyRefused) else log.warning
            say(
                "not reconciled",
                error=type(error).__name__,
                reason=str(error),
                **account_shown(account),
            )
            return
        if report and (report.new or report.swept):
            log.warning("webhooks were missed", **asdict(report), **account_shown(account))
            self.wake_relay()

    @loop(poll=30.0)
    def keep_reads(self) -> bool:
        """Store how often Stripe was read, in batches, and tell the metrics how much of the platform's allowance is used. What a
        process has read in the last half minute before it dies is not counted."""
        tally, today = self.gateways.reads, utc_now().date()
        counted = tally.take(READS_BATCH)
        try:
            with self.database.transaction() as session:
                reads.add_reads(session, counted)
        except Exception:
            for key, number in counted.items():
                tally.count(key, number)
            raise
        if len(counted) == READS_BATCH:
            return True
        with self.database.reading() as session:
            pool = reads.pool_of(session, self.settings.stripe_read_pool, today)
        directory = self.accounts.directory
        served = (one for one in directory if directory.why_not_served(one.account) is None)
        CONNECTED.set(sum(one.way is Way.CONNECTED for one in served))
        READS_POOL.set(pool.size)
        READS_USED.set(pool.used)
        return False
