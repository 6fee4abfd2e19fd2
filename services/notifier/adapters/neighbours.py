"""The other services and the provider, as the ports that handlers know. Answers are parsed here, at the edge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import eventlet
from nameko.extensions import DependencyProvider

from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.domain.sending import MaybeSent, Outcome
from services.notifier.ports import (
    Business,
    CancellationLinks,
    Contact,
    InvoiceReport,
    Mail,
    Mailer,
    PortalUnavailable,
    RequestClosed,
    UnknownCustomer,
)
from shared.contracts import rpc as contracts
from shared.contracts.invoices import InvoiceStatus
from shared.contracts.payments import Decline
from shared.contracts.rpc import errors
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.billing import InvoiceState, SourcedInvoiceState
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.batching import Batcher, Interrupted, Overloaded
from shared.nameko_ext.rpc import RpcClient, RpcTimeout, RpcUnavailable
from shared.telemetry import get_logger

log = get_logger(__name__)

POST_SECONDS: Final = 20
"""Longest time that one message may take in all. The HTTP client's own limits are per read, and an answer that
trickles in byte by byte never meets them."""


Portal = Any
Billing = Any
"""The RPC proxies of the other services, as a worker has them."""

MOST_INVOICES: Final = 100
"""How many invoices billing answers about in one call."""


def fetch_contacts(portal: Portal, stripe_ids: list[str]) -> list[contracts.portal.Contact | None]:
    """The portal's answers about Stripe customers, many in one call; None for one that it does not know."""
    answers = contracts.portal.CONTACTS.call(portal, stripe_customer_ids=stripe_ids)
    return [answers.get(stripe_id) for stripe_id in stripe_ids]


class Fetch(DependencyProvider):
    """Injects a batcher that asks another service about many things in one call, over a proxy of the batch's own."""

    def __init__(
        self,
        name: str,
        target_service: str,
        work: Callable[[Any, list[str]], list[Any]],
        **bounds: int,
    ) -> None:
        """`work` gets a proxy of `target_service`, of which the service has an `RpcClient`, and the ids."""
        self.label, self.target_service, self.work, self.bounds = name, target_service, work, bounds

    def setup(self) -> None:
        client = next(
            each
            for each in self.container.dependencies
            if isinstance(each, RpcClient) and each.target_service == self.target_service
        )

        def ask(ids: list[str]) -> list[Any]:
            return self.work(client.proxy_for(self.label), ids)

        away = (RemoteFault, RpcTimeout, RpcUnavailable, UnreadableAnswer)
        self.batcher = Batcher(self.label, ask, fails_all=away, **self.bounds)

    def get_dependency(self, worker_ctx: Any) -> Batcher[str, Any]:
        return self.batcher


class PortalContacts:
    """`Contacts` over RPC to the portal; those asked for at the same time share a call."""

    def __init__(self, portal: Portal, fetch: Callable[[str], Any]) -> None:
        """`fetch` does `fetch_contacts` for one question, together with others."""
        self._portal = portal
        self._fetch = fetch

    def contact(
        self, *, stripe_customer_id: str | None = None, customer_id: str | None = None
    ) -> Contact:
        """See `Contacts.contact`."""
        with _portals_faults(UnknownCustomer, errors.UnknownCustomer, errors.NotFound):
            if customer_id:
                answer = contracts.portal.CONTACT.call(self._portal, customer_id=customer_id)
            else:
                answer = self._fetch(stripe_customer_id or "")
            if answer is None:
                raise UnknownCustomer
            return _read_contact(answer)

    def cancellation_links(self, request_id: str) -> CancellationLinks:
        """See `Contacts.cancellation_links`."""
        with _portals_faults(RequestClosed, errors.RequestClosed, errors.NotFound):
            links = contracts.portal.CANCELLATION_LINKS.call(self._portal, request_id=request_id)
        return CancellationLinks(approve=links.approve, decline=links.decline)


@contextmanager
def _portals_faults(missing: type[Exception], *meant: type[errors.RpcError]) -> Iterator[None]:
    """The portal's faults as the ports know them: `meant` are `missing`, everything else can be asked again."""
    try:
        yield
    except RemoteFault as fault:
        if fault.means(*meant):
            raise missing from None
        raise PortalUnavailable(f"the portal failed: {fault.error}") from None
    except (RpcTimeout, RpcUnavailable, Overloaded, Interrupted) as error:
        raise PortalUnavailable(f"the portal does not answer: {type(error).__name__}") from None
    except UnreadableAnswer as error:
        raise PortalUnavailable(f"the portal's answer can't be read: {error}") from None


def _read_contact(wire: contracts.portal.Contact) -> Contact:
    return Contact(
        customer_id=wire.customer_id,
        name=wire.name,
        email=wire.email,
        locale=wire.locale,
        timezone=wire.timezone,
        link=wire.link,
        next_appointment=_aware(wire.next_appointment),
        platform=wire.platform,
        business=Business(
            name=wire.business.name,
            email=wire.business.email,
            phone=wire.business.phone,
            website=wire.business.website,
            logo_url=wire.business.logo_url,
            color=wire.business.color,
            locale=wire.business.locale or "en",
            timezone=wire.business.timezone or "UTC",
            sender_email=wire.business.sender_email,
            service_note=wire.business.service_note,
            reminders=_policy(wire.business.reminder_policy),
        ),
    )


def _policy(wire: contracts.portal.ReminderPolicy | None) -> ReminderPolicy:
    """The business's reminder policy; the default where the portal has none or says something unreadable."""
    if wire is None:
        return ReminderPolicy()
    quiet = None
    try:
        if wire.quiet_from and wire.quiet_until:
            quiet = QuietHours(
                dt.time.fromisoformat(wire.quiet_from), dt.time.fromisoformat(wire.quiet_until)
            )
    except ValueError:
        log.warning("quiet hours can't be read, writing at any hour")
    return ReminderPolicy(interval=dt.timedelta(days=wire.interval_days), quiet_hours=quiet)


def fetch_invoices(billing: Billing, invoice_ids: list[str]) -> list[SourcedInvoiceState | None]:
    """Billing's answers about invoices, many in one call; None for one that nobody knows. Like `fetch_contacts`."""
    answers = contracts.billing.INVOICE_STATES.call(billing, invoice_ids=invoice_ids)
    return [answers.get(invoice_id) for invoice_id in invoice_ids]


class BillingInvoices:
    """`Invoices` over RPC to billing; best effort, since the email must not depend on it. Those asked for at the same
    time share a call."""

    def __init__(self, billing: Billing, fetch: Callable[[str], Any]) -> None:
        """`fetch` does `fetch_invoices` for one question, together with others."""
        self._billing = billing
        self._fetch = fetch

    def report(self, invoice_id: str) -> InvoiceReport | None:
        """See `Invoices.report`."""
        try:
            wire = self._state(invoice_id)
            why = "nobody knows it"
        except (
            RemoteFault,
            RpcTimeout,
            RpcUnavailable,
            Overloaded,
            Interrupted,
            UnreadableAnswer,
        ) as error:
            wire = None
            why = error.error if isinstance(error, RemoteFault) else type(error).__name__
        if wire is None:
            log.warning("invoice not looked up, writing without it", invoice_id=invoice_id, why=why)
            return None
        now = InvoiceNow(
            status=enum_or_none(InvoiceStatus, wire.status),
            amount_remaining=wire.amount_remaining,
            next_payment_attempt=_aware(wire.next_payment_attempt),
            number=wire.number,
            purpose=wire.purpose,
            purpose_more=wire.purpose_more,
            decline=enum_or_none(Decline, wire.decline.reason) if wire.decline else None,
            needs_new_method=wire.decline is not None and wire.decline.needs_new_method,
            auto_advance=wire.auto_advance,
            processing=wire.processing,
            charge_id=wire.charge_id,
            payment_method_id=wire.payment_method_id,
            subscription_status=wire.subscription_status,
            subscription_end_reason=wire.subscription_end_reason,
            subscription_ended_at=wire.subscription_ended_at,
            heard=isinstance(wire, SourcedInvoiceState) and wire.source == "webhooks",
        )
        return InvoiceReport(
            now=now,
            method=wire.charged(),
            dashboard_url=wire.dashboard_url,
            next_method=wire.next_charged(),
        )

    def _state(self, invoice_id: str) -> InvoiceState | None:
        try:
            found: InvoiceState | None = self._fetch(invoice_id)
            return found
        except RemoteFault as fault:
            if fault.error != "MethodNotFound":
                raise
        # A billing of the version before this one, in the middle of an upgrade.
        return contracts.billing.INVOICE_STATE.call(self._billing, invoice_id=invoice_id)


class TimeLimitedMailer:
    """A `Mailer` with an end: whatever happens, one message takes no longer than `seconds`."""

    def __init__(self, mailer: Mailer, seconds: float = POST_SECONDS) -> None:
        self._mailer = mailer
        self._seconds = seconds

    def send(self, mail: Mail) -> Outcome:
        """See `Mailer.send`."""
        limit = eventlet.Timeout(self._seconds)
        try:
            return self._mailer.send(mail)
        except eventlet.Timeout as expired:
            if expired is not limit:
                raise
            return MaybeSent("no whole answer from SendGrid in time")
        finally:
            limit.cancel()


def enum_or_none(kind: Any, value: str | None) -> Any:
    """The enum's member; None for a value that this code does not know (yet)."""
    return kind(value) if value in set(kind) else None


def _aware(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
