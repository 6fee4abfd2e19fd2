"""Entrypoints around what only billing knows: what failed, what subscriptions cost, customers' rights."""

from __future__ import annotations

from typing import Final

from services.portal.adapters.billing import RpcBilling
from services.portal.domain.subscribed import ShownSubscriptions
from services.portal.metrics import CONFIGURATION_MISSING
from services.portal.web.entrypoints import PortalEntrypoints
from services.portal.workflows import billing_sync as learning
from shared.clock import utc_now
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.telemetry import get_logger

log = get_logger(__name__)


AFTER_MAIL_SECONDS: Final = 0.5
"""Billing is asked what failed so long after a failure came: an email about it asks billing and the portal at this moment, and goes first.
In a storm it is a round for all that failed in this time. Each round is a statement over three indexes and a call, however little it learns:
Stripe is asked about a few invoices a second, whoever wants to know."""


class Learning(PortalEntrypoints):
    """What the page needs of billing."""

    wake_cards = Waker("learn_cards", after=AFTER_MAIL_SECONDS)
    wake_rights = Waker("learn_rights")
    wake_prices = Waker("learn_prices")
    shown = OfProcess(lambda settings: ShownSubscriptions())
    """Those that this process has shown, until billing is asked about them."""

    @loop(poll=5.0)
    def learn_cards(self) -> bool:
        """Ask billing what failed, once a failure, and whether the payment after it takes days; woken by each event."""
        done = learning.learn_cards(self.db, RpcBilling(self.billing), utc_now())
        if done.problem is not None:
            log.warning("failure not learnt", reason=done.problem)
        return done.more

    @loop(poll=5.0)
    def learn_prices(self) -> bool:
        """Ask billing what the subscriptions cost that pages have shown; woken by each page that shows a new one."""
        done = learning.learn_prices(self.db, RpcBilling(self.billing), self.shown, utc_now())
        if done.problem is not None:
            log.warning("prices not learnt", reason=done.problem)
        return done.more

    @loop(poll=15.0)
    def learn_rights(self) -> bool:
        """Ask billing what each business's customers may do on Stripe's page by themselves."""
        done = learning.learn_rights(self.db, RpcBilling(self.billing), utc_now())
        for business_id in done.missing:
            CONFIGURATION_MISSING.labels("check").inc()
            log.error("portal configuration missing", business_id=business_id)
        if done.problem is not None:
            log.warning("rights not learnt", reason=done.problem)
        return done.more
