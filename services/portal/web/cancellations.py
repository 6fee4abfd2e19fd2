"""Entrypoints around requests to cancel: the customer asks, the business answers, the rest follows by itself."""

from __future__ import annotations

import time
from typing import Any, Final

from babel import Locale

from services.portal.adapters.billing import RpcBilling
from services.portal.adapters.notifier import RpcMail
from services.portal.domain.cancelling import Decision
from services.portal.handlers import cancellation_steps, cancelling
from services.portal.handlers.cancelling import Asking
from services.portal.handlers.resolved_links import ResolvedLink
from services.portal.metrics import ERRANDS, REQUESTS_AGE, REQUESTS_WAITING
from services.portal.queries import cancellation_requests
from services.portal.tokens.request_links import TOKEN
from services.portal.tokens.signing import BadToken
from services.portal.web import request_views
from services.portal.web.entrypoints import (
    PageNotFound,
    PortalEntrypoints,
    link_required,
    mangled,
)
from services.portal.web.responses import answer, choose_for_business, locale_for, redirect
from shared.clock import utc_now
from shared.contracts.rpc.portal import CancellationLinks
from shared.nameko_ext.http_answers import Later, Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.rpc import rpc
from shared.nameko_ext.web import http
from shared.telemetry import get_logger

log = get_logger(__name__)

LOUD_AFTER: Final = 5
"""A step that failed this often in a row is an error, no passing trouble."""


class Cancelling(PortalEntrypoints):
    """Cancelling with the business's approval."""

    wake_requests = Waker("carry_out_requests")

    @link_required("POST", "/me/<token>/cancellation/<int:ref>")
    def ask_to_cancel(self, request: HttpRequest, visit: ResolvedLink, ref: int) -> Reply:
        """The customer asks the business to end a subscription; a calm page says what happens next."""
        now = utc_now()
        snapshot = visit.snapshot
        subscription = cancelling.subscription_of(snapshot, ref)
        if subscription is None:
            raise PageNotFound
        outcome = self._write(lambda session: cancelling.ask(session, snapshot, subscription, now))
        if outcome is Asking.NOT_OFFERED:  # decided or ended since the page was drawn
            return redirect(self.wiring.links.url(visit.token))
        self.wake_requests()
        locale = locale_for(request, visit)
        page = request_views.asked(snapshot, subscription, visit.token, locale, outcome, utc_now())
        return answer(page)

    @http("GET", "/requests/<token>", refuse=mangled(TOKEN))
    def look_at_request(self, request: HttpRequest, token: str) -> Reply | Later:
        """What the business is asked, and both answers. Looking decides nothing: mail scanners look."""
        arrived = time.monotonic()
        said = self._said(token)
        if said is None:
            return self._nothing_here(request, arrived)
        with self.db.reading() as session:
            found = cancelling.look(session, said.request_id, utc_now())
        if found is None:
            return self._nothing_here(request, arrived)
        locale = self._locale(request, found)
        page = request_views.answer_request(
            found, self._tokens(found), locale, utc_now(), observed=self._observed(found)
        )
        return answer(page)

    @http("POST", "/requests/<token>", refuse=mangled(TOKEN))
    def answer_request(self, request: HttpRequest, token: str) -> Reply | Later:
        """The business approves or declines, once."""
        arrived = time.monotonic()
        said = self._said(token)
        if said is None:
            return self._nothing_here(request, arrived)
        now = utc_now()
        decision: Decision = said.decision
        with self.db.transaction() as session:
            decided = cancelling.decide(
                session,
                said.request_id,
                decision,
                now,
                installation_observes=self.wiring.observes,
            )
        if decided is None:
            return self._nothing_here(request, arrived)
        found, counted = decided
        if counted:
            log.info("request answered", request_id=found.request_id, answer=decision.value)
            self.wake_requests()
        page = request_views.answer_request(
            found,
            self._tokens(found),
            self._locale(request, found),
            now,
            just_now=counted,
            observed=self._observed(found),
        )
        return answer(page)

    def _observed(self, found: cancelling.Request) -> bool:
        return self.wiring.observes or found.observed

    def _said(self, token: str) -> Any:
        try:
            return self.wiring.request_links.read(token)
        except BadToken:
            return None

    def _tokens(self, found: cancelling.Request) -> dict[Decision, str]:
        links = self.wiring.request_links
        return {decision: links.token(found.request_id, decision) for decision in Decision}

    @staticmethod
    def _locale(request: HttpRequest, found: cancelling.Request) -> Locale:
        return choose_for_business(request, found.business.locale)

    @rpc
    def cancellation_links(self, request_id: str) -> CancellationLinks:
        """Where the business answers an open request.

        Secrets: ask for them when the mail is sent, and store or log them nowhere. What follows a colon in `request_id` tells mails about one request apart, and is ignored. RequestClosed when the request is answered or the subscription ends anyway.
        """
        request_id, _, _ = request_id.partition(":")
        with self.db.reading() as session:
            cancelling.open_links_of(session, request_id)
        links = self.wiring.request_links
        return CancellationLinks(
            approve=links.url(request_id, Decision.APPROVE),
            decline=links.url(request_id, Decision.DECLINE),
        )

    @loop(poll=5.0)
    def carry_out_requests(self) -> bool:
        """One step that is due for a request: tell the business, plan the end, tell the customer."""
        now, observes = utc_now(), self.wiring.observes
        with self.db.transaction() as session:
            step_to_do = cancellation_steps.lease_step(session, now, installation_observes=observes)
            waiting, oldest = cancellation_requests.waiting_requests(session, observes)
        REQUESTS_WAITING.set(waiting)
        REQUESTS_AGE.set((now - oldest).total_seconds() if oldest else 0)
        if step_to_do is None:
            return False
        done = cancellation_steps.run_errand(
            step_to_do, RpcBilling(self.billing), RpcMail(self.notifier)
        )
        with self.db.transaction() as session:
            tries = cancellation_steps.finish_errand(session, step_to_do, done, utc_now())
        ERRANDS.labels(step_to_do.step.value, done.problem or "ok").inc()
        if done.problem is not None:
            say = log.error if tries >= LOUD_AFTER else log.warning
            say(
                "step for a request failed",
                request_id=step_to_do.request_id,
                step=step_to_do.step.value,
                reason=done.problem,
                tries=tries,
            )
        return True
