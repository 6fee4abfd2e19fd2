"""The notifier's RPC methods by which other services have people mailed; mixed into the service."""

from __future__ import annotations

from services.notifier.domain.kinds import Kind
from services.notifier.emails.samples import sample_letter
from services.notifier.handlers import requests as handlers
from services.notifier.rpc.entrypoints import NotifierEntrypoints
from shared.clock import utc_now
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.notifier import (
    BusinessKind,
    CustomerKind,
    EmailKind,
    EmailPreview,
    RequestContext,
    RequestedNotification,
)
from shared.nameko_ext.rpc import rpc


class Emails(NotifierEntrypoints):
    """Emails that are asked for."""

    @rpc
    def send_customer_mail(
        self, kind: CustomerKind, customer_id: str, context: RequestContext
    ) -> RequestedNotification:
        """Mail a customer (by Portico's id) about something they asked for; once for each `context.request_id` and
        kind."""
        return self._send_requested(Kind(kind), customer_id, context)

    @rpc
    def send_business_mail(
        self, kind: BusinessKind, customer_id: str, context: RequestContext
    ) -> RequestedNotification:
        """Mail the business of a customer (by Portico's id) about them; once for each `context.request_id` and kind.
        The links of a `cancellation_requested` are asked of the portal when it is sent, and stored nowhere."""
        return self._send_requested(Kind(kind), customer_id, context)

    def _send_requested(
        self, kind: Kind, customer_id: str, context: RequestContext
    ) -> RequestedNotification:
        _check_customer_id(customer_id)
        with self.db.transaction() as session:
            requested = handlers.send_requested(session, kind, customer_id, context, utc_now())
        self.wake()
        return requested

    @rpc
    def send_fresh_link(self, customer_id: str) -> RequestedNotification:
        """Mail a customer (by Portico's id) their current link: at most once an hour."""
        _check_customer_id(customer_id)
        with self.db.transaction() as session:
            requested = handlers.send_fresh_link(session, customer_id, utc_now())
        self.wake()
        return requested

    @rpc
    def preview(self, kind: EmailKind, locale: str = "en") -> EmailPreview:
        """An email of this kind with sample data."""
        rendered = self.renderer.render(sample_letter(Kind(kind), locale))
        return EmailPreview(subject=rendered.subject, text=rendered.text, html=rendered.html)


def _check_customer_id(customer_id: str) -> None:
    if not customer_id or len(customer_id) > 64:
        raise InvalidArgument("customer_id: expected Portico's customer id")
