"""All of Portico around one Stripe, in memory: what happens at Stripe is told to the three services by their own handlers.

Stripe is the sandbox's, reached by billing's real gateway; events travel as the bytes that would lie in an inbox, an outbox
and a queue. Only what carries them (HTTP, broker, threads) is left out, so a whole story takes hundredths of a second.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import urllib3
from babel import Locale
from sqlalchemy import func, select

from sandbox.config import SandboxConfig
from sandbox.stripe_api import StripeApi, collection, dunning
from sandbox.stripe_api.clock import LIVE
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.forms import decode as read_form
from sandbox.stripe_api.versions import render_for
from services.billing import models as billing_models
from services.billing.adapters.portal import PortalBusinesses
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.adapters.stripe.lists import StripeLists
from services.billing.domain.budget import Budget
from services.billing.handlers import inbox
from services.billing.queries import outbox, reconciliation
from services.billing.stripe_events.imports import Run
from services.billing.stripe_events.translation import ROUTES
from services.billing.workflows import importing, reconciling, recovery
from services.billing.workflows import invoice_reports as looking
from services.billing.workflows.pricing import subscription_prices
from services.notifier import models as notifier_models
from services.notifier.adapters.billing import BillingInvoices, fetch_invoices
from services.notifier.adapters.portal import PortalContacts, fetch_contacts
from services.notifier.domain.vocabulary import ACTIVE
from services.notifier.handlers import events as notifier_events
from services.notifier.handlers import observing
from services.notifier.handlers import stats as counting
from services.notifier.ports import Mail
from services.portal import models as portal_models
from services.portal import serializers as wire
from services.portal.adapters.billing import RpcBilling
from services.portal.domain.invoices import SETTLING_FOR
from services.portal.domain.notice import Notice
from services.portal.domain.subscribed import ShownSubscriptions, to_ask_about
from services.portal.handlers import customers as portal_customers
from services.portal.handlers import events as portal_events
from services.portal.handlers import evidence, modes, resolved_links
from services.portal.web import views
from services.portal.workflows import billing_sync as learning
from services.portal.workflows.billing_sync import CARD_ANSWERS_IN
from shared import events as contract
from shared.contracts.accounts import OWN, StripeCustomer
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import StripeUnavailable
from shared.contracts.rpc.modes import Observed
from shared.http_client import HttpPool
from shared.mode import OBSERVE
from tests.fixtures.accounts import OWN_ALONE
from tests.unit import tables
from tests.unit.notifier.conftest import House as Notifier
from tests.unit.portal.builders import REFERENCES, TOKEN, add_business, add_customer

START: Final = int(dt.datetime(2026, 11, 2, 15, tzinfo=dt.UTC).timestamp())
STRIPE: Final = "http://stripe.example"
NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
CUSTOMER, BUSINESS = "maria@example.com", "hello@sunrise.example"


class AtOnce(HttpPool):
    """A pool whose every request goes straight into the sandbox's Stripe."""

    def __init__(self, world: StripeApi) -> None:
        super().__init__(STRIPE, words=(), connections=1, timeouts=(1, 1))
        self.world = world
        self.paying: Callable[[str], None] = lambda invoice_id: None
        """Told of each wish to have an invoice paid, before Stripe has heard of it."""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeouts: tuple[float, float] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        url = urlsplit(path)
        params = {**read_form(url.query), **read_form((body or b"").decode())}
        if url.path.endswith("/pay") and url.path.startswith("/v1/invoices/"):
            self.paying(url.path.split("/")[3])
        answer = self.world.perform(method, url.path, params, headers.get("Idempotency-Key"))
        told = {"Content-Type": "application/json", "Request-Id": "req_1"}
        if answer.replayed:
            told["Idempotent-Replayed"] = "true"
        return urllib3.HTTPResponse(answer.body, told, answer.status)


@dataclass(frozen=True)
class PortalRpc:
    """The portal as the other two call it."""

    house: House

    def contacts(self, stripe_customer_ids: list[str]) -> Any:
        asked = [portal_customers.Asked(StripeCustomer(OWN, one)) for one in stripe_customer_ids]
        with self.house.portal.reading() as session:
            found = portal_customers.contacts(session, asked, self.house.now())
        told = zip(stripe_customer_ids, found, strict=True)
        return plain(
            {
                one: wire.contact(person, f"https://portal.example/me/{TOKEN}", "Portico")
                for one, person in told
                if person is not None
            }
        )

    def observed(self, stripe_customers: list[dict[str, str]]) -> Any:
        asked = [StripeCustomer(OWN, one["stripe_customer_id"]) for one in stripe_customers]
        with self.house.portal.reading() as session:
            told = modes.observed(session, asked)
        return plain(
            Observed(
                observed=[one.observes for one in told], live_since=[one.live_since for one in told]
            )
        )


@dataclass(frozen=True)
class BillingRpc:
    """Billing as the other two call it."""

    house: House

    def invoice_states(self, invoice_ids: list[str]) -> Any:
        return plain(
            looking.invoice_states(
                self.house.billing,
                self.house.gateway,
                Budget(0.0 if self.house.stripe_busy else 1e9),
                invoice_ids,
                side_by_side=lambda look, ids: {one: look(one) for one in ids},
                run_concurrently=lambda ask: ask,
            )
        )

    def subscription_prices(self, subscription_ids: list[str]) -> Any:
        return plain(
            subscription_prices(
                self.house.gateway,
                Budget(1e9),
                subscription_ids,
                side_by_side=lambda look, ids: {one: look(one) for one in ids},
            )
        )


@dataclass
class Wire:
    """What the broker holds: events of ours, in the order in which they were published."""

    waiting: list[contract.Event] = field(default_factory=list)

    def publish_batch(self, events: Sequence[contract.Event]) -> list[Exception | None]:
        self.waiting += [contract.decode(contract.encode(one)) for one in events]
        return [None] * len(events)


@dataclass(frozen=True)
class Sent:
    """A mail, when it left, and the page at that moment."""

    mail: Mail
    at: dt.datetime
    page: Page | None
    """None where the portal had not been told of everything."""
    dates: frozenset[dt.datetime]
    """When Stripe would really charge something then."""


@dataclass(frozen=True)
class Page:
    """The customer's page: what it is drawn from, and the words that they read."""

    notice: Notice
    text: str


@dataclass(frozen=True)
class OwnCharge:
    """A payment that Portico asked for, and how invoice and subscription stood at Stripe just before."""

    invoice: dict[str, Any]
    subscription: dict[str, Any] | None
    advanced_before: bool
    """Stripe had ever collected it by itself."""

    @property
    def was_stopped(self) -> bool:
        """Stripe or the business had stopped collecting the invoice, and not because its payments had failed."""
        subscription = self.subscription or {"status": "none"}
        if subscription["status"] == "canceled":
            gave_up = subscription["cancellation_details"]["reason"] == "payment_failed"
            return not gave_up and not self.invoice["auto_advance"]
        stopped = self.advanced_before and not self.invoice["auto_advance"]
        return stopped and subscription["status"] != "unpaid"


class House:
    """One business, one customer, one Stripe, and the three services."""

    def __init__(
        self, *, version: str | None = None, order: random.Random | None = None, **account: Any
    ) -> None:
        """`version` is the API version of the webhook's endpoint, None the current one. `order`: events of Stripe come out of
        order, late and twice, by these dice. `account` is what the business has chosen in Stripe's dashboard."""
        self.version, self.order = version, order
        self.world = StripeApi(SandboxConfig(clock=lambda: START))
        if account:
            self.call("/sandbox/account", **account)
        self.stripe_events: list[dict[str, Any]] = []
        self.undelivered: list[dict[str, Any]] = []
        self.held = False
        self._withheld: list[dict[str, Any]] = []
        self.world.on_event(self._told)
        self.transport = AtOnce(self.world)
        self.transport.paying = self._note_charge
        self.gateways = StripeGateways("sk_test_" + "x" * 12, STRIPE, pool=self.transport)
        self.gateway = self.gateways.at(OWN)
        self.businesses = PortalBusinesses(PortalRpc(self), all_observe=False)
        self.billing = tables.empty(billing_models.Base.metadata)
        with (
            self.billing.transaction() as session
        ):  # as its first start does: what is older is none of ours
            reconciliation.reconciled_until(session, OWN, self.now())
        self.portal = tables.empty(portal_models.Base.metadata)
        self.notifier = Notifier(tables.empty(notifier_models.Base.metadata), clock=self.now)
        self.notifier.portal = PortalContacts(
            PortalRpc(self), lambda one: lambda: fetch_contacts(PortalRpc(self), [one])[0]
        )
        self.notifier.billing = BillingInvoices(
            BillingRpc(self), lambda one: fetch_invoices(BillingRpc(self), [one])[0]
        )
        self.wire = Wire()
        self.stripe_busy = False
        """Nobody may ask Stripe about an invoice now: what its webhooks have told must do."""
        self.mails: list[Sent] = []
        self.own_charges: list[OwnCharge] = []
        self._holders = itertools.count()
        self._next = self.now()
        self._card_came = self.now() - SETTLING_FOR
        """When a payment method was last changed: for a while the portal asks whether its payment takes days."""
        self.customer_id = ""
        self.subscription_id = ""

    # -- time and Stripe ---------------------------------------------------------------------------------------

    def now(self) -> dt.datetime:
        """This moment, at Stripe and here."""
        return dt.datetime.fromtimestamp(self.world.now(), dt.UTC)

    def call(self, path: str, method: str = "POST", /, **params: Any) -> dict[str, Any]:
        """What somebody does at Stripe."""
        return self.world.call(method, path, params)

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """An object of Stripe's."""
        return self.world.call("GET", path, params)

    def invoices(self) -> list[dict[str, Any]]:
        """The customer's finalized invoices at Stripe, oldest first."""
        found = self.world.store.oldest("invoice", "customer", self.customer_id)
        return [one for one in found if one["status"] != "draft"]

    def failed_invoices(self) -> list[dict[str, Any]]:
        """Those of which a charge has ever failed."""
        failed = {
            event["data"]["object"]["id"]
            for event in self.stripe_events
            if event["type"] in ("invoice.payment_failed", "invoice.payment_action_required")
        }
        return [one for one in self.invoices() if one["id"] in failed]

    def real_dates(self) -> frozenset[dt.datetime]:
        """When Stripe will charge an open invoice by itself: after some declines its dates go on, and it charges nothing."""
        found = set()
        for one in self.invoices():
            method = collection.method_for(self.world, one)
            at = one["next_payment_attempt"] if dunning.collected_by_stripe(one) else None
            # Without any payment method the date stands; what comes of it then is told then.
            if at is not None and (method is None or not dunning.is_pointless(one, method)):
                found.add(dt.datetime.fromtimestamp(at, dt.UTC))
        return frozenset(found)

    def subscription_of(self, invoice: dict[str, Any]) -> dict[str, Any] | None:
        """The subscription at Stripe that an invoice is of."""
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        return self.world.store.get(details.get("subscription") or "")

    def be_busy(self, busy: bool) -> None:
        """Nobody may ask Stripe about invoices now; or they may again, and those that wait for it do."""
        self.stripe_busy = busy
        self._next = self.now()

    def hold(self, held: bool) -> None:
        """Stripe's events stay away, or come at last."""
        self.held = held
        if not held:
            self.undelivered += self._withheld
            self._withheld = []

    def forget(self) -> None:
        """What was held came before there was a Portico: nobody will ever hear of it."""
        self.held, self._withheld = False, []

    def import_from_stripe(self) -> None:
        """A person has what is there at Stripe imported: for the pages alone."""
        lists, run, done = StripeLists(self.gateway), Run(OWN, False, "", self.now()), False
        while not done:
            step = importing.step(
                self.billing, lists, None, run, holder="importing", clock=self.now
            )
            done = step.progress.finished
        self._relay()
        events, self.wire.waiting = self.wire.waiting, []
        told = [one for one in events if portal_events.can_be_imported(one)]
        with self.portal.transaction() as session:
            portal_events.handle_imported(session, told, self.now())
        self._next = self.now()

    def _told(self, event: dict[str, Any]) -> None:
        self.stripe_events.append(event)
        if event["type"] in ROUTES:  # the endpoint hears of nothing else
            (self._withheld if self.held else self.undelivered).append(event)

    def _note_charge(self, invoice_id: str) -> None:
        invoice = self.world.get("invoice", invoice_id)
        subscription = self.subscription_of(invoice)
        advanced = any(
            one["data"]["object"]["id"] == invoice_id and one["data"]["object"]["auto_advance"]
            for one in self.stripe_events
            if one["data"]["object"]["object"] == "invoice" and "id" in one["data"]["object"]
        )
        self.own_charges.append(
            OwnCharge(copy.deepcopy(invoice), copy.deepcopy(subscription), advanced)
        )

    # -- people ------------------------------------------------------------------------------------------------

    def open_shop(self, method: str | None = "pm_card_visa", **business: Any) -> None:
        """A business and Maria, who is a customer of it, here and at Stripe, with a default payment method."""
        # The card comes with the customer: set afterwards it is a change of card, upon which billing looks for what is open.
        default = {"payment_method": method, "invoice_settings": {"default_payment_method": method}}
        made = self.call(
            "/v1/customers", name="Maria Lopez", email=CUSTOMER, **(default if method else {})
        )
        self.customer_id = str(made["id"])
        with self.portal.transaction() as session:
            add_business(session, email=BUSINESS, **business)
            maria = add_customer(session, platform_stripe_customer_id=self.customer_id)
            self.maria = maria.customer_id

    def say_mode(self, mode: str) -> None:
        """A person lets the business observe, or go live."""
        with self.portal.transaction() as session:
            modes.set_mode(session, "sunrise", mode, False, self.now())

    @property
    def observes(self) -> bool:
        """Whether the business does."""
        with self.portal.reading() as session:
            (business,) = modes.businesses(session, "sunrise", None, 1)
            return business.mode == OBSERVE

    def observed(self) -> list[str]:
        """The mails that would have gone and were not accepted, by their ids."""
        with self.notifier.db.reading() as session:
            found = observing.observed(
                session, business_id="sunrise", since=None, starting_after=None, limit=100
            )
        return [one.notification_id for one in found.notifications]

    def accept_observed(self) -> None:
        """A person has all of that sent."""
        with self.notifier.db.transaction() as session:
            observing.accept(session, self.observed(), self.now())
        self._next = self.now()

    def new_default(self, method: str) -> str:
        """The customer chooses another payment method; its id."""
        card = self.call(f"/v1/payment_methods/{method}/attach", customer=self.customer_id)["id"]
        self.call(
            f"/v1/customers/{self.customer_id}", invoice_settings={"default_payment_method": card}
        )
        return str(card)

    def subscribe(self, amount: int = 4900, **params: Any) -> None:
        """Maria begins a monthly subscription."""
        product = self.call("/v1/products", name="Weekly home cleaning")["id"]
        price = self.call(
            "/v1/prices",
            product=product,
            currency="usd",
            unit_amount=amount,
            recurring={"interval": "month"},
        )["id"]
        made = self.call(
            "/v1/subscriptions", customer=self.customer_id, items=[{"price": price}], **params
        )
        self.subscription_id = str(made["id"])

    # -- the services at work ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everybody do what there is to do now."""
        if not self.undelivered and self.now() < self._next:
            return
        before = len(self.notifier.mailer.inbox)
        for _ in range(60):
            while self._deliver():
                self._hear()
            self._resume()
            if not (self._learn() or self.notifier.work() or self.undelivered):
                break
        else:
            raise AssertionError("the services never come to rest")
        self._next = self._our_next()
        new = self.notifier.mailer.inbox[before:]
        page = self.page() if new and not self.held else None
        self.mails += [Sent(mail, self.now(), page, self.real_dates()) for mail in new]

    def wait(self, *, seconds: int = 0, **span: float) -> None:
        """Time passes: what falls due at Stripe and here is done at its own time."""
        until = self.world.now() + seconds + int(dt.timedelta(**span).total_seconds())
        while True:
            self.settle()
            now = self.world.now()
            if now >= until:
                return
            ours = self._next.timestamp() if self._next < NEVER else until
            following = self.world.schedule.peek(LIVE)
            stripes = following[0] if following else until
            self.world.advance(to=max(now + 1, int(min(ours + 1, stripes, until))))

    def _our_next(self) -> dt.datetime:
        """When one of the services has something to do by itself."""
        row, change = notifier_models.Notification, billing_models.PaymentMethodChange
        with self.notifier.db.reading() as session:
            mail = session.scalar(
                select(func.min(row.due_at)).where(row.status.in_([one.value for one in ACTIVE]))
            )
        with self.billing.reading() as session:
            card = session.scalar(select(func.min(change.due_at)).where(change.closed_at.is_(None)))
        owed, now = portal_models.InvoiceRow, self.now()
        with self.portal.reading() as session:
            asks = session.scalar(
                select(func.min(owed.ask_again_at)).where(
                    owed.status == "open", owed.ask_again_at > now
                )
            )
        first = self._card_came + CARD_ANSWERS_IN
        times = [mail, card, asks, first if first > now else None]
        return min((at for at in times if at is not None), default=NEVER)

    def _deliver(self) -> bool:
        batch, self.undelivered = self.undelivered, []
        if self.order is not None:
            batch, late = self._shuffled(batch)
            self.undelivered = late
        if not batch:
            return False
        received = [self.read(event) for event in batch]
        with self.billing.transaction() as session:
            inbox.store_webhooks(session, received, self.now())
        self._relay()
        return bool(self.wire.waiting)

    def read(self, event: dict[str, Any], version: str | None = None) -> inbox.Received:
        """What billing makes of an event in the shape of an API version (the endpoint's by default)."""
        body = msgspec.json.encode(render_for(event, version or self.version))
        return inbox.read_webhook(body, directory=OWN_ALONE)

    def _shuffled(self, batch: list[Any]) -> tuple[list[Any], list[Any]]:
        dice = self.order or random.Random(0)
        late = [one for one in batch if dice.random() < 0.2]
        now = [one for one in batch if one not in late]
        now += [one for one in now if dice.random() < 0.2]
        dice.shuffle(now)
        return now, late

    def _relay(self) -> None:
        with self.billing.transaction() as session:
            outbox.OUTBOX.relay(session, self.wire, self.now())

    def _hear(self) -> None:
        events, self.wire.waiting = self.wire.waiting, []
        for together, some in itertools.groupby(events, portal_events.is_about_invoice):
            if together:
                batch = list(some)
                with self.portal.transaction() as session:
                    portal_events.handle_invoices(session, batch, self.now())
                with self.notifier.db.transaction() as session:
                    notifier_events.handle_invoices(session, batch, self.now())
            else:
                for event in some:
                    self._hear_one(event)

    def _hear_one(self, event: contract.Event) -> None:
        told = evidence.read_evidence(event, REFERENCES)
        with self.portal.transaction() as session:
            if told is not None:
                evidence.take_in(session, [told], self.now())
            else:
                portal_events.handle(session, event, self.now())
        if type(event.data) in notifier_events.ROUTES:
            self.notifier.hear(event)
        if isinstance(event.data, contract.PaymentMethodChanged):
            self._card_came = self.now()
            self._recover(event)

    def _recover(self, event: contract.Event) -> None:
        with self.billing.reading() as session:
            wish = recovery.wish_of(session, event.correlation_id, event.occurred_at, event.data)
        if wish is not None:
            self._try_card(recovery.recover, wish)

    def _resume(self) -> bool:
        accounts = recovery.accounts_due(self.billing, self.now())
        for account in accounts:
            for change in recovery.due(self.billing, account, self.now()):
                self._try_card(recovery.resume, change)
        return bool(accounts)

    def _try_card(self, work: Callable[..., Any], subject: Any) -> None:
        holder = f"holder-{next(self._holders)}"
        with contextlib.suppress(StripeUnavailable):
            work(
                self.billing,
                self.gateway,
                subject,
                businesses=self.businesses,
                holder=holder,
                clock=self.now,
            )

    def _learn(self) -> bool:
        return learning.learn_cards(self.portal, RpcBilling(BillingRpc(self)), self.now()).more

    def learn_prices(self) -> None:
        """The portal asks what the subscriptions cost that the page has shown."""
        self.settle()
        shown, now = ShownSubscriptions(), self.now()
        with self.portal.reading() as session:
            (snapshot,) = resolved_links.look_many(session, [self.maria], now)
        shown.add(to_ask_about(snapshot, now), now)
        learning.learn_prices(self.portal, RpcBilling(BillingRpc(self)), shown, now)

    def look_through_unpaid(self) -> None:
        """Billing reads Stripe's log and looks through what is unpaid, as it does once a day."""
        with contextlib.suppress(StripeUnavailable):
            reconciling.reconcile(
                self.billing,
                self.gateway,
                self.now() - dt.timedelta(days=29),
                holder="reconciling",
                clock=self.now,
            )
        self._relay()
        self._hear()
        self._next = self.now()

    # -- what people see ---------------------------------------------------------------------------------------

    def page(self) -> Page:
        """Maria's page now."""
        now = self.now()
        with self.portal.reading() as session:
            (snapshot,) = resolved_links.look_many(session, [self.maria], now)
        assert snapshot is not None
        notice = resolved_links.notice_for(snapshot, now)
        view = views.MeView(
            snapshot=snapshot, notice=notice, token=TOKEN, locale=Locale("en"), now=now
        )
        html = views.me(view, session_origins=()).html
        return Page(notice, words_of(html))

    def stats(self) -> dict[str, Any]:
        """What the business is told about the whole time."""
        since = dt.datetime.fromtimestamp(START, dt.UTC) - dt.timedelta(days=1)
        with self.notifier.db.reading() as session:
            return plain(counting.stats(session, since, self.now()))


def words_of(html: str) -> str:
    """What a reader reads of the page about money and subscriptions, a sentence a line."""
    import re
    from html import unescape

    body = html.partition("<main")[2].partition("</main>")[0]
    body = re.sub(r"<form.*?</form>|<details.*?</details>|<svg.*?</svg>", "", body, flags=re.DOTALL)
    body = re.sub(r'<span class="whole">(.*?)</span>', r"\1", body)  # part of its line
    lines = re.split(r"</?(?:p|h1|h2|h3|li|ul|section|div|time|span)\b[^>]*>", body)
    plain = (re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", line))).strip() for line in lines)
    return "\n".join(line for line in plain if line)


__all__ = ["BUSINESS", "CUSTOMER", "START", "House", "Page", "Sent", "StripeError"]
