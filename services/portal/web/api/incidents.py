"""`/api/v1/incidents`: what failed, and what became of it. The portal knows whose it is; of emails it asks the notifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from services.portal.adapters.notifier import RpcEmails
from services.portal.handlers import incidents
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.host_api import (
    Incident,
    IncidentArguments,
    IncidentPage,
    IncidentPageArguments,
)


class ApiIncidents(ApiEntrypoints):
    """Routes about failed payments."""

    @route(
        "GET",
        "/incidents",
        "payments:read",
        query=IncidentPageArguments,
        answer=IncidentPage,
        asks="_emails_of_page",
    )
    def api_list_incidents(self, session: Session, call: Call) -> Reply:
        """List invoices of a business's customers whose payment failed, newest first by when they first failed, with the emails about each."""
        rows, more, emails = call.told
        return Reply(IncidentPage(data=incidents.told(rows, emails, call.now), has_more=more))

    def _emails_of_page(self, session: Session, call: Call) -> Callable[[], Any]:
        rows, more = incidents.page(session, call.given, call.the_business)
        names = incidents.names_of(rows)
        return lambda: (rows, more, RpcEmails(self.notifier).of_invoices(names))

    @route(
        "GET",
        "/incidents/<invoice_id>",
        "payments:read",
        query=IncidentArguments,
        answer=Incident,
        asks="_emails_of_one",
    )
    def api_get_incident(self, session: Session, call: Call) -> Reply:
        """An invoice whose payment failed, by Stripe's id, with the emails about it."""
        row, emails = call.told
        (found,) = incidents.told([row], emails, call.now)
        return Reply(found)

    def _emails_of_one(self, session: Session, call: Call) -> Callable[[], Any]:
        row = incidents.find(session, call.the_business, call.values["invoice_id"])
        names = incidents.names_of([row])
        return lambda: (row, RpcEmails(self.notifier).of_invoices(names))
