"""The gateway on several accounts, against a Stripe that refuses and counts what is asked of the wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.errors import StripeKeyRefused
from services.billing.domain.portal import PortalPolicy
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import UnknownStripeCustomer
from shared.settings import Secret
from tests.contract.stripe_sandbox import KEY, Sandbox, account, own, running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


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
