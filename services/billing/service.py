"""billing: the only service that talks to Stripe. Entrypoints only: open the transaction, call a handler, answer."""

from __future__ import annotations

import re
from typing import Any, Final

from nameko.extensions import DependencyProvider
from prometheus_client import Gauge

from services.billing.adapters.stripe.breaker import Breaker
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.adapters.stripe.oauth import StripeConnect
from services.billing.domain.per_account import PerAccount
from services.billing.handlers import cancelling, inbox, invoices
from services.billing.queries import outbox, platform_refusals, reconciliation
from services.billing.retention import RULES
from services.billing.rpc.accounts import Accounts, StripeAccounts
from services.billing.rpc.connecting import Connecting
from services.billing.rpc.errors import served, wire_errors, within
from services.billing.rpc.importing import Importing
from services.billing.rpc.invoice_reports import Looking
from services.billing.rpc.operations import Operations
from services.billing.rpc.reconciling import Reconciling
from services.billing.rpc.recovering import Recovering
from services.billing.settings import Settings
from services.billing.web import Webhooks, store_batch
from services.billing.workflows import portal
from shared.clock import utc_now
from shared.contracts.accounts import OWN, account_shown
from shared.contracts.deadlines import BILLING_WAITS_FOR_PORTAL, STRIPE_AT_A_CALL
from shared.contracts.rpc.billing import (
    CollectedInvoice,
    CustomerRights,
    HostedInvoice,
    InvoiceState,
    PlannedEnd,
    PortalFlow,
    PortalSession,
)
from shared.contracts.rpc.errors import InvalidArgument
from shared.nameko_ext.batching import Batched
from shared.nameko_ext.database import Database
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.publisher import EventPublisher
from shared.nameko_ext.rpc import RpcClient, audited_rpc, rpc
from shared.nameko_ext.turns import Turns
from shared.retention import prune_round
from shared.telemetry import get_logger

log = get_logger(__name__)

OUTBOX_PENDING = Gauge("portico_outbox_pending", "Events that wait to be published")
BREAKER_OPEN = Gauge(
    "portico_stripe_breaker_open",
    "1 while clicks are answered without asking Stripe, which did not answer lately, else 0",
)
RECONCILED_AT = Gauge(
    "portico_last_reconciliation_timestamp_seconds",
    "The moment up to which Stripe's log was last read without a gap; 0 before the first time",
)
OUTBOX_AGE = Gauge("portico_outbox_oldest_age_seconds", "How long the oldest of them has waited")

WEBHOOKS_GATHER_SECONDS: Final = 0.1
"""For which webhooks gather behind others that are being stored. That takes some milliseconds; what takes longer (it waits for a process that
stores the same) holds up others no longer than this."""

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Stripe(DependencyProvider):
    """Injects the `PaymentGateways` of the service's settings: one for the process, with one connection pool."""

    gateways: StripeGateways

    def setup(self) -> None:
        settings: Settings = self.container.config["settings"]
        accounts = next(each for each in self.container.dependencies if isinstance(each, Accounts))
        self.gateways = StripeGateways(
            settings.stripe_api_key.reveal(),
            settings.stripe_api_base,
            lambda account: accounts.holder.own_key(account),
            settings.stripe_client_id,
        )

    def stop(self) -> None:
        self.gateways.close()

    def get_dependency(self, worker_ctx: Any) -> StripeGateways:
        return self.gateways


def _oauth(settings: Settings) -> StripeConnect:
    return StripeConnect(
        settings.stripe_api_key.reveal(), settings.stripe_client_id, settings.stripe_connect_base
    )


def click_breakers(settings: Settings) -> PerAccount[Breaker]:
    """The process's circuit breakers in front of Stripe at the click, one an account."""
    breakers = PerAccount(Breaker)
    BREAKER_OPEN.set_function(lambda: float(any(one.open for one in breakers.known())))
    return breakers


class BillingService(
    Webhooks,
    Looking,
    Operations,
    StripeAccounts,
    Connecting,
    Reconciling,
    Importing,
    Recovering,
):
    """Wraps all of Stripe: its webhooks in, its Billing Portal and its payments out."""

    name = "billing"

    database = Database()
    gateways = Stripe()
    accounts = Accounts()
    portal = RpcClient("portal", timeout=BILLING_WAITS_FOR_PORTAL)
    oauth = OfProcess(_oauth)
    settings = OfProcess(lambda settings: settings)
    breakers = OfProcess(click_breakers)
    publisher = EventPublisher()
    wake_relay = Waker("relay")
    wake_accounts = Waker("refresh_accounts")
    recovering = Turns("resume_recovery")
    reconciled = Turns("reconcile_account")
    store = Batched("webhooks", store_batch, gathers=WEBHOOKS_GATHER_SECONDS)

    @loop(poll=1.0)
    def relay(self) -> bool:
        """Publish what the outbox holds; woken by each webhook, else once a second."""
        return outbox.OUTBOX.relay_round(self.database, self.publisher, utc_now())

    @loop(poll=5.0)
    def measure(self) -> bool:
        """Tell the metrics how far behind the outbox is, and until when Stripe's log was read."""
        with self.database.reading() as session:
            pending, age = outbox.OUTBOX.backlog(session, utc_now())
            reconciled = reconciliation.moment_of(session, OWN, reconciliation.STRIPE_LOG)
        RECONCILED_AT.set(reconciled.timestamp() if reconciled else 0)
        OUTBOX_PENDING.set(pending)
        OUTBOX_AGE.set(age)
        return False

    @loop(poll=3600)
    def prune(self) -> bool:
        """Forget what only proves that something was done long ago."""
        return prune_round(self.database, RULES, utc_now())

    # -- others ask ---------------------------------------------------------------------------------------

    @rpc
    def create_portal_session(
        self,
        stripe_customer_id: str,
        return_url: str,
        flow: PortalFlow | None = None,
        locale: str | None = None,
        business_id: str | None = None,
        account: str = OWN,
        on_behalf_of: str = "",
    ) -> PortalSession:
        """A fresh Billing Portal session: use it at once, never keep it. `return_url` is where Stripe's page leads back to.

        `business_id` picks that business's own portal configuration where it has one. Where the configuration forbids `flow`,
        the session begins on Stripe's first page. With `on_behalf_of`, a connected account of the platform's, it shows what is charged on
        its behalf alone, under its brand; the configuration is the platform's. StripeUnavailable comes within 4 s.
        """
        wanted = portal.SessionRequest(
            stripe_customer_id=stripe_customer_id,
            return_url=return_url,
            flow=flow,
            locale=locale,
            business_id=business_id,
            on_behalf_of=on_behalf_of,
        )
        at = served(account, self.accounts.directory)
        with wire_errors(), self.breakers.at(at).guard(), within(STRIPE_AT_A_CALL):
            url = portal.create_portal_session(
                self.database,
                self.gateways.at(at),
                wanted,
                setting=self.settings.stripe_portal_configuration,
                public_url=self.settings.public_url,
                now=utc_now(),
            )
        return PortalSession(url=url)

    @rpc
    def invoice_state(self, invoice_id: str, account: str = OWN) -> InvoiceState:
        """An invoice as it stands at Stripe now, with the kind of the last decline where Stripe tells it. StripeUnavailable comes
        within 4 s.
        """
        with wire_errors(), within(STRIPE_AT_A_CALL):
            return invoices.invoice_state(
                self.gateways.at(served(account, self.accounts.directory)), invoice_id
            )

    @rpc
    def hosted_invoice_url(
        self,
        invoice_id: str,
        stripe_customer_id: str,
        account: str = OWN,
        on_behalf_of: str = "",
    ) -> HostedInvoice:
        """Stripe's hosted page of an open invoice: redirect to it at once, never keep or log it. Another customer's invoice,
        or one on another's behalf, is an UnknownInvoice; StripeUnavailable comes within 4 s.
        """
        with wire_errors(), within(STRIPE_AT_A_CALL):
            url = invoices.hosted_invoice_url(
                self.gateways.at(served(account, self.accounts.directory)),
                invoice_id,
                stripe_customer_id,
                on_behalf_of,
            )
        return HostedInvoice(url=url)

    @audited_rpc("invoice_id", "request_id", "account")
    def collect_invoice(
        self, invoice_id: str, request_id: str, account: str = OWN
    ) -> CollectedInvoice:
        """Charge an invoice now, for a person at the business who wants it: also one that is collected no more, or a bad debt.
        Twice with the same `request_id` is once. InvoiceClosed: it is paid, void or a draft. After StripeUnavailable it may
        have been charged: look before asking again. BusinessObserves, and TemporarilyUnavailable while the portal can't be asked whether it
        does: nothing was charged.
        """
        if not REQUEST_ID.fullmatch(request_id):
            raise InvalidArgument("request_id: expected 1 to 64 letters, digits, - or _")
        with wire_errors():
            done = invoices.collect(
                self.gateways.at(served(account, self.accounts.directory)),
                self.businesses,
                invoice_id,
                request_id,
            )
        log.info(
            "invoice collected by hand",
            invoice_id=invoice_id,
            outcome=done.outcome,
            **account_shown(account),
        )
        return done

    @rpc
    def cancel_at_period_end(
        self,
        stripe_customer_id: str,
        subscription_id: str,
        idempotency_key: str,
        account: str = OWN,
        on_behalf_of: str = "",
    ) -> PlannedEnd:
        """Let a subscription end with its current period. Twice is once. Another customer's subscription, or one on
        another's behalf, is an UnknownSubscription. StripeUnavailable comes within 4 s: try again with the same key. With
        `dashboard_url` nothing was changed: Stripe lets only the business do it, there. BusinessObserves, and TemporarilyUnavailable while
        the portal can't be asked whether it does: nothing was changed.
        """
        at = served(account, self.accounts.directory)
        with wire_errors(), within(STRIPE_AT_A_CALL):
            end, subscription = cancelling.cancel_at_period_end(
                self.gateways.at(at),
                self.businesses,
                stripe_customer_id=stripe_customer_id,
                subscription_id=subscription_id,
                idempotency_key=idempotency_key,
                on_behalf_of=on_behalf_of,
            )
        if end.dashboard_url is not None:
            with self.database.transaction() as session:
                platform_refusals.note_refusal(session, at, subscription, utc_now())
            log.info("an end that only the business can plan", **account_shown(at))
        return end

    @rpc
    def customers_may(self, business_id: str | None = None, account: str = OWN) -> CustomerRights:
        """What a business's customers may do on Stripe's page by themselves. Answered from what
        Stripe's events and the last session told; Stripe itself is asked only the first time. StripeUnavailable
        comes within 4 s.
        """
        with wire_errors(), within(STRIPE_AT_A_CALL):
            return portal.customers_may(
                self.database,
                self.gateways.at(served(account, self.accounts.directory)),
                business_id=business_id,
                setting=self.settings.stripe_portal_configuration,
                now=utc_now(),
            )

    @loop(poll=10.0)
    def tell_evidence_again(self) -> bool:
        """Whose the Stripe customers of stored events are, in the form of this release: what a replica of the release before
        took in, and, after an upgrade, what the inbox still holds."""
        with self.database.transaction() as session:
            told = inbox.tell_evidence_again(
                session, directory=self.accounts.directory, now=utc_now()
            )
        if told:
            log.info("evidence told again", events=told)
            self.wake_relay()
        return False
