"""A sandboxed Stripe on a port, stripe-python pointed at it, and a listener of its webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)
from werkzeug.wrappers import Request, Response

from sandbox.app import create_app
from sandbox.config import SandboxConfig
from sandbox.stripe_api import StripeApi
from tests.fixtures.serving import serving

KEY = "sk_test_0123456789ab"
PUBLIC = "http://sandbox.test"
PLATFORM = "acct_1PorticoSandbox00"
SECRET = "whsec_contract"


@dataclass
class Listener:
    """A webhook endpoint that keeps what it took, and answers with the statuses it was told to, then 200."""

    url: str = ""
    refuse: list[int] = field(default_factory=list)
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        body = request.get_data()
        with self._lock:
            status = self.refuse.pop(0) if self.refuse else 200
            if status == 200:
                self.taken.append((request.headers["Stripe-Signature"], body))
            else:
                self.refused += 1
        return Response(status=status)(environ, start_response)

    def events(self, type: str) -> list[dict[str, Any]]:
        with self._lock:
            found = [json.loads(body) for _, body in self.taken]
        return [event for event in found if event["type"] == type]

    def wait(self, enough: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < deadline, "the webhooks did not come"
            time.sleep(0.01)


@dataclass
class Sandbox:
    """A running sandbox, stripe-python pointed at it, and the listener of its webhooks."""

    url: str
    world: StripeApi
    stripe: stripe.StripeClient
    listener: Listener

    @property
    def client(self) -> Any:
        """The services of API v1; parameters of tests are not typed as finely as the library's."""
        return self.stripe.v1

    def control(self, path: str, **given: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/sandbox/{path}", json=given, timeout=10)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


@contextmanager
def running(**config: Any) -> Iterator[Sandbox]:
    """The whole sandbox, with its pages, and a listener that hears the first account's events."""
    listener = Listener()
    with serving(listener) as url:
        listener.url = url
        with _running(listener, **config) as sandbox:
            yield sandbox


@contextmanager
def _running(listener: Listener, **config: Any) -> Iterator[Sandbox]:
    world_config = SandboxConfig(
        public_url=PUBLIC,
        webhook_endpoints=((listener.url, SECRET),),
        webhook_retry_delays=(0.05, 0.05),
        **config,
    )
    app = create_app(world_config)
    session = requests.Session()
    stripe.enable_telemetry = False
    with serving(app) as url:
        client = client_of(url, KEY, session)
        yield Sandbox(url, app.extensions["world"], client, listener)
    session.close()
    app.extensions["world"].stop()


def client_of(
    url: str,
    key: str,
    session: requests.Session | None = None,
    client_id: str | None = None,
) -> stripe.StripeClient:
    """stripe-python with a key, pointed at a sandbox; OAuth goes there too, for an application."""
    return stripe.StripeClient(
        key,
        client_id=client_id,
        base_addresses={"api": url, "connect": url},
        http_client=stripe.RequestsClient(timeout=10, session=session),
        max_network_retries=0,
    )


def subscribed(sandbox: Sandbox, card: str = "pm_card_visa") -> tuple[str, str]:
    """(customer, subscription) on autopay."""
    api = sandbox.client
    customer = api.customers.create({"email": "ada@example.com", "metadata": {"customer_id": "c1"}})
    method = api.payment_methods.attach(card, {"customer": customer.id})
    api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    product = api.products.create({"name": "Weekly clean"})
    price = api.prices.create(
        {
            "product": product.id,
            "unit_amount": 4900,
            "currency": "usd",
            "recurring": {"interval": "month"},
        }
    )
    subscription = api.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    assert subscription.status == "active"
    return customer.id, subscription.id


def account(sandbox: Sandbox, **given: Any) -> dict[str, Any]:
    """A new account; connected in test mode unless it is said otherwise, with keys."""
    wanted = {"connected": "test", "keys": True, **given}
    made: dict[str, Any] = sandbox.control("accounts", **wanted)["accounts"][0]
    return made


def own(sandbox: Sandbox, made: dict[str, Any], mode: str = "test") -> Any:
    """The API with an account's own key."""
    return client_of(sandbox.url, made["keys"][mode]).v1


def on(made: dict[str, Any]) -> Any:
    """The options of a call that the platform makes on an account."""
    return {"stripe_account": made["id"]}


def as_own(sandbox: Sandbox, made: dict[str, Any], mode: str = "test") -> Sandbox:
    """The sandbox as an account with its own key sees it."""
    client = client_of(sandbox.url, made["keys"][mode])
    return Sandbox(sandbox.url, sandbox.world, client, sandbox.listener)
