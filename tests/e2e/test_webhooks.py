"""Webhooks as a host gets them: from `make run`, over HTTP, verified as docs/integration.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from examples.http_client import Portico
from local.processes import Embedded
from tests.fixtures.story import eventually
from tests.fixtures.webhook_host import WebhookHost

BUSINESS = "harbor"


@pytest.fixture
def portico(embedded: Embedded) -> Portico:
    """The API, with the key of the whole installation."""
    made = Portico(embedded.api_url, (embedded.folder / "var" / "api.key").read_text().strip())
    made.post("/businesses", business_id=BUSINESS, name="Harbor Gardening")
    return made


@pytest.fixture
def host(portico: Portico) -> Iterator[tuple[WebhookHost, str]]:
    """A host of the business, and its endpoint's id."""
    with WebhookHost() as listening:
        made = portico.post("/webhook_endpoints", url=listening.url, business_id=BUSINESS)
        listening.secrets.append(made["secret"])
        endpoint_id = made["about"]["endpoint_id"]
        yield listening, endpoint_id
        portico.delete(f"/webhook_endpoints/{endpoint_id}")


def charge_fails(embedded: Embedded, portico: Portico, name: str) -> str:
    """A customer of the business whose card is declined; Stripe's id."""
    made = portico.post(
        "/customers", business_id=BUSINESS, external_id=name, name=name, email=f"{name}@example.com"
    )
    stripe = embedded.sandbox_url

    def post(path: str, **form: str) -> Any:
        told = requests.post(stripe + path, data=form, auth=("sk_test_example", ""), timeout=10)
        told.raise_for_status()
        return told.json() if path.startswith("/v1") else None

    customer = post("/v1/customers", name=name)["id"]
    card = post("/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    product = post("/v1/products", name="Gardening")["id"]
    price = post(
        "/v1/prices",
        product=product,
        currency="usd",
        unit_amount="12000",
        **{"recurring[interval]": "month"},
    )["id"]
    post(
        "/v1/subscriptions",
        customer=customer,
        default_payment_method=card,
        **{"items[0][price]": price},
    )
    portico.post(f"/customers/{made['customer_id']}/stripe_link", stripe_customer_id=customer)
    post(f"/sandbox/customers/{customer}/decline_next")
    post(f"/sandbox/customers/{customer}/charge_now")
    return str(customer)


def heard(host: WebhookHost, type: str, customer_id: str | None = None) -> list[dict[str, Any]]:
    return [
        tries[0]
        for tries in list(host.got.values())
        if tries[0]["type"] == type and customer_id in (None, tries[0]["customer_id"])
    ]


def test_a_failed_charge_arrives_and_is_verified(
    embedded: Embedded, portico: Portico, host: tuple[WebhookHost, str]
) -> None:
    """Within seconds, thin, by the host's own ids; and the list of events has it under the same id and version."""
    listening, _ = host
    charge_fails(embedded, portico, "ada")
    (told,) = eventually(lambda: heard(listening, "invoice.payment_failed", "ada"), within=20)
    assert (told["business_id"], told["object"]["type"]) == (BUSINESS, "invoice")
    listed = portico.get("/events", business_id=BUSINESS, limit=100)["data"]
    (same,) = [one for one in listed if one["id"] == told["id"]]
    assert same["version"] == told["object"]["version"]
    assert same["invoice_id"] == told["object"]["id"]
    assert listening.forged == []


def test_an_endpoint_that_fails_gets_it_when_it_works_again(
    embedded: Embedded, portico: Portico, host: tuple[WebhookHost, str]
) -> None:
    """Answered 500 first, and the attempts tell both."""
    listening, endpoint_id = host
    answers = iter([500, 500])
    listening.answer = lambda: next(answers, 200)
    sent = portico.post(f"/webhook_endpoints/{endpoint_id}/test")
    eventually(lambda: sent["event_id"] in listening.got or listening.refused == 1, within=10)
    assert sent["event_id"] not in listening.got
    eventually(lambda: portico.get(f"/webhook_endpoints/{endpoint_id}/attempts")["data"], within=10)
    listening.answer = lambda: 200
    eventually(lambda: sent["event_id"] in listening.got, within=20)
    tries = eventually(
        lambda: [
            told
            for told in [portico.get(f"/webhook_endpoints/{endpoint_id}/attempts")["data"]]
            if told[0]["error"] is None
        ],
        within=10,
    )[0]
    assert [one["error"] for one in tries] == [None, "http_500"]
    assert tries[0]["delivery_status"] == "delivered"


def test_410_switches_it_off_and_what_it_missed_is_replayed(
    embedded: Embedded, portico: Portico, host: tuple[WebhookHost, str]
) -> None:
    """At once; enabled again it gets what happened meanwhile, when that is asked for."""
    listening, endpoint_id = host
    one = f"/webhook_endpoints/{endpoint_id}"
    listening.answer = lambda: 410
    portico.post(f"{one}/test")
    eventually(lambda: not portico.get(one)["enabled"], within=20)
    assert portico.get(one)["disabled_because"] == "gone"
    charge_fails(embedded, portico, "grace")
    eventually(
        lambda: (
            "invoice.payment_failed"
            in [
                row["type"]
                for row in portico.get("/events", limit=100)["data"]
                if row["business_id"]
            ]
        ),
        within=20,
    )
    listening.answer = lambda: 200
    since = portico.get(one)["disabled_at"]
    portico.post(one, enabled=True)
    eventually(lambda: portico.post(f"{one}/replay", since=since)["count"], within=20)
    eventually(lambda: heard(listening, "invoice.payment_failed", "grace"), within=20)


def test_after_a_rotation_both_secrets_verify_for_a_day(
    portico: Portico, host: tuple[WebhookHost, str]
) -> None:
    """A host that has only one of them yet refuses nothing."""
    listening, endpoint_id = host
    (old,) = listening.secrets
    new = portico.post(f"/webhook_endpoints/{endpoint_id}/rotate")["secret"]
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]+", new)
    assert new != old
    for secret in (old, new):
        listening.secrets[:] = [secret]
        sent = portico.post(f"/webhook_endpoints/{endpoint_id}/test")
        eventually(lambda sent=sent: sent["event_id"] in listening.got, within=10)  # type: ignore[misc]
    assert listening.forged == []
