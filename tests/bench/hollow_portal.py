"""The portal without what pages and upserts do behind their HTTP: of each customer it is done once, and remembered. What is left is what
HTTP costs: reading, routing, who asks, what is given, answering. Everything else is the portal as it ships."""

from __future__ import annotations

import shared.nameko_ext.green  # noqa: F401  (patches first)
from shared.clock import utc_now

import sys  # isort: skip
from collections.abc import Callable  # isort: skip
from typing import Any  # isort: skip

from sqlalchemy.orm import Session  # isort: skip

from services.portal.domain.snapshot import Snapshot  # isort: skip
from services.portal.handlers import customers  # isort: skip
from services.portal.handlers.resolved_links import ResolvedLink  # isort: skip
from services.portal.service import PortalService  # isort: skip
from services.portal.settings import load  # isort: skip
from services.portal.web.api.entrypoints import Call, Reply, route  # isort: skip
from services.portal.web.entrypoints import _look, link_required  # isort: skip
from services.portal.web.responses import locale_for, parse_source  # isort: skip
from shared.contracts.rpc.portal import CustomerArguments, UpsertedCustomer  # isort: skip
from shared.nameko_ext.batching import Batched  # isort: skip
from shared.nameko_ext.http_answers import Reply as Answered  # isort: skip
from shared.nameko_ext.http_requests import HttpRequest  # isort: skip
from shared.nameko_ext.runtime import command_line  # isort: skip

_snapshots: dict[str, Snapshot | None] = {}
_pages: dict[str, Answered] = {}
_upserted: dict[str, UpsertedCustomer] = {}
_NOWHERE = Session()
"""Reaches no database."""


class Remembered(Batched):
    """Looks each customer up once."""

    def get_dependency(self, worker_ctx: Any) -> Callable[[str], Snapshot | None]:  # type: ignore[override]
        def look(public_id: str) -> Snapshot | None:
            if public_id not in _snapshots:
                _snapshots[public_id] = self.batcher(public_id)
            return _snapshots[public_id]

        return look


class HollowPortal(PortalService):
    """One more replica."""

    name = "portal"
    look = Remembered("looks", _look)

    @link_required("GET", "/me/<token>")
    def page(self, request: HttpRequest, visit: ResolvedLink) -> Answered:  # type: ignore[override]
        """The page as it was drawn the first time; the rest as there."""
        came_from = parse_source(request.args.get("from"))
        self.looks.add(visit.snapshot.customer_id, utc_now(), from_mail=came_from is not None)
        drawn = _pages.get(visit.token)
        if drawn is None:
            drawn = _pages[visit.token] = PortalService.page.__wrapped__(self, request, visit)
        locale_for(request, visit)
        return drawn

    def _write(self, handler: Callable[[Session], Any]) -> Any:
        """Without a transaction, which RPC's method opens too, where nothing is to be done in one."""
        try:
            return handler(_NOWHERE)
        except KeyError:
            return super()._write(handler)

    @route("POST", "/customers", "customers:write", body=CustomerArguments, answer=UpsertedCustomer, creates=True)  # fmt: skip
    def api_upsert_customer(self, session: Session, call: Call) -> Reply:
        """What the handler did the first time."""
        name = call.given.external_id
        if session is _NOWHERE:
            done = _upserted[name]
        else:
            done = customers.upsert_customer(session, call.given, call.now, alone=call.alone)
            _upserted[name] = done
        return Reply(done, 201 if done.created else 200)


if __name__ == "__main__":
    sys.exit(command_line(HollowPortal, load))
