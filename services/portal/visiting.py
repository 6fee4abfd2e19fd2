"""What the portal's entrypoints share: the things that are injected, and who comes with which link."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Final, TypeVar

import eventlet
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Request, Response

from services.portal import views
from services.portal.adapters import BILLING_SECONDS, MAIL_SECONDS
from services.portal.answers import answer, choose_for
from services.portal.domain.snapshot import Snapshot
from services.portal.handlers import visits
from services.portal.handlers.visits import Visit
from services.portal.metrics import VISITS
from services.portal.wiring import Wiring
from shared.batching import Batched
from shared.database import Database
from shared.rpc import RpcClient

NOTHING_HERE_SECONDS: Final = 0.05
"""Every "nothing here" leaves this long after the request came, so that its time doesn't tell a forged link from
a customer who is gone."""
RETRY_AFTER_SECONDS: Final = 30

Result = TypeVar("Result")


def utc_now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(dt.UTC)


def _look(session: Session, public_ids: list[str]) -> list[Snapshot | None]:
    return visits.look_many(session, public_ids, utc_now())


class Visiting:
    """Base of the portal's entrypoints."""

    db = Database()
    look = Batched("looks", _look)
    wiring = Wiring()
    billing = RpcClient("billing", timeout=BILLING_SECONDS)
    notifier = RpcClient("notifier", timeout=MAIL_SECONDS)

    def _find(self, token: str) -> Visit | None:
        claim = visits.read_claim(self.wiring.links, token)
        if claim is None:
            return None
        return visits.visit(self.look(claim.public_id), claim, token)

    def _nothing_here(self, request: Request, arrived: float) -> Response:
        VISITS.labels("nothing").inc()
        page = views.nothing_here(choose_for(request))
        eventlet.sleep(max(0.0, arrived + NOTHING_HERE_SECONDS - time.monotonic()))
        return answer(page, 404)

    def _replaced(self, request: Request, visit: Visit) -> Response:
        VISITS.labels("replaced").inc()
        page = views.replaced(visit.snapshot.business, visit.token, choose_for(request, visit))
        return answer(page, 410)

    def _write(self, handler: Callable[[Session], Result]) -> Result:
        """Run a handler in a transaction; once more when somebody else made the same row at the same moment."""
        try:
            with self.db.transaction() as session:
                return handler(session)
        except IntegrityError:
            with self.db.transaction() as session:
                return handler(session)
