"""The gateway on several accounts, against a Stripe that refuses and counts what is asked of the wrong one."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import requests

from services.billing.adapters.stripe.account import KeyOwner, StripeAccount
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.errors import OwnKeyRefused, StripeKeyRefused
from services.billing.domain.portal import PortalPolicy
from services.billing.ports import WRITES, PaymentGateway
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import RpcError, UnknownStripeCustomer
from shared.settings import Secret
from tests.contract.stripe_sandbox import KEY, Sandbox, account, own


def requests_of(sandbox: Sandbox) -> dict[str, Any]:
    """What was asked of whom."""
    shown: dict[str, Any] = requests.get(f"{sandbox.url}/sandbox/requests", timeout=10).json()
    return shown


def test_each_account_is_asked_by_its_own_way(sandbox: Sandbox) -> None:
    """The same customer's id in three accounts: the platform's by its key, a connected one's by the header, one with a key of its
    own by that key, without the header; over one pool of connections."""
    connected = account(sandbox)
    customer = own(sandbox, connected).customers.create({"name": "Ada"}).id
    keyed = account(sandbox, copy_of=connected["id"], connected=None)
    keys = {Account(keyed["id"]): Secret(keyed["keys"]["test"])}
    gateways = StripeGateways(KEY, sandbox.url, keys.get)
    for one in (connected, keyed):
        at = gateways.at(Account(one["id"]))
        assert at.customer(customer).id == customer
        with pytest.raises(UnknownStripeCustomer):
            at.customer("cus_nobodys")
    with pytest.raises(UnknownStripeCustomer):
        gateways.at(OWN).customer(customer)
    assert keyed["keys"]["test"] not in repr(gateways) + repr(gateways.at(Account(keyed["id"])))
    asked = requests_of(sandbox)
    # The one that was asked on purpose, of the platform.
    assert asked["wrong_account"] == 1
    assert all(asked["accounts"][one["id"]].get("no_access", 0) == 0 for one in (connected, keyed))
    gateways.close()


def test_a_key_that_is_taken_away_is_used_no_more(sandbox: Sandbox) -> None:
    """The key is looked up for each use, so a change of the file counts from the next call on; without it the platform has no access."""
    keyed = account(sandbox, connected=None)
    at = Account(keyed["id"])
    keys = {at: Secret(keyed["keys"]["test"])}
    gateways = StripeGateways(KEY, sandbox.url, keys.get)
    assert gateways.at(at).open_invoices(own(sandbox, keyed).customers.create({}).id) == []
    del keys[at]
    with pytest.raises(StripeKeyRefused):
        gateways.at(at).customer("cus_1")
    gateways.close()


def test_reads_are_counted_for_the_account_that_was_read(sandbox: Sandbox) -> None:
    """Each page of a list is one; with a key of its own they are taken from the account's own allowance."""
    connected, keyed = account(sandbox), account(sandbox, connected=None)
    keys = {Account(keyed["id"]): Secret(keyed["keys"]["test"])}
    gateways = StripeGateways(KEY, sandbox.url, keys.get)
    for one in (OWN, Account(connected["id"]), Account(keyed["id"])):
        for _ in range(3):
            assert gateways.at(one).subscription("sub_nobodys") is None
    counted = {(key.account, key.own_key): number for key, number in gateways.reads.take(9).items()}
    assert counted == {
        (OWN, False): 3,
        (connected["id"], False): 3,
        (keyed["id"], True): 3,
    }
    gateways.close()


def test_a_key_tells_whose_it_is(sandbox: Sandbox) -> None:
    """What doctor compares with the account that the key stands with; and what statements call its charges."""
    keyed = account(sandbox, connected=None)
    keys = {Account(keyed["id"]): Secret(keyed["keys"]["test"])}
    gateways = StripeGateways(KEY, sandbox.url, keys.get)
    owner = StripeAccount(gateways.at(Account(keyed["id"]))).key_owner()
    assert owner == KeyOwner(keyed["id"], keyed["name"].upper()[:22])
    own_id = StripeAccount(gateways.at(OWN)).account_id()
    assert own_id not in (None, keyed["id"])
    gateways.close()


def test_a_refused_key_of_one_account_is_not_ours(sandbox: Sandbox) -> None:
    """It has a name of its own, by which no alarm of the installation's key goes off."""
    keyed = account(sandbox, connected=None)
    at, key = Account(keyed["id"]), keyed["keys"]["test"]
    sandbox.control("keys/revoke", key=key)
    gateways = StripeGateways(KEY, sandbox.url, {at: Secret(key)}.get)
    with pytest.raises(OwnKeyRefused):
        gateways.at(at).customer("cus_1")
    gateways.close()
    ours = StripeGateways(key, sandbox.url)
    with pytest.raises(StripeKeyRefused) as refused:
        ours.at(OWN).customer("cus_1")
    assert not isinstance(refused.value, OwnKeyRefused)
    ours.close()


def test_an_endpoint_that_is_switched_off_is_seen(sandbox: Sandbox) -> None:
    """Only where all that lead there are; without any there is nothing to be off."""
    gateways = StripeGateways(KEY, sandbox.url)
    gateway = gateways.at(OWN)
    ends = "/webhooks/stripe/connect"
    made, _ = StripeAccount(gateway).create_webhook_endpoint(
        f"http://127.0.0.1:9{ends}", ["invoice.paid"], connect=True
    )
    assert gateway.endpoints_off(ends) is False
    gateway.api.webhook_endpoints.update(made.id, {"disabled": True})
    assert gateway.endpoints_off(ends) is True
    assert gateway.endpoints_off("/webhooks/stripe") is False
    gateways.close()


def test_keys_of_idempotency_are_in_their_account(sandbox: Sandbox) -> None:
    """Whichever way an account is asked: connected today, with its own key tomorrow, a try is the same try."""
    made = account(sandbox)
    api = own(sandbox, made)
    keys: dict[Account, Secret] = {}
    gateways = StripeGateways(KEY, sandbox.url, keys.get)
    at = Account(made["id"])
    gateways.at(at).create_configuration("default", PortalPolicy())
    keys[at] = Secret(made["keys"]["test"])
    gateways.at(at).create_configuration("default", PortalPolicy())
    assert len(api.billing_portal.configurations.list({}).data) == 1
    gateways.close()


def test_what_is_no_write_changes_nothing_at_stripe(sandbox: Sandbox) -> None:
    """The sandbox counts: none of the reads, nor what opens the Billing Portal, changes anything; each write does, whatever its outcome."""
    customer = sandbox.client.customers.create({"name": "Ada"}).id
    gateways = StripeGateways(KEY, sandbox.url)
    at = gateways.at(OWN)
    made = at.create_configuration("ours", PortalPolicy())
    since, types = dt.datetime.now(dt.UTC), ("invoice.paid",)
    back = "https://me.example.com/me"
    calls: dict[str, Callable[[], Any]] = {
        "create_portal_session": lambda: at.create_portal_session(
            customer, made.id, back, None, "en"
        ),
        "create_configuration": lambda: at.create_configuration("theirs", PortalPolicy()),
        "update_configuration": lambda: at.update_configuration(made.id, PortalPolicy(cancel=True)),
        "default_configuration": at.default_configuration,
        "configuration": lambda: at.configuration(made.id),
        "find_configuration": lambda: at.find_configuration("ours"),
        "invoice": lambda: at.invoice("in_nobodys"),
        "look": lambda: at.look("in_nobodys"),
        "hosted_invoice": lambda: at.hosted_invoice("in_nobodys"),
        "payment_trace": lambda: at.payment_trace("in_nobodys"),
        "customer": lambda: at.customer(customer),
        "method_type": lambda: at.method_type("pm_nobodys"),
        "subscription": lambda: at.subscription("sub_nobodys"),
        "price_look": lambda: at.price_look("sub_nobodys"),
        "subscriptions": lambda: at.subscriptions(customer),
        "open_invoices": lambda: at.open_invoices(customer),
        "events_since": lambda: list(at.events_since(since, types, 1)),
        "unpaid_invoices": lambda: list(at.unpaid_invoices(since, 1)),
        "endpoints_off": lambda: at.endpoints_off("/webhooks/stripe"),
        "set_subscription_default": lambda: at.set_subscription_default("sub_nobodys", "pm_1"),
        "cancel_at_period_end": lambda: at.cancel_at_period_end("sub_nobodys", "k"),
        "pay": lambda: at.pay("in_nobodys", None, "k2"),
    }
    methods = {
        name
        for name, one in vars(PaymentGateway).items()
        if inspect.isfunction(one) and not name.startswith("_")
    }
    assert calls.keys() == methods
    for name, call in calls.items():
        before = requests_of(sandbox)["changes"]
        with contextlib.suppress(RpcError):
            call()
        assert requests_of(sandbox)["changes"] - before == (name in WRITES), name
    gateways.close()
