"""Stripe behind the port: with `client` and `errors` the only module that imports stripe.

Stripe's objects and errors end here; what leaves are frozen dataclasses and the errors of `domain`. Facts about the
library that are built in below were measured with stripe 16.1.0:

- `StripeClient` does not retry unless told to, and its default time-out is 80 s.
- Its default HTTP client opens a TLS connection per green thread, and takes three times as long for a request as `transport`.
- Telemetry writes a file under the home directory.
- The `stripe` logger prints response bodies at DEBUG, portal URLs among them, and Stripe's messages at INFO, which
  may quote an e-mail address.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import stripe  # noqa: TID251
import urllib3
from prometheus_client import Counter

from services.billing.adapters.stripe.bodies import read_object, read_page
from services.billing.adapters.stripe.client import Library, OnAccount, stripe_client
from services.billing.adapters.stripe.errors import (
    is_replayed,
    meaning_of,
    payment_of,
    stripe_errors,
    summary_of,
)
from services.billing.adapters.stripe.objects import (
    CHOICE_EXPANDS,
    LOOK_EXPANDS,
    PATH_WORDS,
    configuration_policy,
    to_customers_defaults,
    to_hosted_invoice,
    to_invoice,
    to_look,
    to_subscription,
)
from services.billing.adapters.stripe.payment_objects import to_payment_trace
from services.billing.adapters.stripe.price_objects import PREVIEW_EXPANDS, to_price_look
from services.billing.adapters.stripe.transport import PooledClient
from services.billing.domain.accounts import Way
from services.billing.domain.errors import (
    KeySpent,
    NoDefaultConfiguration,
    OwnKeyRefused,
    PlatformMayNot,
    PortalFlowRefused,
    StripeKeyRefused,
    StripePermissionMissing,
)
from services.billing.domain.list_sizes import ObjectPage
from services.billing.domain.paying import (
    OWN_POINTING_PREFIX,
    Customer,
    HostedInvoice,
    Invoice,
    InvoiceLook,
    Payment,
    PaymentTrace,
    PayOutcome,
    PriceLook,
    Subscription,
    is_live_key,
)
from services.billing.domain.portal import PortalConfiguration, PortalPolicy, PortalSession
from services.billing.domain.reads import ReadKey, ReadTally
from services.billing.settings import STRIPE_API
from services.billing.stripe_events.portal_configurations import to_configuration
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.payments import is_source
from shared.contracts.rpc.errors import (
    PortalConfigurationMissing,
    StripeRefused,
    UnknownInvoice,
    UnknownStripeCustomer,
    UnknownSubscription,
)
from shared.http_client import HttpPool
from shared.settings import Secret

CLICK_TIMEOUT: Final = (2.0, 3.0)
"""Connect and read, in seconds, while a customer waits."""
WORK_TIMEOUT: Final = (3.0, 10.0)
CLICK_RETRIES: Final = 0
WORK_RETRIES: Final = 2
POOL_SIZE: Final = 50
"""As many connections as nameko has workers."""
PAGE: Final = 100
MOST_TYPES: Final = 20
"""How many types of events Stripe's log takes in one question. https://docs.stripe.com/api/events/list"""
NEVER_SAVED: Final = re.compile(
    r"default configuration has not been created|save your customer portal settings", re.IGNORECASE
)
"""How Stripe says that a session was to use the dashboard's configuration, and that there is none. It has no code."""
MAX_INVOICES: Final = 300
"""A customer with more open invoices than this needs a person."""


READS: Final = Counter(
    "portico_stripe_reads_total",
    "GET requests that Stripe answered; it counts them against a month's allowance",
)


class StripeGateways:
    """`PaymentGateways` on Stripe's API, or on a stand-in at `api_base`: one pool of connections, whatever accounts and keys
    there are."""

    def __init__(
        self,
        api_key: str,
        api_base: str,
        own_key: Callable[[Account], Secret | None] = lambda account: None,
        application: str | None = None,
        pool: HttpPool | None = None,
    ) -> None:
        """`own_key`: the key of an account that has one of its own; all are of the mode of `api_key`. `application` is what the account
        of `api_key` is called as a platform, `ca_…`, if it is one. `pool`: what leads to `api_base`; None: one of its own."""
        self.application = application
        self.livemode = is_live_key(api_key)
        self.dashboard_url = _dashboard(api_base)
        self.own_key = own_key
        self.reads = ReadTally()
        """The reads that were not stored yet."""
        self._accounts_of_keys: dict[str, Account] = {}
        self.choice_hidden: set[Account] = set()
        """Accounts whose key may not see what is charged next."""
        # Telemetry is a switch of the whole library: set where the library is first used, not at import.
        stripe.enable_telemetry = False
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._pool = pool or HttpPool(
            api_base,
            words=PATH_WORDS,
            connections=POOL_SIZE,
            timeouts=WORK_TIMEOUT,
            trusted=stripe.ca_bundle_path,
        )

        def client(timeouts: tuple[float, float], retries: int) -> Library:
            http_client = PooledClient(api_base, self._pool, timeouts, self._count_read)
            return stripe_client(api_key, api_base, http_client, retries=retries)

        self.click = client(CLICK_TIMEOUT, CLICK_RETRIES)
        self.work = client(WORK_TIMEOUT, WORK_RETRIES)

    def __repr__(self) -> str:
        return f"StripeGateways(livemode={self.livemode})"

    def at(self, account: Account) -> StripeGateway:
        """See `PaymentGateways.at`. Made for each use: it holds nothing of its own."""
        return StripeGateway(self, account)

    def key_of(self, account: Account) -> Secret | None:
        """The account's own key, if it has one; what is read with it is the account's."""
        key = self.own_key(account)
        if key is not None:
            self._accounts_of_keys[f"Bearer {key.reveal()}"] = account
        return key

    def _count_read(
        self, method: str, headers: Mapping[str, str], answer: urllib3.BaseHTTPResponse
    ) -> None:
        if method.upper() != "GET":
            return
        READS.inc()
        keyed = self._accounts_of_keys.get(str(headers.get("Authorization")))
        account = Account(str(headers.get("Stripe-Account", OWN)))
        today = utc_now().date()
        own_key = keyed is not None
        self.reads.count(ReadKey(account if keyed is None else keyed, today, own_key))

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.close()


class StripeGateway:
    """`PaymentGateway` on one account of Stripe's API."""

    def __init__(self, gateways: StripeGateways, account: Account) -> None:
        self.account = account
        self.livemode = gateways.livemode
        mode = "" if self.livemode else "/test"
        of_account = f"/{account}" if account else ""
        self.dashboard_url = f"{gateways.dashboard_url}{of_account}{mode}"
        key = gateways.key_of(account)
        self.way = (Way.CONNECTED if key is None else Way.OWN_KEY) if account else None
        self.application = gateways.application
        self._forbidden = PlatformMayNot if self.way is Way.CONNECTED else None
        """What it means where Stripe does not allow a change, and our key has the right to it."""
        refused = OwnKeyRefused if self.way is Way.OWN_KEY else StripeKeyRefused
        self.errors = partial(stripe_errors, key_refused=refused)
        """Turns the library's errors into ours."""
        self._gateways = gateways
        self._click = OnAccount(gateways.click.api, account, key)
        self._work = OnAccount(gateways.work.api, account, key)
        self._body = OnAccount(gateways.work.body, account, key)
        self._click_body = OnAccount(gateways.click.body, account, key)

    def __repr__(self) -> str:
        return f"StripeGateway(account={self.account!r}, livemode={self.livemode})"

    @property
    def api(self) -> OnAccount:
        """The account for work that nobody waits for; `stripe_account` looks at the account itself with it."""
        return self._work

    @property
    def api_version(self) -> str:
        """The API version that the library speaks, which payloads must have too."""
        return str(stripe.api_version)

    # -- portal -------------------------------------------------------------------------------------------

    def create_portal_session(
        self,
        stripe_customer_id: str,
        configuration_id: str | None,
        return_url: str,
        flow: str | None,
        locale: str,
        on_behalf_of: str = "",
    ) -> PortalSession:
        params: dict[str, Any] = {
            "customer": stripe_customer_id,
            "return_url": return_url,
            "locale": locale,
            "expand": ["configuration"],
        }
        if on_behalf_of:
            params["on_behalf_of"] = on_behalf_of
        if configuration_id is not None:
            params["configuration"] = configuration_id
        if flow is not None:
            params["flow_data"] = {
                "type": flow,
                "after_completion": {"type": "redirect", "redirect": {"return_url": return_url}},
            }
        with self.errors(customer=stripe_customer_id, configuration=configuration_id):
            try:
                made = self._click.billing_portal.sessions.create(params)
            except stripe.InvalidRequestError as error:
                refusal = meaning_of(error, stripe_customer_id, configuration_id)
                if type(refusal) is StripeRefused:
                    if configuration_id is None and NEVER_SAVED.search(str(error.user_message)):
                        raise NoDefaultConfiguration(summary_of(error)) from None
                    if flow is not None:
                        raise PortalFlowRefused(summary_of(error)) from None
                raise
        used = made.configuration
        return PortalSession(
            str(made.url), None if isinstance(used, str) else to_configuration(used)
        )

    def default_configuration(self) -> PortalConfiguration | None:
        with self.errors():
            found = self._click.billing_portal.configurations.list({"is_default": True, "limit": 1})
        return next((one for one in map(to_configuration, found.data) if one.is_default), None)

    def configuration(self, configuration_id: str) -> PortalConfiguration:
        with self.errors(configuration=configuration_id, missing=PortalConfigurationMissing):
            return to_configuration(
                self._click.billing_portal.configurations.retrieve(configuration_id)
            )

    def find_configuration(self, key: str) -> PortalConfiguration | None:
        with self.errors():
            found = self._click.billing_portal.configurations.list({"active": True, "limit": PAGE})
            for one in found.auto_paging_iter():
                configuration = to_configuration(one)
                if configuration.is_named(key, self.way, self.application):
                    return configuration
        return None

    def create_configuration(self, key: str, policy: PortalPolicy) -> PortalConfiguration:
        mode = "live" if self.livemode else "test"
        key_of_change = f"portal-config:{mode}:{key}:{policy.cancel:d}{policy.pause:d}"
        with self.errors():
            return to_configuration(
                self._click.billing_portal.configurations.create(
                    {
                        **configuration_policy(policy),
                        "metadata": {"portico_key": key},
                        "name": f"Portico {key}"[:100],
                    },
                    options={"idempotency_key": key_of_change},
                )
            )

    def update_configuration(
        self, configuration_id: str, policy: PortalPolicy
    ) -> PortalConfiguration:
        with self.errors(configuration=configuration_id, missing=PortalConfigurationMissing):
            return to_configuration(
                self._work.billing_portal.configurations.update(
                    configuration_id, configuration_policy(policy)
                )
            )

    # -- looking ------------------------------------------------------------------------------------------

    def invoice(self, invoice_id: str) -> Invoice:
        return to_invoice(self._invoice(invoice_id))

    def look(self, invoice_id: str) -> InvoiceLook:
        if self.account not in self._gateways.choice_hidden:
            try:
                whole = {"expand": LOOK_EXPANDS + CHOICE_EXPANDS}
                return to_look(self._invoice(invoice_id, whole))
            except StripePermissionMissing:
                # Asked once a process; the rest is seen without.
                self._gateways.choice_hidden.add(self.account)
        return to_look(self._invoice(invoice_id, {"expand": LOOK_EXPANDS}))

    def hosted_invoice(self, invoice_id: str) -> HostedInvoice:
        return to_hosted_invoice(self._invoice(invoice_id))

    def _invoice(self, invoice_id: str, params: dict[str, Any] | None = None) -> Any:
        # The one read on the way of each email.
        with self.errors(missing=UnknownInvoice):
            return read_object(
                self._click_body(f"/v1/invoices/{quote(invoice_id, '')}", params or {})
            )

    def payment_trace(self, invoice_id: str) -> PaymentTrace:
        with self.errors():
            payments = self._work.invoice_payments.list(
                {"invoice": invoice_id, "expand": ["data.payment.payment_intent.latest_charge"]}
            )
        return to_payment_trace(payments.data)

    def customer(self, stripe_customer_id: str) -> Customer:
        with self.errors(missing=UnknownStripeCustomer):
            found = self._work.customers.retrieve(stripe_customer_id)
        if getattr(found, "deleted", False):
            raise UnknownStripeCustomer(f"{stripe_customer_id} was deleted")
        return Customer(found.id, to_customers_defaults(found))

    def method_type(self, method_id: str) -> str | None:
        if method_id.startswith("card_"):
            return "card"
        if is_source(method_id):
            return None
        try:
            with self.errors():
                return str(self._work.payment_methods.retrieve(method_id).type)
        except StripePermissionMissing:
            return None

    def subscription(self, subscription_id: str) -> Subscription | None:
        try:
            with self.errors(missing=_Missing):
                return to_subscription(self._work.subscriptions.retrieve(subscription_id))
        except _Missing:
            return None

    def price_look(self, subscription_id: str) -> PriceLook | None:
        params = {"subscription": subscription_id, "expand": PREVIEW_EXPANDS}
        try:
            with self.errors(missing=_Missing):
                # A POST that changes nothing.
                preview = self._click.invoices.create_preview(params)
        except _Missing:
            return None
        return to_price_look(preview)

    def subscriptions(self, stripe_customer_id: str) -> list[Subscription]:
        with self.errors(customer=stripe_customer_id):
            # Without a status Stripe lists all that are not canceled.
            found = self._work.subscriptions.list({"customer": stripe_customer_id, "limit": PAGE})
            return [to_subscription(one) for one in islice(found.auto_paging_iter(), MAX_INVOICES)]

    def open_invoices(
        self, stripe_customer_id: str, subscription_id: str | None = None
    ) -> list[Invoice]:
        params: dict[str, Any] = {
            "customer": stripe_customer_id,
            "status": "open",
            "collection_method": "charge_automatically",
            "limit": PAGE,
        }
        if subscription_id is not None:
            params["subscription"] = subscription_id
        with self.errors(customer=stripe_customer_id):
            found = self._work.invoices.list(params)
            return [to_invoice(one) for one in islice(found.auto_paging_iter(), MAX_INVOICES)]

    def events_since(
        self, since: dt.datetime, types: Sequence[str], most_pages: int
    ) -> Iterator[list[bytes]]:
        for some in _in_groups(types, MOST_TYPES):
            yield from self._log_of(
                {"types": some, "created": {"gte": int(since.timestamp())}, "limit": PAGE},
                most_pages,
            )

    def endpoints_off(self, path: str) -> bool:
        with self.errors():
            found = self._work.webhook_endpoints.list({"limit": PAGE})
            ours = [one for one in found.auto_paging_iter() if str(one.url).endswith(path)]
        return bool(ours) and all(one.status != "enabled" for one in ours)

    def _log_of(self, params: dict[str, Any], most_pages: int) -> Iterator[list[bytes]]:
        # Stripe lists newest first. Ids alone are kept on the way back to the beginning; then the pages are read
        # again, oldest first, so that memory stays bounded by a page however long we were away. The oldest page is in
        # hand by then: a walk that finds a single page, as nearly all do, reads once.
        starts: list[str | None] = [None]
        page = self._events(params)
        while page.more and len(starts) < most_pages:
            starts.append(page.last)
            page = self._events({**params, **_after(starts[-1])})
        yield page.objects[::-1]
        for start in reversed(starts[:-1]):
            yield self._events({**params, **_after(start)}).objects[::-1]

    def _events(self, params: dict[str, Any]) -> ObjectPage:
        with self.errors():
            return self.page_of("events", params)

    def page_of(self, what: str, params: dict[str, Any]) -> ObjectPage:
        """A page of one of Stripe's lists. Raises the library's errors, which `errors` turns into ours."""
        return read_page(self._body(f"/v1/{what}", params))

    def unpaid_invoices(self, since: dt.datetime, most_pages: int) -> Iterator[list[Invoice]]:
        params: dict[str, Any] = {
            "status": "open",
            "collection_method": "charge_automatically",
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE,
        }
        start: str | None = None
        for _ in range(most_pages):
            with self.errors():
                page = self._work.invoices.list({**params, **_after(start)})
            yield [to_invoice(one) for one in page.data]
            if not page.has_more:
                return
            start = str(page.data[-1].id)

    # -- doing --------------------------------------------------------------------------------------------

    def set_subscription_default(self, subscription_id: str, payment_method: str) -> None:
        # Random, unlike the key of a payment: A, B and A again within a day are three changes, and Stripe would
        # answer the third from memory without doing it. The prefix marks the resulting event as our own.
        key = f"{OWN_POINTING_PREFIX}{subscription_id}:{payment_method}:{secrets.token_hex(8)}"
        default = {"default_payment_method": payment_method}
        if is_source(payment_method):  # a payment method of its own would be charged before it
            default = {"default_source": payment_method, "default_payment_method": ""}
        with self.errors(forbidden=self._forbidden):
            self._work.subscriptions.update(
                subscription_id, default, options={"idempotency_key": key}
            )

    def cancel_at_period_end(self, subscription_id: str, idempotency_key: str) -> Subscription:
        with self.errors(missing=UnknownSubscription, forbidden=self._forbidden):
            return to_subscription(
                self._work.subscriptions.update(
                    subscription_id,
                    {"cancel_at_period_end": True},
                    options={"idempotency_key": idempotency_key},
                )
            )

    def pay(self, invoice_id: str, payment_method: str | None, idempotency_key: str) -> Payment:
        name = "source" if payment_method and is_source(payment_method) else "payment_method"
        chosen = {name: payment_method} if payment_method else {}
        try:
            with self.errors(forbidden=self._forbidden):
                try:
                    paid = self._work.invoices.pay(
                        invoice_id,
                        {**chosen, "off_session": True},
                        options={"idempotency_key": idempotency_key},
                    )
                except stripe.CardError as error:
                    return payment_of(error)
                except stripe.APIError as error:
                    if is_replayed(error):
                        raise KeySpent(summary_of(error)) from None
                    raise
        except PlatformMayNot as refusal:
            return Payment(PayOutcome.NOT_ALLOWED, str(refusal))
        if paid.status == "paid":
            return Payment(PayOutcome.PAID)
        return Payment(PayOutcome.PROCESSING)  # a bank debit, which settles in days


def _dashboard(api_base: str) -> str:
    """Stripe's dashboard; a stand-in plays it at its own address."""
    base = api_base.rstrip("/")
    return "https://dashboard.stripe.com" if base == STRIPE_API else f"{base}/dashboard"


def _in_groups(types: Sequence[str], most: int) -> list[list[str]]:
    return [list(types[at : at + most]) for at in range(0, len(types), most)]


def _after(start: str | None) -> dict[str, str]:
    return {"starting_after": start} if start else {}


class _Missing(Exception):
    """Stripe has no such object."""
