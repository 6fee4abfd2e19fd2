"""The three services without their framework, in a world where things have happened: every RPC method has something to say.

`World.call` does what the entrypoint does: the arguments as JSON are checked, and the answer comes back as the bytes that would
go over the wire.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import select

from services.billing import models as billing_models
from services.billing.adapters.stripe.breaker import Breaker
from services.billing.adapters.stripe.oauth import ConnectedAccount
from services.billing.domain.budget import Budget
from services.billing.domain.per_account import PerAccount
from services.billing.service import BillingService
from services.billing.workflows.accounts import AccountHolder
from services.notifier.domain.hook_signing import Signer
from services.notifier.domain.vocabulary import Status
from services.notifier.handlers.hooks import HookRules
from services.notifier.models import HookAttempt, Notification
from services.notifier.rpc.hooks import HostsOfProcess
from services.notifier.service import NotifierService
from services.portal.handlers import customers, enrolling, evidence, resolved_links
from services.portal.handlers.cancelling import ask
from services.portal.models import BusinessRow, CancellationRequestRow, CustomerRow
from services.portal.service import PortalService
from services.portal.tokens.connecting import LINK_SALT, SignedSecrets
from services.portal.tokens.links import Links
from services.portal.tokens.request_links import RequestLinks
from services.portal.web.connect_page import ConnectPage
from services.portal.web.known_keys import KnownKeys
from shared.contracts.accounts import Account
from shared.mode import LIVE, OBSERVE
from shared.nameko_ext.rpc import SafeRpcConsumer, argument_checker
from shared.settings import Secret
from tests.unit.billing.fakes import FakePortal
from tests.unit.notifier.conftest import RENDERER
from tests.unit.notifier.fakes import FakeMailer
from tests.unit.portal.builders import REFERENCES, checkout, seen
from tests.unit.stories import house as stories
from tests.unit.stories import steps

SERVICES: Final = {
    "portal": PortalService,
    "billing": BillingService,
    "notifier": NotifierService,
}
KEY: Final = Secret("k" * 40)
DAYS: Final = 40
"""How long ago the story begins."""
UNKNOWN: Final = "A" * 22


class Published:
    """A broker that takes everything."""

    def publish_batch(self, *args: Any, **options: Any) -> list[None]:
        return [None] * len(args[0])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.publish_batch


class FakeConnect:
    """Stripe's OAuth, which knows every code."""

    def connect(self, code: str) -> ConnectedAccount:
        return ConnectedAccount(Account("acct_Golden1"), False)

    def disconnect(self, account: Account) -> None:
        pass


class World:
    """The services on their databases, and what they answered so far."""

    def __init__(self) -> None:
        self.house = stories.House()
        self.services: dict[str, Any] = {name: made() for name, made in SERVICES.items()}
        self.answers: dict[str, list[tuple[dict[str, Any], str]]] = {}
        """By method: the arguments, and the answer as it crossed the wire."""
        self.faults: dict[str, str] = {}
        """The errors that were answered, by name: one message of each."""
        self._wire(self.services["portal"])
        self._wire_billing(self.services["billing"])
        self._wire_notifier(self.services["notifier"])

    def _wire(self, portal: Any) -> None:
        portal.db = self.house.portal
        portal.wiring = SimpleNamespace(
            links=Links([KEY], "https://portal.example"),
            request_links=RequestLinks([KEY], "https://portal.example"),
            references=REFERENCES,
            platform="Portico",
            observes=False,
            api_mode="test",
            known_keys=KnownKeys(),
            connect_page=ConnectPage("https://portal.example", "ca_1", "https://stripe.example"),
            connect_links=SignedSecrets([KEY], LINK_SALT),
        )
        portal.wake_rights = portal.wake_relay = portal.wake_requests = lambda: None
        portal.look = lambda one: self._read(resolved_links.look_many, [one])[0]
        portal.person = lambda one: self._read(customers.contacts, [one])[0]

    def _read(self, handler: Callable[..., Any], given: list[Any]) -> Any:
        with self.house.portal.reading() as session:
            return handler(session, given, self.now())

    def _wire_billing(self, billing: Any) -> None:
        billing.database, billing.gateways = self.house.billing, self.house.gateways
        billing.accounts = AccountHolder(livemode=False, database=self.house.billing)
        billing.oauth = FakeConnect()
        billing.breakers = PerAccount(Breaker)
        billing.looks = PerAccount(lambda: Budget(1e9))
        billing.portal = FakePortal()
        billing.publisher = Published()
        billing.wake_relay = lambda: None
        billing.settings = SimpleNamespace(
            livemode=False,
            observes=False,
            stripe_portal_configuration=None,
            stripe_read_pool=10_000,
            stripe_look_rate=10,
            public_url="https://portal.example",
        )

    def _wire_notifier(self, notifier: Any) -> None:
        notifier.db, notifier.renderer = self.house.notifier.db, RENDERER
        notifier.wake = notifier.wake_relay = notifier.wake_hosts = notifier.wake_hooks = lambda: (
            None
        )
        notifier.observes, notifier.fetch_contact = False, SimpleNamespace(ask=None)
        notifier.hasher, notifier.wake_welcomes = self.house.notifier.hasher, lambda: None
        notifier.sendgrid = SimpleNamespace(mailer=FakeMailer())
        notifier.portal = SimpleNamespace(
            business_contact=lambda **asked: self.call("portal", "business_contact", **asked)
        )
        notifier.hooks = HostsOfProcess(HookRules(Signer(["h" * 20 + "0123456789ab"])), None, 8)

    @staticmethod
    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        """Call a method as over the wire, and note arguments and answer."""
        given = json.loads(json.dumps(arguments))
        function = getattr(SERVICES[service], method)
        checked = argument_checker(function)((), given)
        answer = function(self.services[service], **checked)
        text = SafeRpcConsumer._encoded(answer, None).decode()
        self.answers.setdefault(f"{service}.{method}", []).append((given, text))
        return json.loads(text)["result"]

    def fails(self, service: str, method: str, **arguments: Any) -> None:
        """Call a method that answers with an error, and note it."""
        try:
            self.call(service, method, **arguments)
        except Exception as error:
            kind = type(error)
            answer = json.loads(SafeRpcConsumer._encoded(None, (kind, error, None)))
            self.faults[answer["error"]["exc_type"]] = answer["error"]["value"]
        else:
            raise AssertionError(f"{service}.{method} did not fail")


def lived() -> World:
    """A world in which every method was called."""
    stories.START = int(time.time()) - DAYS * 86_400
    world = World()
    house = world.house
    for step in (steps.opens(), steps.renewal_fails("insufficient_funds")):
        step(house)
    house.settle()
    _portal(world)
    _billing(world)
    _notifier(world)
    _erasures(world)
    return world


def _portal(world: World) -> None:
    house, call = world.house, world.call
    now = world.now()
    business = {
        "email": "hello@sunrise.example",
        "phone": "(415) 555-0142",
        "website": "https://www.sunrise.example",
        "logo_url": "https://www.sunrise.example/logo.png",
        "color": "#f59e0b",
        "locale": "en",
        "timezone": "America/Los_Angeles",
        "reminder_policy": {"interval_days": 3, "quiet_from": "21:00", "quiet_until": "08:00"},
        "sender_email": "billing@sunrise.example",
        "service_note": "We come as usual while you sort this out.",
        "charged_as": "PORTICO* SUNRISE",
        "currency": "usd",
    }
    call(
        "portal", "upsert_business", business_id="sunrise", name="Sunrise Home Cleaning", **business
    )
    made = call(
        "portal",
        "upsert_customer",
        business_id="sunrise",
        external_id="1002",
        name="Joe Park",
        email="joe@example.com",
        locale="en",
        timezone="America/Los_Angeles",
        platform_stripe_customer_id="cus_joe",
    )
    world.fails(
        "portal",
        "upsert_customer",
        business_id="sunrise",
        external_id="1003",
        name="Ann",
        email="ann@example.com",
        platform_stripe_customer_id="cus_joe",
    )
    soon = now + dt.timedelta(days=2)
    call(
        "portal",
        "upsert_appointments",
        customer_id=house.maria,
        appointments=[
            {
                "external_id": "a1",
                "title": "Weekly home cleaning",
                "starts_at": soon.isoformat(),
                "ends_at": (soon + dt.timedelta(hours=2)).isoformat(),
                "location": "48 Alder Street",
                "status": "scheduled",
            }
        ],
    )
    joe = made["customer_id"]
    old = call("portal", "link", customer_id=joe)["token"]
    call("portal", "rotate_link", customer_id=joe)
    world.fails("portal", "lookup", token=old)
    world.fails("portal", "lookup", token="x" * 71)
    call("portal", "lookup", token=call("portal", "link", customer_id=house.maria)["token"])
    call("portal", "contact", stripe_customer_id=house.customer_id)
    world.fails("portal", "contact", customer_id=UNKNOWN)
    world.fails("portal", "contact")
    call("portal", "contacts", stripe_customer_ids=[house.customer_id, "cus_unknown"])
    call("portal", "recipients", customers=[house.customer_id, "cus_unknown"], addresses=True)
    call("portal", "business_contact", business_id="sunrise")
    world.fails("portal", "business_contact", business_id="nobody")
    world.fails("portal", "link_customer", customer_id=UNKNOWN, stripe_customer_id="cus_1")
    call("portal", "link_customer", customer_id=joe, stripe_customer_id="cus_joe")
    call(
        "portal",
        "unlink_customer",
        customer_id=joe,
        stripe_customer_id="cus_else",
        withdraw_only=False,
    )
    reference = call("portal", "checkout_reference", customer_id=house.maria)["reference"]
    with house.portal.transaction() as session:
        taken = evidence.read_evidence(
            checkout(reference, "cus_joe", at=now, began=now), REFERENCES
        )
        assert taken is not None
        evidence.take_in(session, [taken], now)
    call("portal", "link_evidence", customer_id=house.maria)
    call("portal", "link_evidence", stripe_customer_id="cus_joe")
    _api_keys(world)
    call("portal", "begin_connecting", business_id="sunrise")
    world.fails("portal", "begin_connecting", business_id="nobody")
    call("portal", "business_accounts", business_id="sunrise")
    call("portal", "business_accounts", accounts=["acct_unknown"])
    call("portal", "businesses_modes")
    call("portal", "observed", stripe_customers=[{"stripe_customer_id": "cus_joe"}])
    _proposals(world)
    _unknown_link(world, joe)
    call("portal", "unknown_links", business_id="sunrise", after=0, limit=1)
    call(
        "portal",
        "import_customers",
        business_id="sunrise",
        rows=[
            ["1004", "Ann Lee", "ann@example.com", "de", "Europe/Berlin", "cus_ann"],
            ["1005", "", "nobody"],
        ],
    )
    call("portal", "export_customers", business_id="sunrise", after=0, limit=2)
    call("portal", "find_customer", reference=house.customer_id, business_id="sunrise")
    with house.portal.transaction() as session:
        resolved_links.opened(session, house.maria, now)
    call("portal", "story", invoice_id=house.failed_invoices()[-1]["id"])
    call("portal", "story", customer_id=house.maria)
    _request(world)


def _api_keys(world: World) -> None:
    """A key of the HTTP API is made, listed and revoked."""
    made = world.call(
        "portal",
        "create_api_key",
        name="our CRM",
        scopes=["customers:read", "customers:write"],
        business_id="sunrise",
        expires_at=(world.now() + dt.timedelta(days=90)).isoformat(),
    )
    world.call("portal", "api_keys", business_id="sunrise")
    world.call("portal", "revoke_api_key", key_id=made["about"]["key_id"])
    world.fails("portal", "revoke_api_key", key_id="key_none")


def _proposals(world: World) -> None:
    """A Stripe customer with the address of a customer, whom a person accepts, and one whom a person refuses."""
    account = world.house.portal
    for number in (1, 2):
        world.call(
            "portal",
            "upsert_customer",
            business_id="sunrise",
            external_id=f"200{number}",
            name="Ada Park",
            email=f"ada{number}@example.com",
        )
        with account.transaction() as session:
            told = seen(
                f"cus_ada{number}",
                f"ada{number}@example.com",
                name="Ada Park",
                imported=True,
            )
            enrolling.take_in(session, [told], world.now())
    found = world.call("portal", "link_proposals", business_id="sunrise", after="", limit=100)
    first, second = (one["proposal_id"] for one in found["proposals"])
    world.call(
        "portal", "accept_proposals", proposal_ids=[first, "cus_x:y"], decided_by="ann on desk"
    )
    world.call("portal", "refuse_proposals", proposal_ids=[second], decided_by="ann on desk")
    world.fails("portal", "link_proposals", business_id="nobody")


def _unknown_link(world: World, customer_id: str) -> None:
    """A link of the time before evidence was kept."""
    with world.house.portal.transaction() as session:
        row = session.scalars(select(CustomerRow).where(CustomerRow.public_id == customer_id)).one()
        row.platform_stripe_customer_id, row.link_source = "cus_joe", None


def _request(world: World) -> None:
    """Maria asks to cancel."""
    house = world.house
    now = house.now()
    with house.portal.transaction() as session:
        session.scalars(select(BusinessRow)).one().may_cancel = False
    with house.portal.transaction() as session:
        snapshot = resolved_links.look_many(session, [house.maria], now)[0]
        assert snapshot is not None
        (subscription, *_) = snapshot.subscriptions
        ask(session, snapshot, subscription, now)
    with house.portal.reading() as session:
        request_id = session.scalars(select(CancellationRequestRow.request_id)).one()
    world.call("portal", "cancellation_links", request_id=request_id)
    with house.portal.transaction() as session:
        row = session.scalars(select(CancellationRequestRow)).one()
        row.status = "approved"
    world.fails("portal", "cancellation_links", request_id=request_id)


def _billing(world: World) -> None:
    house, call = world.house, world.call
    invoice = house.failed_invoices()[-1]["id"]
    call("billing", "customers_may", business_id="sunrise")
    call(
        "billing",
        "create_portal_session",
        stripe_customer_id=house.customer_id,
        return_url="https://portal.example/me/x",
        flow="payment_method_update",
        locale="en",
        business_id="sunrise",
    )
    world.fails(
        "billing",
        "create_portal_session",
        stripe_customer_id="cus_none",
        return_url="https://portal.example/me/x",
    )
    world.fails(
        "billing",
        "create_portal_session",
        stripe_customer_id=house.customer_id,
        return_url="https://elsewhere.example/",
    )
    call("billing", "stripe_account", account="acct_unknown")
    connected = call("billing", "connect_account", code="ac_1")["account"]
    world.fails("billing", "connect_account", code="ac_1")
    call("billing", "stripe_accounts")
    call("billing", "disconnect_account", account=connected)
    call("billing", "stripe_accounts")
    call("billing", "invoice_state", invoice_id=invoice)
    call("billing", "invoice_states", invoice_ids=[invoice, "in_unknown"])
    world.fails("billing", "invoice_state", invoice_id="in_unknown")
    call("billing", "hosted_invoice_url", invoice_id=invoice, stripe_customer_id=house.customer_id)
    call("billing", "subscription_prices", subscription_ids=[house.subscription_id])
    call("billing", "inbox_events", status="translated", type="invoice.payment_failed", limit=2)
    with house.billing.reading() as session:
        event_id = session.scalars(
            select(billing_models.InboxEvent.id).where(
                billing_models.InboxEvent.type == "invoice.payment_failed"
            )
        ).first()
    assert event_id is not None
    call("billing", "inbox_event", event_id=event_id)
    call("billing", "inbox_event", event_id=event_id, payload=True)
    world.fails("billing", "inbox_event", event_id="evt_none")
    world.fails("billing", "replay", event_id="evt_none")
    world.fails("billing", "close_event", event_id=event_id, reason="not quarantined")
    with house.billing.transaction() as session:
        session.add(
            billing_models.InboxEvent(
                id="evt_unreadable",
                type="invoice.paid",
                received_at=world.now(),
                status="quarantined",
                reason="the event has no `livemode`",
                payload="",
            )
        )
    call("billing", "close_event", event_id="evt_unreadable", reason="a test of ours", by="dana")
    call("billing", "replay", event_id=event_id)
    call(
        "billing",
        "note_dead_letter",
        queue="notifier.billing-events",
        event_id=f"{event_id}/invoice.payment_failed",
        action="replayed",
        reason="tried five times",
        attempts=5,
    )
    since = (world.now() - dt.timedelta(days=DAYS + 1)).isoformat()
    call("billing", "republish", queue="notifier.billing-events", since=since, dry_run=True)
    call("billing", "republish", queue="notifier.billing-events", since=since, after=0)
    call("billing", "reconcile", since="3d")
    call("billing", "import_plan")
    while call("billing", "import_page", holder="holder-of-a-test")["what"] != "done":
        pass
    call("billing", "import_findings")
    steps.new_method()(house)
    house.settle()
    call("billing", "recoveries", stripe_customer_id=house.customer_id, limit=2)
    call("billing", "story", invoice_id=invoice)
    call("billing", "story", event_id=event_id)
    world.fails(
        "billing", "hosted_invoice_url", invoice_id=invoice, stripe_customer_id=house.customer_id
    )
    world.fails("billing", "collect_invoice", invoice_id=invoice, request_id="again")
    house.say_mode(OBSERVE)
    world.services["billing"].portal.observe = True
    for step in (steps.renewal_fails("insufficient_funds"), steps.new_method()):
        step(house)
        house.settle()
    unpaid = house.failed_invoices()[-1]["id"]
    (observed,) = call("billing", "observed_charges", since=since)["charges"]
    assert (observed["invoice_id"], observed["invoice_status"]) == (unpaid, "open")
    world.fails("billing", "collect_invoice", invoice_id=unpaid, request_id="req-1")
    house.say_mode(LIVE)
    world.services["billing"].portal.observe = False
    call("billing", "collect_invoice", invoice_id=unpaid, request_id="req-1")
    world.fails(
        "billing",
        "cancel_at_period_end",
        stripe_customer_id="cus_else",
        subscription_id=house.subscription_id,
        idempotency_key="k",
    )
    call(
        "billing",
        "cancel_at_period_end",
        stripe_customer_id=house.customer_id,
        subscription_id=house.subscription_id,
        idempotency_key="k",
    )
    house.settle()
    house.call(f"/v1/subscriptions/{house.subscription_id}", "DELETE")
    house.settle()
    call("billing", "stripe_account", account="acct_unknown")
    call("billing", "stripe_accounts")
    call("billing", "invoice_state", invoice_id=invoice)
    call("billing", "subscription_prices", subscription_ids=[house.subscription_id])


def _hooks(world: World) -> None:
    """An endpoint for webhooks is made, tried, changed and deleted."""
    call = world.call
    url = "https://hooks.sunrise.example/portico"
    wanted = {"event_types": ["invoice.paid"], "business_id": "sunrise"}
    made = call("notifier", "create_webhook_endpoint", url=url, **wanted)
    one = {"endpoint_id": made["about"]["endpoint_id"], "business_id": "sunrise"}
    sent = call("notifier", "test_webhook_endpoint", **one)
    with world.house.notifier.db.transaction() as session:
        session.add(
            HookAttempt(
                endpoint_id=one["endpoint_id"],
                hook_event_id=sent["event_id"],
                at=world.now(),
                status=500,
                milliseconds=12,
                error="http_500",
            )
        )
    call("notifier", "webhook_attempts", **one)
    since = (world.now() - dt.timedelta(days=1)).isoformat()
    call("notifier", "replay_webhooks", **one, since=since)
    call("notifier", "replay_webhooks", **one, event_id=sent["event_id"])
    call("notifier", "webhook_endpoints", business_id="sunrise")
    call("notifier", "webhook_endpoint", **one)
    call("notifier", "rotate_webhook_secret", **one)
    call("notifier", "change_webhook_endpoint", **one, enabled=False)
    call("notifier", "delete_webhook_endpoint", **one)
    for method in ("webhook_endpoint", "delete_webhook_endpoint", "webhook_attempts"):
        world.fails("notifier", method, **one)
    made_once = {"url": url, "request_id": "0" * 64, "repeated": True}
    world.fails("notifier", "create_webhook_endpoint", **made_once)


def _observed(world: World, notification_id: str) -> None:
    """An email was observed; a person looks at it, and accepts it when the business is live."""
    with world.house.notifier.db.transaction() as session:
        row = session.scalars(
            select(Notification).where(Notification.notification_id == notification_id)
        ).one()
        row.status, row.reason, row.business_id = Status.OBSERVED, "observed", "sunrise"
    world.call("notifier", "observed", business_id="sunrise")
    world.call("notifier", "observed")
    world.fails("notifier", "observed", business_id="sunrise", starting_after="ntf_none")
    wanted = {"notification_ids": [notification_id]}
    world.call("portal", "set_mode", business_id="sunrise", mode="observe")
    world.fails("portal", "set_mode", business_id="nobody", mode="live")
    world.fails("notifier", "accept_observed", **wanted)
    world.call("portal", "set_mode", business_id="sunrise", mode="live")
    world.call("notifier", "accept_observed", **wanted)


def _notifier(world: World) -> None:
    house, call = world.house, world.call
    _hooks(world)
    invoice = house.failed_invoices()[0]["id"]
    call("notifier", "notifications", invoice_id=invoice, limit=2)
    call("notifier", "emails_of_invoices", invoice_ids=[invoice])
    sent = call("notifier", "notifications", stripe_customer_id=house.customer_id, limit=500)
    notification_id, failed_id, *_ = (one["notification_id"] for one in sent if one["sent_at"])
    again = call("notifier", "resend", notification_id=notification_id)
    world.fails("notifier", "resend", notification_id="ntf_none")
    call("notifier", "cancel", notification_id=again["notification_id"])
    world.fails("notifier", "cancel", notification_id=again["notification_id"])
    with house.notifier.db.transaction() as session:
        row = session.scalars(
            select(Notification).where(Notification.notification_id == failed_id)
        ).one()
        row.status, row.reason, row.sent_at, row.delivered_at = Status.FAILED, "gave up", None, None
    since = (world.now() - dt.timedelta(days=DAYS + 1)).isoformat()
    call("notifier", "resend_failed", failed_since=since, limit=2, dry_run=True)
    call("notifier", "resend_failed", failed_since=since, limit=2)
    _observed(world, failed_id)
    _welcomes(world)
    context = {
        "request_id": "req-1",
        "description": "Weekly home cleaning",
        "ends_at": world.now().isoformat(),
        "note": "We move.",
    }
    call(
        "notifier",
        "send_customer_mail",
        kind="cancellation_approved",
        customer_id=house.maria,
        context=context,
    )
    call(
        "notifier",
        "send_business_mail",
        kind="cancellation_requested",
        customer_id=house.maria,
        context=context,
    )
    call("notifier", "send_fresh_link", customer_id=house.maria)
    call("notifier", "preview", kind="payment_failed", locale="en")
    call("notifier", "send_test_mail", to="me@example.com", business_id="sunrise")
    world.fails("notifier", "send_test_mail", to="me@example.com", business_id="nobody")
    call("notifier", "stats", since=since)
    with house.billing.reading() as session:
        events = list(session.scalars(select(billing_models.InboxEvent.id)))
    call("notifier", "story", invoice_id=invoice, event_ids=events[:300])
    world.fails("notifier", "story")


def _welcomes(world: World) -> None:
    everybody = world.call("portal", "export_customers", business_id="sunrise", after=0, limit=2)
    recipients = [
        {"customer_id": one["customer_id"], "email": one["email"], "timezone": one["timezone"]}
        for one in everybody["customers"]
    ]
    asked = {"business_id": "sunrise", "recipients": recipients, "per_hour": 500}
    world.call("notifier", "queue_welcomes", **asked, dry_run=True)
    world.call("notifier", "queue_welcomes", **asked)
    world.fails("notifier", "queue_welcomes", **asked | {"business_id": "nowhere"})
    world.call("notifier", "welcomes", business_id="sunrise")
    world.call("notifier", "stop_welcomes", business_id="sunrise")


def _erasures(world: World) -> None:
    house = world.house
    ids = {"stripe_customer_id": house.customer_id, "customer_id": house.maria}
    world.call("notifier", "erase_customer", **ids)
    world.call(
        "billing",
        "erase_customer",
        stripe_customer_id=house.customer_id,
        also=["maria@example.com"],
    )
    world.call("billing", "erase_customer", stripe_customer_id=house.customer_id, after="outbox:0")
    world.call("portal", "erase_customer", **ids)
