"""The sandbox's Stripe, judged by real clients: stripe-python over HTTP, webhooks to a real listener, Stripe's CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)
from flask import Flask

from sandbox.config import SandboxConfig
from sandbox.faults import Faults
from sandbox.stripe_api import StripeApi, blueprint
from tests.contract.stripe_sandbox import KEY, SECRET, Listener, Sandbox, subscribed
from tests.fixtures.serving import serving


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    listener = Listener()
    app = Flask("sandbox-contract")
    with serving(listener) as hook, serving(app) as url, requests.Session() as session:
        listener.url = f"{hook}/hook"
        world = StripeApi(
            SandboxConfig(
                public_url="http://sandbox.test",
                webhook_endpoints=((listener.url, SECRET),),
                webhook_retry_delays=(0.05, 0.05),
            )
        )
        Faults().install(app)
        app.register_blueprint(blueprint(world))
        world.start()
        stripe.enable_telemetry = False
        client = stripe.StripeClient(
            KEY,
            base_addresses={"api": url},
            http_client=stripe.RequestsClient(timeout=10, session=session),
        )
        yield Sandbox(url, world, client, listener)
        world.stop()


def test_the_whole_story_with_stripe_python(sandbox: Sandbox) -> None:
    """A failed cycle, a portal session, a new card, and the retry that Portico makes."""
    api = sandbox.client
    customer, subscription = subscribed(sandbox)
    sandbox.control(f"customers/{customer}/decline_next", decline_code="expired_card")
    invoice = sandbox.control(f"customers/{customer}/charge_now")
    assert api.subscriptions.retrieve(subscription).status == "past_due"
    payments = api.invoice_payments.list(
        {"invoice": invoice["id"], "expand": ["data.payment.payment_intent"]}
    )
    error = payments.data[0].payment.payment_intent.last_payment_error
    assert error.decline_code == "expired_card"

    configuration = api.billing_portal.configurations.create(
        {
            "features": {
                "payment_method_update": {"enabled": True},
                "invoice_history": {"enabled": True},
            }
        }
    )
    session = api.billing_portal.sessions.create(
        {
            "customer": customer,
            "configuration": configuration.id,
            "return_url": "http://127.0.0.1/me",
            "flow_data": {"type": "payment_method_update"},
            "locale": "de",
        }
    )
    assert session.url.startswith("http://sandbox.test/p/session/")

    new = api.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    api.customers.update(customer, {"invoice_settings": {"default_payment_method": new.id}})
    listed = api.invoices.list(
        {"customer": customer, "status": "open", "collection_method": "charge_automatically"}
    )
    key = {"idempotency_key": f"pay:{listed.data[0].id}:{new.id}:1"}
    params = {"payment_method": new.id, "off_session": True}
    paid = api.invoices.pay(listed.data[0].id, params, key)
    assert paid.status == "paid"
    assert api.invoices.pay(listed.data[0].id, params, key).id == paid.id
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        api.invoices.pay(listed.data[0].id)
    api.subscriptions.update(subscription, {"default_payment_method": new.id})
    assert api.subscriptions.retrieve(subscription).status == "active"
    event = api.events.list({"types": ["invoice.paid"], "limit": 1}).data[0]
    assert event.request.idempotency_key == key["idempotency_key"]


def test_errors_become_the_librarys_exceptions(sandbox: Sandbox) -> None:
    """Each kind of refusal is the exception that integrations catch."""
    api = sandbox.client
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        api.customers.create({"foo": "bar"})
    assert unknown.value.code == "parameter_unknown"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        api.customers.retrieve("cus_x")
    assert (missing.value.code, missing.value.http_status) == ("resource_missing", 404)
    customer = api.customers.create({}).id
    with pytest.raises(stripe.CardError) as declined:
        api.payment_methods.attach("pm_card_visa_chargeDeclinedLostCard", {"customer": customer})
    assert declined.value.error.decline_code == "lost_card"
    api.customers.create({"name": "a"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError):
        api.customers.create({"name": "b"}, {"idempotency_key": "k"})
    wrong = stripe.StripeClient(
        "sk_wrong", base_addresses={"api": sandbox.url}, max_network_retries=0
    )
    with pytest.raises(stripe.AuthenticationError):
        wrong.v1.customers.list()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "api_key_expired", stripe.AuthenticationError),
        (403, "account_invalid", stripe.PermissionError),
        (403, "more_permissions_required", stripe.PermissionError),
        (409, "lock_timeout", stripe.APIError),
        (429, "rate_limit", stripe.RateLimitError),
    ],
)
def test_a_refusals_code_stands_in_its_error_object(
    sandbox: Sandbox, status: int, code: str, kind: type[stripe.StripeError]
) -> None:
    """Only there: the library itself sets `code` on 400 and 402 alone."""
    fault = {"match": "GET /v1/customers", "status": status, "code": code, "times": None}
    requests.post(f"{sandbox.url}/sandbox/faults", json=fault, timeout=10)
    with pytest.raises(kind) as caught:
        sandbox.client.customers.list()
    assert (caught.value.http_status, caught.value.error.code) == (status, code)
    assert type(caught.value) is kind


def test_the_library_retries_faults_with_one_key(sandbox: Sandbox) -> None:
    """An answer that was lost is asked for again, and nothing is made twice."""
    client = stripe.StripeClient(KEY, base_addresses={"api": sandbox.url}, max_network_retries=2)
    fault = {"match": "POST /v1/customers", "status": 500, "after": True}
    requests.post(f"{sandbox.url}/sandbox/faults", json=fault, timeout=10)
    made = client.v1.customers.create({"email": "a@b.c"})
    assert [c.id for c in client.v1.customers.list().data] == [made.id]


def test_webhooks_are_signed_for_the_library(sandbox: Sandbox) -> None:
    """stripe-python accepts body and header as they came over the wire."""
    sandbox.client.customers.create({"email": "a@b.c"})
    sandbox.listener.wait(lambda: bool(sandbox.listener.events("customer.created")))
    header, body = sandbox.listener.taken[0]
    event = stripe.Webhook.construct_event(body, header, SECRET)
    assert event.type == "customer.created"
    assert event.api_version == "2026-10-28.endive"


def test_refused_webhooks_come_again(sandbox: Sandbox) -> None:
    """An error and a redirect are both failures; afterwards the event counts as delivered."""
    sandbox.listener.refuse = [500, 302]
    sandbox.client.customers.create({"email": "a@b.c"})
    sandbox.listener.wait(lambda: bool(sandbox.listener.events("customer.created")))
    assert sandbox.listener.refused == 2
    api = sandbox.client
    sandbox.listener.wait(lambda: api.events.list().data[0].pending_webhooks == 0)
    assert api.events.list({"delivery_success": False}).data == []


def test_given_up_webhooks_can_be_caught_up(sandbox: Sandbox) -> None:
    """An event that was never delivered is listed as such, and can be sent again."""
    sandbox.listener.refuse = [500] * 3
    made = sandbox.client.customers.create({"email": "a@b.c"})
    sandbox.listener.wait(lambda: sandbox.listener.refused == 3)
    sandbox.world.delivery.idle()
    missed = sandbox.client.events.list({"delivery_success": False}).data
    assert [event.data.object.id for event in missed] == [made.id]
    sandbox.control(f"events/{missed[0].id}/resend")
    sandbox.listener.wait(lambda: bool(sandbox.listener.events("customer.created")))


def test_duplicates_holds_and_losses_on_demand(sandbox: Sandbox) -> None:
    """Three of each; held back until let go; lost but for the list of events."""
    sandbox.control("webhooks", duplicate=3, shuffle=True, enabled=False)
    sandbox.client.customers.create({"email": "a@b.c"})
    time.sleep(0.2)
    assert sandbox.listener.taken == []
    sandbox.control("webhooks", enabled=True)
    sandbox.listener.wait(lambda: len(sandbox.listener.events("customer.created")) == 3)
    sandbox.control("webhooks", duplicate=1, shuffle=False, drop=True)
    sandbox.client.customers.create({"email": "lost@b.c"})
    sandbox.world.delivery.idle()
    assert len(sandbox.listener.taken) == 3
    assert sandbox.client.events.list().data[0].data.object.email == "lost@b.c"


def test_an_endpoint_hears_what_it_asked_for(sandbox: Sandbox) -> None:
    """Types and API version of the endpoint; the secret shows once."""
    api = sandbox.client
    own = api.webhook_endpoints.create(
        {
            "url": sandbox.listener.url,
            "enabled_events": ["invoice.payment_failed"],
            "api_version": "2020-08-27",
        }
    )
    assert own.secret.startswith("whsec_")
    customer, subscription = subscribed(sandbox)
    sandbox.control(f"customers/{customer}/decline_next")
    sandbox.control(f"customers/{customer}/charge_now")
    heard = sandbox.listener
    heard.wait(lambda: len(heard.events("invoice.payment_failed")) == 2)
    old = [e for e in heard.events("invoice.payment_failed") if e["api_version"] == "2020-08-27"]
    assert old[0]["data"]["object"]["subscription"] == subscription
    assert len(heard.events("customer.created")) == 1


def test_a_debit_comes_back_days_later(sandbox: Sandbox) -> None:
    """Processing in between, then a code of the bank's own on the same payment intent."""
    api = sandbox.client
    customer, _ = subscribed(sandbox)
    sandbox.control(f"customers/{customer}/decline_next")
    invoice = sandbox.control(f"customers/{customer}/charge_now")["id"]
    account = api.payment_methods.attach("pm_usBankAccount_accountClosed", {"customer": customer})
    assert account.us_bank_account.bank_name == "STRIPE TEST BANK"
    pending = api.invoices.pay(invoice, {"payment_method": account.id, "off_session": True})
    assert (pending.status, pending.attempt_count) == ("open", 1)
    sandbox.control("clock", advance_seconds=4 * 86_400)
    payment = api.invoice_payments.list(
        {"invoice": invoice, "expand": ["data.payment.payment_intent.latest_charge"]}
    ).data[0]
    intent = payment.payment.payment_intent
    assert intent.last_payment_error.code == "account_closed"
    assert intent.latest_charge.payment_method_details.type == "us_bank_account"
    sandbox.listener.wait(lambda: len(sandbox.listener.events("invoice.payment_failed")) == 2)
    told = sandbox.listener.events("invoice.payment_failed")
    assert {event["data"]["object"]["attempt_count"] for event in told} == {1}


def test_forgiven_and_foretold(sandbox: Sandbox) -> None:
    """A credit note ends an invoice without money; the preview knows a coupon."""
    api = sandbox.client
    customer, subscription = subscribed(sandbox)
    sandbox.control(f"customers/{customer}/decline_next")
    invoice = sandbox.control(f"customers/{customer}/charge_now")["id"]
    note = api.credit_notes.create({"invoice": invoice, "amount": 4900})
    assert (note.status, note.pre_payment_amount) == ("issued", 4900)
    seen = api.invoices.retrieve(invoice)
    assert (seen.status, seen.amount_paid) == ("paid", 0)
    coupon = api.coupons.create({"percent_off": 50, "duration": "forever"})
    api.subscriptions.update(subscription, {"discounts": [{"coupon": coupon.id}]})
    preview = api.invoices.create_preview({"subscription": subscription})
    assert (preview.subtotal, preview.total) == (4900, 2450)
    with_coupon = api.subscriptions.retrieve(subscription, {"expand": ["discounts.source.coupon"]})
    assert with_coupon.discounts[0].source.coupon.percent_off == 50


def test_thin_events_are_the_librarys(sandbox: Sandbox) -> None:
    """The library verifies, reads and follows one to the event and to the object it names."""
    customer, _ = subscribed(sandbox)
    sandbox.control(f"customers/{customer}/decline_next")
    invoice = sandbox.control(f"customers/{customer}/charge_now")["id"]
    told = sandbox.control("events", type="invoice.payment_failed", object=invoice, thin=True)
    heard = sandbox.listener
    heard.wait(lambda: bool(heard.events("v1.invoice.payment_failed")))
    header, body = next(
        (header, body) for header, body in heard.taken if told["id"].encode() in body
    )
    notification: Any = sandbox.stripe.parse_event_notification(body, header, SECRET)
    assert notification.fetch_event().id == told["id"]
    assert notification.fetch_related_object().id == invoice


def cli() -> str:
    """Stripe's CLI from STRIPE_CLI or the PATH; without it the test is skipped."""
    found = os.environ.get("STRIPE_CLI") or shutil.which("stripe")
    if found is None:
        pytest.skip("Stripe's CLI is not installed (npm install @stripe/cli; STRIPE_CLI names it)")
    return found


def trigger(sandbox: Sandbox, event: str, *more: str) -> str:
    """What the CLI says."""
    done = subprocess.run(
        [cli(), "trigger", event, "--api-base", sandbox.url, "--api-key", KEY, *more],
        env={
            **os.environ,
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "event",
    [
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.updated",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "payment_intent.succeeded",
        "payment_method.attached",
        "setup_intent.succeeded",
    ],
)
def test_the_cli_triggers(sandbox: Sandbox, event: str) -> None:
    """The official CLI finds everything it needs, and the event is there."""
    said = trigger(sandbox, event)
    assert "Trigger succeeded!" in said, said
    assert sandbox.client.events.list({"type": event}).data


def test_the_cli_fails_a_known_customers_payment(sandbox: Sandbox) -> None:
    """With overrides the failure is one customer's."""
    customer = sandbox.client.customers.create({"email": "ada@example.com"}).id
    names = ("invoice", "invoiceitem", "payment_method")
    overrides = [part for n in names for part in ("--override", f"{n}:customer={customer}")]
    said = trigger(sandbox, "invoice.payment_failed", *overrides)
    assert "Trigger succeeded!" in said, said
    failed = sandbox.client.events.list({"type": "invoice.payment_failed"}).data
    assert [event.data.object.customer for event in failed] == [customer]
