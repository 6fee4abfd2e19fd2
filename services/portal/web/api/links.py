"""`/api/v1/customers/<customer_id>/link` and signed Checkout references: what opens something, so no answer of these is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.orm import Session

from services.portal.handlers import customers
from services.portal.handlers.customers import LinkOf
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.rpc.portal import CheckoutReference, Link

ONE: Final = "/customers/<customer_id>"


class ApiLinks(ApiEntrypoints):
    """Routes about links."""

    _link: Callable[[LinkOf], Link]

    @route("GET", f"{ONE}/link", "links:read", answer=Link)
    def api_get_link(self, session: Session, call: Call) -> Reply:
        """The customer's current link. It is a secret: mail it to the customer, log it nowhere."""
        return Reply(self._link(customers.link_of(session, customer_id=call.customer_id)))

    @route(
        "POST",
        f"{ONE}/link/rotate",
        "links:write",
        answer=Link,
        again="api_get_link",
        audited=(),
    )
    def api_rotate_link(self, session: Session, call: Call) -> Reply:
        """Revoke the customer's links and make a new one."""
        found = customers.rotate_link(session, customer_id=call.customer_id, now=call.now)
        return Reply(self._link(found))

    @route(
        "POST",
        f"{ONE}/checkout_reference",
        "links:read",
        answer=CheckoutReference,
        again="api_make_checkout_reference",
    )
    def api_make_checkout_reference(self, session: Session, call: Call) -> Reply:
        """A signed `client_reference_id` for a Checkout session or Payment Link of this customer. It counts in sessions that begin
        within seven days. Give it to this customer alone."""
        reference = customers.checkout_reference(
            session, self.wiring.references, customer_id=call.customer_id, now=call.now
        )
        return Reply(CheckoutReference(reference=reference))
