"""What a platform may not change, over HTTP: who made a subscription is read, and a refusal means what it is.

Each maker of a subscription, against each way to act on its account.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from services.billing.adapters.stripe.gateway import StripeGateway, StripeGateways
from services.billing.domain.accounts import Way
from services.billing.domain.errors import PlatformMayNot
from services.billing.domain.paying import PayOutcome
from services.billing.domain.platform_limits import Maker, made_by, may_change
from services.billing.handlers import cancelling
from shared.contracts.accounts import OWN, Account
from tests.contract.stripe_sandbox import KEY, Sandbox, account, as_own, subscribed
from tests.unit.billing.fakes import FakeBusinesses


@contextmanager
def gateway_of(sandbox: Sandbox, made: dict[str, Any], way: Way) -> Iterator[StripeGateway]:
    """Billing's gateway on the account: as the platform, or with the account's own key."""
    shown = requests.get(f"{sandbox.url}/sandbox/connect", timeout=10).json()
    connected = way is Way.CONNECTED
    key = KEY if connected else made["keys"]["test"]
    gateways = StripeGateways(key, sandbox.url, application=shown["client_ids"]["test"])
    try:
        yield gateways.at(Account(made["id"]) if connected else OWN)
    finally:
        gateways.close()


def maker_of(sandbox: Sandbox, made: dict[str, Any], subscription: str, maker: Maker) -> None:
    shown = requests.get(f"{sandbox.url}/sandbox/connect", timeout=10).json()
    application = {Maker.OURS: shown["client_ids"]["test"], Maker.ANOTHER: "ca_another"}.get(maker)
    answer = requests.post(
        f"{sandbox.url}/sandbox/subscriptions/{subscription}/application",
        json={"application": application},
        headers={"Stripe-Account": made["id"]},
        timeout=10,
    )
    answer.raise_for_status()


@pytest.mark.parametrize("maker", [Maker.OURS, Maker.ACCOUNT, Maker.ANOTHER])
@pytest.mark.parametrize("way", Way)
def test_who_may_change_what(sandbox: Sandbox, maker: Maker, way: Way) -> None:
    """As the platform only what it made; with the account's own key all. The open invoice is paid either way."""
    made = account(sandbox)
    customer, subscription = subscribed(as_own(sandbox, made))
    card = (
        as_own(sandbox, made)
        .client.payment_methods.attach("pm_card_visa", {"customer": customer})
        .id
    )
    maker_of(sandbox, made, subscription, maker)
    invoice = open_invoice(sandbox, made, customer)
    refused = way is Way.CONNECTED and maker is not Maker.OURS
    with gateway_of(sandbox, made, way) as gateway:
        found = gateway.subscription(subscription)
        assert found is not None
        assert made_by(found, gateway.application) is maker
        if not may_change(found, gateway.way, gateway.application):
            assert refused
        if refused:
            with pytest.raises(PlatformMayNot):
                gateway.set_subscription_default(subscription, card)
            with pytest.raises(PlatformMayNot):
                gateway.cancel_at_period_end(subscription, "cancel:1")
        else:
            gateway.set_subscription_default(subscription, card)
        assert gateway.pay(invoice, card, "pay:1").outcome is PayOutcome.PAID
        end, _ = cancelling.cancel_at_period_end(
            gateway,
            FakeBusinesses(),
            stripe_customer_id=customer,
            subscription_id=subscription,
            idempotency_key="2",
        )
    assert (end.dashboard_url is not None, end.changed) == (refused, not refused)
    if end.dashboard_url is not None:
        assert end.dashboard_url.endswith(f"/{made['id']}/test/subscriptions/{subscription}")


def open_invoice(sandbox: Sandbox, made: dict[str, Any], customer: str) -> str:
    headers = {"Stripe-Account": made["id"]}
    at = f"{sandbox.url}/sandbox/customers/{customer}"
    requests.post(f"{at}/decline_next", json={}, headers=headers, timeout=10)
    invoice = requests.post(f"{at}/charge_now", json={}, headers=headers, timeout=10).json()
    assert invoice["status"] == "open"
    return str(invoice["id"])


def test_a_payment_may_be_refused_too(sandbox: Sandbox) -> None:
    """Should Stripe hold paying for changing, it is an outcome of its own, and no fault of our key."""
    made = account(sandbox)
    customer, _ = subscribed(as_own(sandbox, made))
    invoice = open_invoice(sandbox, made, customer)
    sandbox.control("connect", paying_is_changing=True)
    with gateway_of(sandbox, made, Way.CONNECTED) as gateway:
        assert gateway.pay(invoice, None, "pay:1").outcome is PayOutcome.NOT_ALLOWED


def test_what_the_account_made_may_be_let_pass(sandbox: Sandbox) -> None:
    """Whether Stripe refuses that could not be tried, so it is asked for."""
    made = account(sandbox)
    customer, subscription = subscribed(as_own(sandbox, made))
    sandbox.control("connect", null_application_is_foreign=False)
    with gateway_of(sandbox, made, Way.CONNECTED) as gateway:
        end, _ = cancelling.cancel_at_period_end(
            gateway,
            FakeBusinesses(),
            stripe_customer_id=customer,
            subscription_id=subscription,
            idempotency_key="2",
        )
    assert (end.changed, end.dashboard_url) == (True, None)
