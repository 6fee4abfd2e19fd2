"""The notifier: hears of failed payments over RabbitMQ, writes to the customer through SendGrid.

Entrypoints only: each opens a transaction, calls a handler, answers.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from operator import attrgetter
from typing import Any, ClassVar, Final

import eventlet
from nameko.extensions import DependencyProvider
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from services.notifier import metrics
from services.notifier.adapters.batched_fetch import Fetch
from services.notifier.adapters.billing import MOST_INVOICES, BillingInvoices, fetch_invoices
from services.notifier.adapters.portal import PortalContacts, fetch_contacts
from services.notifier.adapters.sendgrid.account import LOOK_SECONDS, SendGridAccount
from services.notifier.adapters.sendgrid.gateway import (
    BadWebhook,
    SendGridMailer,
    SignedEvents,
    signing_headers,
)
from services.notifier.adapters.sendgrid.sender_domains import SenderDomains
from services.notifier.adapters.sendgrid.time_limit import TimeLimitedMailer
from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.delivery_events import DeliveryEvent
from services.notifier.emails.rendering import Renderer
from services.notifier.handlers import delivery, events, feedback, invoices, subscriptions
from services.notifier.handlers.results import Result
from services.notifier.queries import leases, outbox, suppressions
from services.notifier.queries.leases import Leased
from services.notifier.retention import RULES
from services.notifier.rpc.emails import Emails
from services.notifier.rpc.hooks import Hooks
from services.notifier.rpc.observed import Observed
from services.notifier.rpc.operations import Operations
from services.notifier.rpc.welcomes import Welcomes
from services.notifier.senders import SendSlotsProvider, sender
from services.notifier.settings import Settings
from services.notifier.workflows import sending
from shared import tracing
from shared.clock import utc_now
from shared.contracts.accounts import Account, StripeId, account_shown, stripe_customer
from shared.contracts.deadlines import NOTIFIER_WAITS_FOR_BILLING
from shared.database import DatabaseUnavailable
from shared.events import Event, InvoiceData, InvoicePaymentFailed
from shared.nameko_ext.batch_consumer import Outcomes, act, consume_batched
from shared.nameko_ext.batching import Batched, Failed, in_halves
from shared.nameko_ext.consumer import Permanent, consume_from
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.publisher import EventPublisher
from shared.nameko_ext.rpc import RpcClient
from shared.nameko_ext.side_by_side import run_concurrently
from shared.nameko_ext.web import WEBHOOK_BYTES, http
from shared.retention import prune_round
from shared.telemetry import get_logger

log = get_logger(__name__)

KEYED_AT_ONCE: Final = 500
ANSWERS_GATHER: Final = 0.006
"""Seconds: SendGrid's answers come in the order in which a batch was posted, and within about as long."""


class SendGrid(DependencyProvider):
    """Injects SendGrid: the mailer, and the reader of its webhook when a public key is configured."""

    mailer: SendGridMailer
    account: SendGridAccount
    signed_events: SignedEvents | None

    def setup(self) -> None:
        settings = self.container.config["settings"]
        key, base = settings.sendgrid_api_key.reveal(), settings.sendgrid_api_base
        self.account = SendGridAccount(key, base, timeouts=LOOK_SECONDS)
        self.mailer = SendGridMailer(
            key,
            base,
            settings.mail_from,
            settings.mail_from_name,
            senders=SenderDomains(self.account.authenticated_domains),
            connections=settings.senders,
        )
        public_key = settings.sendgrid_webhook_public_key
        self.signed_events = SignedEvents(public_key) if public_key else None

    def stop(self) -> None:
        self.mailer.close()
        self.account.close()

    def get_dependency(self, worker_ctx: Any) -> SendGrid:
        return self


def _hasher(settings: Settings) -> AddressHasher:
    """Of addresses, with the keys of the settings."""
    if not settings.address_hash_keys:
        log.warning("ADDRESS_HASH_KEY is not set: bounced addresses are kept under a plain hash")
    return AddressHasher([key.reveal() for key in settings.address_hash_keys])


def _permanent(outcome: str | Failed) -> str | Failed:
    """What no later try can read is given up at once."""
    if isinstance(outcome, Failed) and isinstance(outcome.error, invoices.UnreadableEvent):
        return Failed(Permanent(str(outcome.error)))
    return outcome


def _begin(session: Session, postings: list[delivery.SendRequest]) -> list[Result | None]:
    return delivery.begin_posts(session, postings, utc_now())


def _record(session: Session, answers: list[delivery.Answered]) -> list[Result]:
    return delivery.record_answers(session, answers, utc_now(), random.random)


def _refused(reason: BadWebhook) -> Response:
    metrics.WEBHOOKS.labels("refused").inc()
    log.warning("event webhook refused", reason=str(reason))
    return _json(400, {"error": str(reason)})


def _refuse_unsigned(request: HttpRequest) -> Response | None:
    """Without a signature, what follows is nobody's webhook."""
    try:
        signing_headers(request.headers)
    except BadWebhook as reason:
        return _refused(reason)
    return None


class NotifierService(Emails, Operations, Observed, Welcomes, Hooks):
    """Owns the notifications and their delivery."""

    name: ClassVar[str] = "notifier"

    sendgrid = SendGrid()
    renderer = OfProcess(lambda settings: Renderer())
    hasher = OfProcess(_hasher)
    fetch_contact = Fetch("contacts", "portal", fetch_contacts)
    billing = RpcClient("billing", timeout=NOTIFIER_WAITS_FOR_BILLING)
    # A look at Stripe takes its time: while some wait for one, the others are not to wait too.
    # And one account's Stripe may be slow: its invoices are asked about by themselves.
    fetch_invoice = Fetch(
        "invoices",
        "billing",
        fetch_invoices,
        apart=attrgetter("account"),
        workers=4,
        most=MOST_INVOICES,
    )
    begin = Batched("posts", _begin, workers=1)
    # Nobody waits for it, and the answers to emails that were posted together come one soon after the other.
    record = Batched("answers", _record, workers=1, rests=ANSWERS_GATHER)
    places = SendSlotsProvider("send_one", "senders")
    publisher = EventPublisher()
    wake = Waker("send_due")

    # --- events -------------------------------------------------------------------------------------------------

    @consume_batched
    def on_events(self, batch: list[Event]) -> Outcomes:
        """Act on billing's events; each is committed before it is acked, those about invoices together."""
        outcomes = act(batch, events.is_about_invoice, self._hear, self._handle)
        return [_permanent(outcome) for outcome in outcomes]

    def _hear(self, batch: list[Event[InvoiceData]]) -> list[str]:
        """An email that is due at once goes to a free sender straight from the transaction that writes it down."""
        now = utc_now()
        reserved = self.places.reserve(now, len(batch))
        fresh = leases.FreshLeases(reserved, now)
        if reserved and len(batch) == 1:
            self._ask_early(batch[0])
        leased: list[Leased] = []
        try:
            with self.db.transaction() as session:
                outcomes = events.handle_invoices(
                    session, batch, now, fresh, tell_hosts=self.hooks.are_heard
                )
            leased = fresh.taken
        finally:
            self.places.fill(reserved, leased)
        if fresh.others_due:
            self.places.heard({event.data.account for event in batch})
            self.wake()
        self.wake_hosts()
        return outcomes

    def _ask_early(self, event: Event[InvoiceData]) -> None:
        """Have the sender of a failure that comes alone find the answers that it needs first: asking takes as long as writing the failure down,
        and is begun before. It is in vain where no email follows. So not about what comes beside a failure, and not in a crowd, where the
        looks at Stripe are wanted for others."""
        data = event.data
        if not isinstance(data, InvoicePaymentFailed) or data.own_retry:
            return
        self.fetch_invoice.begin(StripeId(Account(data.account), data.invoice_id))
        customer = stripe_customer(data.account, data.stripe_customer_id, data.on_behalf_of)
        if customer is not None:
            self.fetch_contact.begin(customer)

    @consume_from("portal")
    def on_portal_event(self, event: Event) -> str:
        """A customer became known: what waited for that is due."""
        return self._handle(event)

    def _handle(self, event: Event) -> str:
        with self.db.transaction() as session:
            outcome = events.handle(session, event, utc_now(), tell_hosts=self.hooks.are_heard)
        self.wake()
        self.wake_hosts()
        return outcome

    # --- sending ------------------------------------------------------------------------------------------------

    @loop(poll=1.0)
    def send_due(self) -> bool:
        """Give every free sender a notification that is due."""
        desk, places = self._desk(), self.places
        free = places.free(utc_now(), keep=True)
        if free:
            with places.held(free):
                leased = sending.lease(desk, free)
            places.note_lease(free, len(leased))
            for one in leased:
                places.take(one)
            self.send_welcomes(desk, free - len(leased))
        others = places.for_others(utc_now())
        if others is not None:
            began = time.monotonic()
            with places.held(others.free):
                leased = sending.lease(desk, others.free, others.beside)
            took = dt.timedelta(seconds=time.monotonic() - began)
            places.note_others(others.free, len(leased), took)
            for one in leased:
                places.take(one)
        return False  # a sender that ends asks for more, where more is known to wait

    @sender(wakes="send_due")
    def send_one(self, leased: Leased) -> None:
        """Send one leased notification and record what came of it."""
        desk = self._desk()
        try:
            result = sending.send_one(desk, leased)
        except DatabaseUnavailable:
            # No try of the email's. Its lease ends, and whoever takes it then goes on from what was written down last.
            log.warning(
                "sending broken off, the database is away", notification_id=leased.notification_id
            )
            return
        except Exception as error:
            log.exception("sending stumbled", notification_id=leased.notification_id)
            result = sending.unexpected_error(desk, leased, type(error).__name__)
        finally:
            self.note_welcome_sent(leased)
        metrics.EMAILS.labels(result.kind.value, result.outcome).inc()
        tracing.note(outcome=result.outcome)
        level = log.error if result.outcome in sending.ALERT_OUTCOMES else log.info
        level(
            "notification tried",
            notification_id=leased.notification_id,
            invoice_id=leased.invoice_id,
            **account_shown(leased.account),
            correlation_id=leased.correlation_id,
            kind=result.kind.value,
            outcome=result.outcome,
            why=result.why,
        )
        if result.pause_until is not None:
            self.places.close_until(result.pause_until)

    @loop(poll=10.0)
    def measure(self) -> bool:
        """Publish how much waits, and for how long."""
        with self.db.reading() as session:
            backlog = leases.backlog(session, utc_now())
        metrics.PENDING.set(backlog.pending)
        metrics.OLDEST_DUE.set(backlog.oldest_due_seconds)
        return False

    def _desk(self) -> sending.SendContext:
        return sending.SendContext(
            db=self.db,
            contacts=PortalContacts(self.portal, self.fetch_contact.ask),
            invoices=BillingInvoices(self.billing, self.fetch_invoice),
            mailer=TimeLimitedMailer(self.sendgrid.mailer),
            renderer=self.renderer,
            hasher=self.hasher,
            begin=self.begin,
            record=self.record,
            now=utc_now,
            jitter=random.random,
            pause=eventlet.sleep,
            run_concurrently=run_concurrently,
            observes=self.observes,
        )

    # --- SendGrid's webhook -------------------------------------------------------------------------------------

    @http("POST", "/webhooks/sendgrid", refuse=_refuse_unsigned, body_limit=WEBHOOK_BYTES)
    def on_sendgrid_events(self, request: HttpRequest) -> Response:
        """Delivered, bounced, dropped, …: signed by SendGrid, or nothing is stored."""
        signed_events = self.sendgrid.signed_events
        if signed_events is None:
            return _json(404, {"error": "Not Found"})
        now = utc_now()
        try:
            batch = signed_events.read(request.get_data(), request.headers, now)
        except BadWebhook as error:
            return _refused(error)
        new = self._apply(batch, now)
        metrics.WEBHOOKS.labels("accepted").inc()
        log.info("event webhook taken", events=len(batch), new=new)
        self.wake()
        self.wake_relay()
        return _json(200, {"new": new})

    def _apply(self, batch: list[DeliveryEvent], now: dt.datetime) -> int:
        """Apply the events together, and one that fails apart from the others: SendGrid would repeat the whole batch for days,
        each time in vain. How many were new. Raises DatabaseUnavailable."""

        def together(items: list[DeliveryEvent]) -> list[bool]:
            with self.db.transaction() as session:
                return feedback.handle(
                    session, items, now, self.hasher, tell_hosts=self.hooks.are_heard
                )

        outcomes = in_halves(together, batch, fails_all=(DatabaseUnavailable,))
        for item, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome, Failed):
                continue
            if isinstance(outcome.error, DatabaseUnavailable):
                raise outcome.error
            metrics.FEEDBACK.labels("failed").inc()
            log.error(
                "delivery event given up",
                type=item.what.value,
                event_id=item.event_id,
                notification_id=item.notification_id,
                correlation_id=item.event_id,
                exc_info=outcome.error,
            )
        return sum(outcome is True for outcome in outcomes)

    @loop(poll=2.0)
    def relay(self) -> bool:
        """Publish the notifier's own events: what the host application should know."""
        return outbox.OUTBOX.relay_round(self.db, self.publisher, utc_now())

    @loop(poll=600)
    def note_silent(self) -> bool:
        """Have the business told of what stays unpaid without another word from Stripe."""
        with self.db.transaction() as session:
            return subscriptions.note_silent(session, utc_now())

    @loop(poll=3600)
    def prune(self) -> bool:
        """Forget what only proves that something was done long ago."""
        return prune_round(self.db, RULES, utc_now())

    @loop(poll=600)
    def key_addresses(self) -> bool:
        """Give keyed hashes to the bounced addresses that have none: those of the time before the key."""
        if not self.hasher.has_keys:
            return False
        with self.db.transaction() as session:
            return suppressions.key_addresses(session, self.hasher, KEYED_AT_ONCE) == KEYED_AT_ONCE


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(json.dumps(body) + "\n", status, content_type="application/json")
