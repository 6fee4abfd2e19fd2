"""A business connects its Stripe account: our page, the way to Stripe's, and Stripe's answer."""

from __future__ import annotations

import logging
import time

from babel import Locale

from services.portal.adapters.connections import RpcConnections
from services.portal.domain.connecting import CODE, Outcome
from services.portal.handlers import connecting
from services.portal.metrics import CONNECTIONS
from services.portal.models import BusinessRow
from services.portal.tokens.connecting import LINK
from services.portal.web import connect_views
from services.portal.web.connect_page import RETURN_PATH
from services.portal.web.entrypoints import PortalEntrypoints, mangled
from services.portal.web.responses import answer, choose_for_business, locale_for, redirect
from shared.clock import utc_now
from shared.contracts.rpc.errors import ConnectNotSetUp, InvalidArgument
from shared.contracts.rpc.portal import BusinessAccount, ConnectLink
from shared.nameko_ext.http_answers import Later, Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.nameko_ext.web import http
from shared.telemetry import get_logger

log = get_logger(__name__)

MOST_ACCOUNTS = 500
STATUS = {
    Outcome.DONE: 200,
    Outcome.DENIED: 200,
    Outcome.EXPIRED: 410,
    Outcome.REPLAYED: 409,
    Outcome.STRANGE: 403,
    Outcome.UNAVAILABLE: 503,
    Outcome.NOT_READY: 503,
}
"""How a page about an outcome is answered; 409 for all others."""


class Connecting(PortalEntrypoints):
    """Connecting an account by OAuth (docs/adr/0028-connecting-by-oauth.md)."""

    @audited_rpc("business_id")
    def begin_connecting(self, business_id: str) -> ConnectLink:
        """A link by which a business connects its Stripe account, good for three days; earlier ones of its are good for nothing then. It
        is a secret: give it to somebody who may speak for the business, log it nowhere.

        ConnectNotSetUp: STRIPE_CLIENT_ID is missing. NotFound: the business.
        """
        if not self.wiring.connect_page.is_set_up:
            raise ConnectNotSetUp
        secret = self.wiring.connect_links.new()
        with self.db.transaction() as session:
            expires_at = connecting.begin(session, business_id, secret, utc_now())
        return ConnectLink(url=self.wiring.connect_page.link(secret), expires_at=expires_at)

    @rpc
    def business_accounts(
        self, accounts: list[str] | None = None, business_id: str | None = None
    ) -> list[BusinessAccount]:
        """On which Stripe accounts businesses are: those on any of `accounts`, at most 500, or the one with `business_id`. NotFound: the
        business."""
        if (accounts is None) == (business_id is None):
            raise InvalidArgument("expected exactly one of accounts, business_id")
        if accounts is not None and len(accounts) > MOST_ACCOUNTS:
            raise InvalidArgument(f"accounts: expected at most {MOST_ACCOUNTS}")
        with self.db.reading() as session:
            rows = connecting.on_accounts(session, accounts, business_id)
            return [BusinessAccount.of(row) for row in rows]

    @http("GET", "/connect/<token>", refuse=mangled(LINK))
    def look_at_connecting(self, request: HttpRequest, token: str) -> Reply | Later:
        """Who asks, and what will happen. Looking does nothing: mail scanners look."""
        arrived = time.monotonic()
        page = self.wiring.connect_page
        if not (page.is_set_up and self.wiring.connect_links.are_ours(token)):
            return self._nothing_here(request, arrived)
        with self.db.reading() as session:
            found = connecting.look(session, token, utc_now())
        if found is None:
            return self._nothing_here(request, arrived)
        drawn = connect_views.ask(
            found.business,
            token,
            choose_for_business(request, found.business.locale),
            platform=self.wiring.platform,
            origins=page.origins,
            connected=found.connected,
        )
        return answer(drawn)

    @http("POST", "/connect/<token>", refuse=mangled(LINK))
    def go_to_stripe(self, request: HttpRequest, token: str) -> Reply | Later:
        """On to Stripe's page, with a state that only this browser can bring back."""
        arrived = time.monotonic()
        page = self.wiring.connect_page
        if not (page.is_set_up and self.wiring.connect_links.are_ours(token)):
            return self._nothing_here(request, arrived)
        with self.db.transaction() as session:
            going = connecting.leave(session, token, self.wiring.connect_states.new(), utc_now())
        if going is None:
            return self._nothing_here(request, arrived)
        response = redirect(page.address(going.state))
        response.headers.add("Set-Cookie", page.cookie(going.cookie))
        return response

    @http("GET", RETURN_PATH)
    def back_from_stripe(self, request: HttpRequest) -> Reply:
        """Stripe's answer, which comes as a GET: the one GET of ours that does something (docs/security.md). It does it once: the state
        is spent, and that is committed, before the code is."""
        denied = request.args.get("error") is not None
        code, state = request.args.get("code", ""), request.args.get("state", "")
        arrival = connecting.STRANGER
        if self.wiring.connect_states.are_ours(state):
            with self.db.transaction() as session:
                arrival = connecting.arrive(
                    session,
                    state=state,
                    cookie=request.cookies.get(self.wiring.connect_page.cookie_name, ""),
                    denied=denied or CODE.fullmatch(code) is None,
                    now=utc_now(),
                )
        outcome = arrival.outcome
        if outcome is None and arrival.connection is not None:
            outcome = self._connect(arrival.connection, code)
        assert outcome is not None
        CONNECTIONS.labels(outcome.value).inc()
        log.info(
            "came back from Stripe",
            outcome=outcome.value,
            business_id=arrival.business.business_id if arrival.business else None,
        )
        page = connect_views.outcome(
            outcome,
            arrival.business,
            self._language(request, arrival.business),
            platform=self.wiring.platform,
        )
        return answer(page, STATUS.get(outcome, 409))

    def _connect(self, connection: int, code: str) -> Outcome:
        """Have the code spent, and put the business on its account; let an account go again that is of no use to anybody."""
        billing = RpcConnections(self.billing)
        connected = billing.connect(code)
        if isinstance(connected, Outcome):
            with self.db.transaction() as session:
                connecting.note_outcome(session, connection, connected)
            return connected
        with self.db.transaction() as session:
            outcome = connecting.finish(session, connection, connected.account, utc_now())
        if outcome is not Outcome.DONE and connected.fresh:
            gone = billing.let_go(connected.account)
            log.log(
                logging.INFO if gone else logging.ERROR,
                "account let go again" if gone else "account of no business stays connected",
                account=connected.account,
                outcome=outcome.value,
            )
        return outcome

    @staticmethod
    def _language(request: HttpRequest, business: BusinessRow | None) -> Locale:
        if business is None:
            return locale_for(request)
        return choose_for_business(request, business.locale)
