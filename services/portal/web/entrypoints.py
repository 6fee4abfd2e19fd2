"""What the portal's entrypoints share: the things that are injected, and who comes with which link."""

from __future__ import annotations

import datetime as dt
import functools
import re
import time
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.portal.domain.activity import ActivityBuffer
from services.portal.domain.snapshot import Snapshot
from services.portal.handlers import resolved_links
from services.portal.handlers.host_events import LISTED
from services.portal.handlers.resolved_links import ResolvedLink
from services.portal.metrics import VISITS
from services.portal.tokens.links import TOKEN, Claim
from services.portal.web import views
from services.portal.web.components import Components
from services.portal.web.responses import answer, locale_for
from shared.clock import utc_now
from shared.contracts.deadlines import PORTAL_WAITS_FOR_BILLING, PORTAL_WAITS_FOR_NOTIFIER
from shared.database import DatabaseUnavailable
from shared.nameko_ext.batching import Batched
from shared.nameko_ext.database import Database
from shared.nameko_ext.http_answers import Later, Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.rpc import RpcClient
from shared.nameko_ext.web import Refuse, http
from shared.telemetry import get_logger

log = get_logger(__name__)

NOTHING_HERE_SECONDS: Final = 0.05
"""Every "nothing here" leaves this long after the request came, so that its time doesn't tell a forged link from
a customer who is gone."""
RETRY_AFTER_SECONDS: Final = 30
LOOKS_GATHER_SECONDS: Final = 0.005
"""For which looks gather behind others that are under way. A batch takes one to three milliseconds."""
LOOKS_WAKE_SECONDS: Final = 0.002
"""For which the callers of a batch of looks are woken, and draw a page each, before anybody else has a turn."""

Result = TypeVar("Result")
Service = TypeVar("Service", bound="PortalEntrypoints")
Values = ParamSpec("Values")


class PageNotFound(Exception):
    """What was asked for does not exist, or is not this visitor's: which of the two is not told."""


def as_late_as_others(reply: Reply, arrived: float) -> Later:
    """An answer that nothing is here, to a request that came at `arrived` (monotonic)."""
    return Later(reply, arrived + NOTHING_HERE_SECONDS)


def _look(session: Session, public_ids: list[str]) -> list[Snapshot | None]:
    return resolved_links.look_many(session, public_ids, utc_now())


class PortalEntrypoints:
    """Base of the portal's entrypoints."""

    db = Database(info=lambda settings: {LISTED: settings.api_address is not None})
    look = Batched(
        "looks", _look, gathers=LOOKS_GATHER_SECONDS, wakes_for=LOOKS_WAKE_SECONDS, reads=True
    )
    looks = OfProcess(lambda settings: ActivityBuffer())
    """What this process remembers of the pages that it has shown, until it is written."""
    wiring = OfProcess(Components)
    billing = RpcClient("billing", timeout=PORTAL_WAITS_FOR_BILLING)
    notifier = RpcClient("notifier", timeout=PORTAL_WAITS_FOR_NOTIFIER)

    def _note_click(self, visit: ResolvedLink, now: dt.datetime) -> None:
        """Remember that the customer goes on to Stripe, for the "just back?" hint; the click is more than the hint."""
        try:
            with self.db.transaction() as session:
                resolved_links.opened(session, visit.snapshot.customer_id, now)
        except DatabaseUnavailable:
            log.warning("click not noted", customer_id=visit.snapshot.customer_id)

    def _find(self, token: str) -> ResolvedLink | None:
        claim = resolved_links.read_claim(self.wiring.links, token)
        if claim is None:
            return None
        return resolved_links.visit(self._snapshot(claim), claim, token)

    def _snapshot(self, claim: Claim) -> Snapshot | None:
        """The customer whom a link claims, as the installation works; None when they are gone."""
        found = self.look(claim.public_id)
        return found and resolved_links.as_installed(found, self.wiring.observes)

    @staticmethod
    def _nothing_here(request: HttpRequest, arrived: float) -> Later:
        VISITS.labels("nothing").inc()
        page = views.page_not_found(locale_for(request))
        return as_late_as_others(answer(page, 404), arrived)

    def _replaced(self, request: HttpRequest, visit: ResolvedLink) -> Reply:
        VISITS.labels("replaced").inc()
        page = views.replaced(visit.snapshot.business, visit.token, locale_for(request, visit))
        return answer(page, 410)

    def _write(self, handler: Callable[[Session], Result]) -> Result:
        """Run a handler in a transaction; once more when somebody else made the same row at the same moment."""
        try:
            with self.db.transaction() as session:
                return handler(session)
        except IntegrityError:
            with self.db.transaction() as session:
                return handler(session)


def mangled(shape: re.Pattern[str]) -> Refuse:
    """For `http`: nothing is at addresses whose token has not this shape, and their bodies are not read."""

    def refuse(request: Any) -> Later | None:
        if shape.fullmatch(request.path_values["token"]):
            return None
        return PortalEntrypoints._nothing_here(request, time.monotonic())

    return refuse


def link_required(
    method: str, url: str, *, also_replaced: bool = False
) -> Callable[[Callable[Concatenate[Service, HttpRequest, ResolvedLink, Values], Reply]], Any]:
    """Decorate a method of `PortalEntrypoints` that answers at `url` (with `<token>` in it) whoever holds a good link.

    The method gets the request, the visit and what else the address names. Without a good link the visitor sees that
    nothing is here, and so does one for whom it raises PageNotFound; with a replaced link, the page that offers
    to mail the new one, unless it is `also_replaced` links that the method is for.
    """

    def decorate(
        page: Callable[Concatenate[Service, HttpRequest, ResolvedLink, Values], Reply],
    ) -> Any:
        @http(method, url, refuse=mangled(TOKEN))
        @functools.wraps(page)
        def entrypoint(
            self: Service,
            request: HttpRequest,
            token: str,
            *args: Values.args,
            **values: Values.kwargs,
        ) -> Reply | Later:
            arrived = time.monotonic()
            visit = self._find(token)
            if visit is None:
                return self._nothing_here(request, arrived)
            if not (visit.current or also_replaced):
                return self._replaced(request, visit)
            try:
                return page(self, request, visit, *args, **values)
            except PageNotFound:
                return self._nothing_here(request, arrived)

        return entrypoint

    return decorate
