"""`/api/v1/customers/<customer_id>/payment_state`."""

from __future__ import annotations

from sqlalchemy.orm import Session

from services.portal import serializers
from services.portal.handlers import resolved_links
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.host_api import PaymentState
from shared.contracts.rpc.errors import NotFound


class ApiPayments(ApiEntrypoints):
    """Routes about what customers owe."""

    @route("GET", "/customers/<customer_id>/payment_state", "payments:read", answer=PaymentState)
    def api_get_payment_state(self, session: Session, call: Call) -> Reply:
        """What a customer owes, since when, and when Stripe tries next: as their page says it."""
        (found,) = resolved_links.look_many(session, [call.customer_id], call.now)
        if found is None:
            raise NotFound("customer_id: no such customer")
        known = resolved_links.as_installed(found, self.wiring.observes)
        return Reply(serializers.payment_state(known, call.now))
