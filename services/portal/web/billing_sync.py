"""Entrypoints around what only billing knows: the hosted invoice of a click, what failed, customers' rights."""

from __future__ import annotations

from typing import Final

from werkzeug.wrappers import Request

from services.portal.adapters.billing import RpcBilling, RpcBillingPages
from services.portal.handlers import resolved_links
from services.portal.handlers.resolved_links import ResolvedLink
from services.portal.metrics import CONFIGURATION_MISSING, CONFIRMATIONS
from services.portal.ports import BillingUnavailable
from services.portal.web import views
from services.portal.web.activity_log import ShownLog
from services.portal.web.entrypoints import (
    RETRY_AFTER_SECONDS,
    PortalEntrypoints,
    link_required,
    utc_now,
)
from services.portal.web.responses import answer, locale_for, redirect
from services.portal.workflows import billing_sync as learning
from shared.nameko_ext.http_answers import Reply
from shared.nameko_ext.loops import Waker, loop
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
    shown = ShownLog()

    @link_required("POST", "/me/<token>/confirm/<invoice_id>")
    def confirm_payment(self, request: Request, visit: ResolvedLink, invoice_id: str) -> Reply:
        """On to Stripe's page of one invoice, for the bank's confirmation; its address is made for this click."""
        now = utc_now()
        snapshot, origins = visit.snapshot, self.wiring.session_origins
        locale = locale_for(request, visit)
        if seconds := self.wiring.limiter.take(snapshot.customer_id):
            CONFIRMATIONS.labels("too_many").inc()
            page = views.unavailable(
                snapshot.business, visit.token, None, locale, origins, invoice_id=invoice_id
            )
            return answer(page, 429, Retry_After=str(seconds))
        try:
            address = resolved_links.confirm(
                RpcBillingPages(self.billing, origins), snapshot, invoice_id
            )
        except BillingUnavailable as error:
            CONFIRMATIONS.labels(error.reason).inc()
            log.warning("invoice not opened", reason=error.reason, customer_id=snapshot.customer_id)
            page = views.unavailable(
                snapshot.business, visit.token, None, locale, origins, invoice_id=invoice_id
            )
            return answer(page, 503, Retry_After=str(RETRY_AFTER_SECONDS))
        if address is None:  # paid meanwhile, or none of theirs: their page says what is true
            CONFIRMATIONS.labels("nothing to confirm").inc()
            return redirect(self.wiring.links.url(visit.token))
        CONFIRMATIONS.labels("ok").inc()
        self._note_click(visit, now)
        return redirect(address)

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
