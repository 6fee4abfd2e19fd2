"""Demo data, made as a host application would make it: over Portico's RPC and Stripe's API.

Three customers, one of each kind: on autopay, with a saved card, and one who never paid. Running it again
changes nothing that is there, so `make run` can be stopped and started.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Final

import requests

from examples.host_app import Portico

BUSINESS: Final = "sunrise-cleaning"
BUSINESS_NAME: Final = "Sunrise Home Cleaning"
LINK_WAIT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Person:
    """A demo customer. `kind` is `autopay`, `card saved` or `never paid`."""

    external_id: str
    name: str
    email: str
    kind: str
    description: str


PEOPLE: Final = (
    Person(
        "1003",
        "Chloé Martin",
        "chloe@example.com",
        "never paid",
        "Never paid through Stripe: no button on her page",
    ),
    Person(
        "1002",
        "Bruno Costa",
        "bruno@example.com",
        "card saved",
        "Saved a card and paid one invoice; not on autopay",
    ),
    Person(
        "1001",
        "Ada Lindqvist",
        "ada@example.com",
        "autopay",
        "On autopay: a monthly subscription charges her card",
    ),
)
"""The one on autopay last: Stripe lists the newest customer first."""


class _Stripe:
    """Stripe's API by plain HTTP, as little of it as the demo needs."""

    def __init__(self, base: str, api_key: str) -> None:
        self._base = base
        self._http = requests.Session()
        self._http.auth = (api_key, "")

    def get(self, path: str) -> Any:
        return self._checked(self._http.get(f"{self._base}{path}", timeout=10))

    def post(self, path: str, **form: str) -> Any:
        return self._checked(self._http.post(f"{self._base}{path}", data=form, timeout=10))

    @staticmethod
    def _checked(response: requests.Response) -> Any:
        response.raise_for_status()
        return response.json()


def seed(amqp_uri: str, stripe_base: str, api_key: str) -> list[dict[str, Any]]:
    """Make the demo data; returns `[{name, description, link, stripe_customer_id}]`, the autopay customer first.

    Returns when the portal knows every Stripe identity (they reach it by event, within a second).
    """
    stripe = _Stripe(stripe_base, api_key)
    known = {
        # Without the prefix in data of earlier releases.
        metadata.get("portico_customer_id") or metadata.get("customer_id"): customer["id"]
        for customer in stripe.get("/v1/customers?limit=100")["data"]
        for metadata in (customer["metadata"],)
    }
    shown: list[dict[str, Any]] = []
    with Portico(amqp_uri, timeout=10) as portico:
        portico.call(
            "portal",
            "upsert_business",
            business_id=BUSINESS,
            name=BUSINESS_NAME,
            email="hello@sunrise-cleaning.example",
            phone="+1 555 0100",
            color="#c2410c",
            locale="en_US",
            timezone="America/New_York",
            sender_email="billing@sunrise-cleaning.example",
            service_note="We come as planned while your payment is open.",
        )
        for person in PEOPLE:
            customer_id = portico.call(
                "portal",
                "upsert_customer",
                business_id=BUSINESS,
                external_id=person.external_id,
                name=person.name,
                email=person.email,
            )["customer_id"]
            _appointments(portico, customer_id)
            stripe_id = known.get(customer_id)
            if stripe_id is None and person.kind != "never paid":
                stripe_id = _stripe_customer(stripe, person, customer_id)
            link = portico.call("portal", "link", customer_id=customer_id)
            if stripe_id is not None:
                _wait_for_link(portico, link["token"])
            shown.insert(
                0,
                {
                    "name": person.name,
                    "description": person.description,
                    "link": link["url"],
                    "stripe_customer_id": stripe_id,
                },
            )
    return shown


def show(sandbox_url: str, customers: list[dict[str, Any]]) -> None:
    """Put the customers with their links on the console of a sandbox that runs elsewhere."""
    requests.put(
        f"{sandbox_url}/sandbox/demo-customers", json=customers, timeout=10
    ).raise_for_status()


def _appointments(portico: Portico, customer_id: str) -> None:
    morning = dt.datetime.now(dt.UTC).replace(hour=14, minute=0, second=0, microsecond=0)
    visits = (
        ("next", "Weekly cleaning", 2, 3, "scheduled"),
        ("after-next", "Weekly cleaning and windows", 9, 4, "scheduled"),
        ("last", "Weekly cleaning", -5, 3, "completed"),
    )
    portico.call(
        "portal",
        "upsert_appointments",
        customer_id=customer_id,
        appointments=[
            {
                "external_id": f"{customer_id}-{key}",
                "title": title,
                "starts_at": (morning + dt.timedelta(days=days)).isoformat(),
                "ends_at": (morning + dt.timedelta(days=days, hours=hours)).isoformat(),
                "location": "12 Elm Street",
                "status": status,
            }
            for key, title, days, hours, status in visits
        ],
    )


def _stripe_customer(stripe: _Stripe, person: Person, customer_id: str) -> str:
    customer = stripe.post(
        "/v1/customers",
        name=person.name,
        email=person.email,
        **{"metadata[portico_customer_id]": customer_id},
    )["id"]
    card = stripe.post("/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    stripe.post(f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": card})
    if person.kind == "autopay":
        product = stripe.post("/v1/products", name="Weekly home cleaning")["id"]
        price = stripe.post(
            "/v1/prices",
            product=product,
            currency="usd",
            unit_amount="14900",
            **{"recurring[interval]": "month"},
        )["id"]
        stripe.post(
            "/v1/subscriptions",
            customer=customer,
            default_payment_method=card,
            **{"items[0][price]": price},
        )
    else:
        stripe.post(
            "/v1/invoiceitems",
            customer=customer,
            amount="18000",
            currency="usd",
            description="Spring deep clean",
        )
        invoice = stripe.post(
            "/v1/invoices", customer=customer, pending_invoice_items_behavior="include"
        )["id"]
        stripe.post(f"/v1/invoices/{invoice}/pay")
    return str(customer)


def _wait_for_link(portico: Portico, token: str) -> None:
    end = time.monotonic() + LINK_WAIT_SECONDS
    while not portico.call("portal", "lookup", token=token)["can_manage_billing"]:
        if time.monotonic() > end:
            raise TimeoutError(
                "a Stripe customer's id did not reach the portal: is the webhook endpoint "
                "registered, and does its secret match STRIPE_WEBHOOK_SECRETS?"
            )
        time.sleep(0.05)
