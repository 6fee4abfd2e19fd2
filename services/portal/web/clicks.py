"""What customers press: on to a page of Stripe's that is made for the click, or for a fresh link."""

from __future__ import annotations

from typing import Any

from babel import Locale

from services.portal.adapters.billing import RpcBillingPages
from services.portal.adapters.notifier import RpcFreshLinkMailer
from services.portal.domain.activity import click
from services.portal.domain.people import FRESH_LINK_EVERY
from services.portal.handlers import resolved_links
from services.portal.handlers.resolved_links import ResolvedLink
from services.portal.metrics import (
    BILLING_OPENED,
    CONFIGURATION_MISSING,
    CONFIRMATIONS,
    FRESH_LINKS,
)
from services.portal.ports import BillingUnavailable, MailUnavailable
from services.portal.web import views
from services.portal.web.entrypoints import (
    RETRY_AFTER_SECONDS,
    PortalEntrypoints,
    link_required,
)
from services.portal.web.responses import answer, locale_for, parse_source, redirect
from services.portal.workflows.billing_sync import MISSING
from shared.clock import utc_now
from shared.contracts.accounts import account_shown
from shared.nameko_ext.http_answers import Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.telemetry import get_logger

log = get_logger(__name__)


class Clicks(PortalEntrypoints):
    """What customers press on the page."""

    @link_required("POST", "/me/<token>/billing")
    def open_billing(self, request: HttpRequest, visit: ResolvedLink) -> Reply:
        """On to a Stripe page that is made for this click."""
        now = utc_now()
        snapshot, own_page = visit.snapshot, self.wiring.links.url(visit.token)
        if not snapshot.can_manage_billing:  # unlinked since the page was drawn
            return redirect(own_page)
        came_from = parse_source(request.form.get("from"))
        locale = locale_for(request, visit)
        if seconds := self.wiring.limiter.take(snapshot.customer_id):
            BILLING_OPENED.labels("too_many").inc()
            return self._not_opened(429, seconds, visit, locale, came_from)
        try:
            address = resolved_links.open_billing(
                RpcBillingPages(self.billing, self.wiring.session_origins),
                snapshot,
                return_url=own_page,
                came_from=came_from,
                locale=str(locale).replace("_", "-"),
            )
        except BillingUnavailable as error:
            BILLING_OPENED.labels(error.reason).inc()
            log.warning(
                "billing page not opened",
                reason=error.reason,
                stripe_customer_id=snapshot.platform_stripe_customer_id,
                **account_shown(snapshot.account),
            )
            self.looks.add_click(click(snapshot.customer_id, "billing_unavailable", now))
            lasting = error.reason == MISSING
            if lasting:
                CONFIGURATION_MISSING.labels("click").inc()
            return self._not_opened(
                503, RETRY_AFTER_SECONDS, visit, locale, came_from, lasting=lasting
            )
        BILLING_OPENED.labels("ok").inc()
        self._note_click(visit, now)
        return redirect(address)

    @link_required("POST", "/me/<token>/confirm/<invoice_id>")
    def confirm_payment(self, request: HttpRequest, visit: ResolvedLink, invoice_id: str) -> Reply:
        """On to Stripe's page of one invoice, for the bank's confirmation; its address is made for this click."""
        now = utc_now()
        snapshot, locale = visit.snapshot, locale_for(request, visit)
        if seconds := self.wiring.limiter.take(snapshot.customer_id):
            CONFIRMATIONS.labels("too_many").inc()
            return self._not_opened(429, seconds, visit, locale, invoice_id=invoice_id)
        try:
            address = resolved_links.confirm(
                RpcBillingPages(self.billing, self.wiring.session_origins), snapshot, invoice_id
            )
        except BillingUnavailable as error:
            CONFIRMATIONS.labels(error.reason).inc()
            log.warning("invoice not opened", reason=error.reason, customer_id=snapshot.customer_id)
            return self._not_opened(503, RETRY_AFTER_SECONDS, visit, locale, invoice_id=invoice_id)
        if address is None:  # paid meanwhile, or none of theirs: their page says what is true
            CONFIRMATIONS.labels("nothing to confirm").inc()
            return redirect(self.wiring.links.url(visit.token))
        CONFIRMATIONS.labels("ok").inc()
        self._note_click(visit, now)
        return redirect(address)

    def _not_opened(
        self,
        status: int,
        again_in: int,
        visit: ResolvedLink,
        locale: Locale,
        came_from: str | None = None,
        **why: Any,
    ) -> Reply:
        """The page that offers to try again, in so many seconds."""
        page = views.unavailable(
            visit.snapshot.business,
            visit.token,
            came_from,
            locale,
            self.wiring.session_origins,
            **why,
        )
        return answer(page, status, Retry_After=str(again_in))

    @link_required("POST", "/me/<token>/fresh-link", also_replaced=True)
    def mail_fresh_link(self, request: HttpRequest, visit: ResolvedLink) -> Reply:
        """Mail the current link to the address on file; the holder of an old link may ask for it."""
        now = utc_now()
        if visit.current:
            return redirect(self.wiring.links.url(visit.token))
        snapshot = visit.snapshot
        locale = locale_for(request, visit)
        with self.db.transaction() as session:
            taken = resolved_links.take_fresh_link(session, snapshot.customer_id, now)
        if not taken:
            FRESH_LINKS.labels("already").inc()
            page = views.fresh_link(snapshot, locale, outcome="already")
            return answer(page, 429, Retry_After=str(int(FRESH_LINK_EVERY.total_seconds())))
        try:
            RpcFreshLinkMailer(self.notifier).send_fresh_link(snapshot.customer_id)
        except MailUnavailable as error:
            FRESH_LINKS.labels(error.reason).inc()
            log.warning(
                "fresh link not sent", reason=error.reason, customer_id=snapshot.customer_id
            )
            with self.db.transaction() as session:
                resolved_links.give_back_fresh_link(session, snapshot.customer_id, now)
            page = views.fresh_link(snapshot, locale, outcome="failed")
            return answer(page, 503, Retry_After=str(RETRY_AFTER_SECONDS))
        FRESH_LINKS.labels("ok").inc()
        self.looks.add_click(click(snapshot.customer_id, "fresh_link", now))
        return answer(views.fresh_link(snapshot, locale, outcome="sent"))
