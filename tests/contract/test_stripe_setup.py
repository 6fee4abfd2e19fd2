"""Making Stripe ready from the command line, against the sandbox: the webhook endpoint, and the portal configuration."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from portico.cli.context import CliContext
from portico.commands.portal_config import configuration_view, describe
from portico.main import app
from portico.stripe_setup import (
    account_of,
    configure_portal,
    problem_of_url,
    set_up,
    stripe_and_database,
)
from services.billing.adapters.stripe.account import StripeAccount
from services.billing.adapters.stripe.gateway import StripeGateway, StripeGateways
from services.billing.domain.errors import InvalidRequest
from services.billing.domain.portal import PortalPolicy, PortalSource
from services.billing.settings import StripeSettings, load, load_for_stripe
from services.billing.stripe_events.translation import CONNECT_WANTED, WANTED
from services.billing.workflows import portal
from services.billing.workflows.reconciling import reconcile
from shared.contracts.accounts import OWN, Account
from shared.database import Transactions
from shared.migrations import upgrade
from shared.settings import Secret, SettingsError
from tests.contract import stripe_sandbox
from tests.contract.payment_worlds import StripeWorld
from tests.contract.test_payment_gateway import KEY, running
from tests.fixtures.unpublished import made_key
from tests.unit.billing.fakes import FakePaymentGateway

URL = "https://hooks.example.com/webhooks/stripe"


@pytest.fixture
def stripe() -> Iterator[StripeWorld]:
    with running() as base:
        gateways = StripeGateways(KEY, base)
        gateway = gateways.at(OWN)
        yield StripeWorld(gateway, base, KEY)
        gateways.close()


@pytest.fixture
def environ(stripe: StripeWorld, tmp_path: Path) -> dict[str, str]:
    """All that the command needs, on a laptop: no broker, and none of the webhook secrets that it is there to get."""
    url = f"sqlite:///{tmp_path}/billing.sqlite3"
    upgrade("billing", url)
    return {
        "BILLING_DATABASE_URL": url,
        "STRIPE_API_KEY": KEY,
        "STRIPE_API_BASE": stripe.base,
        "PUBLIC_URL": "http://127.0.0.1:8000",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> StripeSettings:
    return load_for_stripe(environ)


def test_the_command_comes_before_the_first_webhook_secret(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """An installation without an endpoint gets its secret from Stripe with the key and the database alone; then billing starts."""
    file = tmp_path / "whsec"
    words = ["stripe", "setup", "--url", URL, "--secret-file", str(file)]
    done = CliRunner().invoke(app, words, obj=CliContext(environ))
    assert done.exit_code == 0, done.output
    with pytest.raises(SettingsError, match="STRIPE_WEBHOOK_SECRETS is not set"):
        load(environ)
    secret = file.read_text().strip()
    assert secret not in done.output
    started = load(
        environ
        | {
            "STRIPE_WEBHOOK_SECRETS": secret,
            "AMQP_URI": "embedded://setup/portico",
        }
    )
    assert started.stripe_webhook_secrets == (Secret(secret),)


def test_an_older_endpoint_gets_what_it_lacks_and_keeps_what_others_added(
    stripe: StripeWorld, settings: StripeSettings, tmp_path: Path
) -> None:
    """The types that a release brings are added; a type that somebody chose for another purpose stays."""
    gateway = stripe.gateway
    assert isinstance(gateway, StripeGateway)
    older = sorted(WANTED - {"billing_portal.configuration.updated"})
    made, _ = StripeAccount(gateway).create_webhook_endpoint(URL, [*older, "charge.refunded"])
    assert made.missing(sorted(WANTED)) == ["billing_portal.configuration.updated"]
    done = set_up(settings, URL, tmp_path / "secret")
    assert (done["endpoint"], done["problem"]) == (made.id, False)
    (now,) = StripeAccount(gateway).webhook_endpoints()
    assert now.events == WANTED | {"charge.refunded"}
    assert set_up(settings, URL, tmp_path / "secret")["what"] == "as it should be"


def test_each_account_has_a_configuration_of_its_own(tmp_path: Path) -> None:
    """A connected one by the platform's key, another by its own; and what the setting names is the own account's alone."""
    url = f"sqlite:///{tmp_path}/billing.sqlite3"
    upgrade("billing", url)
    file = tmp_path / "accounts.json"
    with stripe_sandbox.running() as sandbox:
        connected, keyed = (
            stripe_sandbox.account(sandbox),
            stripe_sandbox.account(sandbox, connected=None),
        )
        secrets = [made_key("whsec_", 1)]
        entry = {"account": keyed["id"], "key": keyed["keys"]["test"], "webhook_secrets": secrets}
        file.write_text(json.dumps([entry]))
        environ = {
            "BILLING_DATABASE_URL": url,
            "STRIPE_API_KEY": stripe_sandbox.KEY,
            "STRIPE_API_BASE": sandbox.url,
            "STRIPE_ACCOUNTS_FILE": str(file),
            "PUBLIC_URL": "http://127.0.0.1:8000",
        }
        settings = load_for_stripe(environ)
        mine = configure_portal(settings, None, PortalPolicy())
        named = load_for_stripe(environ | {"STRIPE_PORTAL_CONFIGURATION": mine.configuration.id})
        assert configure_portal(named, None, None).source is PortalSource.NAMED
        for one in (connected, keyed):
            at = Account(one["id"])
            made = configure_portal(settings, None, PortalPolicy(cancel=True), at)
            assert made.configuration.id != mine.configuration.id
            shown = configure_portal(named, None, None, at).configuration
            assert shown.id == made.configuration.id
            there = stripe_sandbox.own(sandbox, one).billing_portal.configurations
            assert there.retrieve(shown.id).features.subscription_cancel.enabled


def test_set_up_makes_a_configuration_only_where_the_dashboard_has_none(
    stripe: StripeWorld, settings: StripeSettings, tmp_path: Path
) -> None:
    """And says whose the one is that customers get."""
    first = set_up(settings, URL, tmp_path / "secret")
    assert "nobody has saved one" in first["configuration_why"]
    stripe.save_portal_settings()
    second = set_up(settings, URL, tmp_path / "secret")
    assert "saved in Stripe's dashboard" in second["configuration_why"]
    assert second["configuration"] != first["configuration"]


def test_the_command_changes_what_customers_get_and_nothing_else(
    stripe: StripeWorld, settings: StripeSettings
) -> None:
    """Portico's own while nothing is saved in the dashboard, a business's own always; what is saved there, or named in the
    settings, is changed where it is kept, and shown with its reason."""
    own = configure_portal(settings, None, PortalPolicy(cancel=True))
    assert own.source is PortalSource.NEVER_SAVED
    assert own.configuration.allows("subscription_cancel")
    stripe.save_portal_settings(subscription_cancel=False)
    with pytest.raises(
        InvalidRequest, match=r"dashboard\.stripe\.com/test/settings/billing/portal"
    ):
        configure_portal(settings, None, PortalPolicy())
    business = configure_portal(settings, "sunrise", PortalPolicy(cancel=True))
    assert business.source is PortalSource.BUSINESS
    shown = configure_portal(settings, None, None)
    assert shown.source is PortalSource.DASHBOARD
    assert configure_portal(settings, "sunrise", None).configuration.id == business.configuration.id
    assert configure_portal(settings, "another", None) == shown
    assert "it is what is saved in Stripe's dashboard.\nCustomers may:\n  yes  update" in describe(
        shown
    )
    view = configuration_view(shown)
    assert (view["source"], view["customers_may"]["cancel a subscription"]) == ("dashboard", False)


def test_clicks_follow_the_dashboard_as_soon_as_stripe_has_told_of_it(
    stripe: StripeWorld, settings: StripeSettings
) -> None:
    """Nothing saved: Portico's own. Saved: the event, here from Stripe's log, makes the next click the dashboard's, and what
    customers may do is known without another request."""
    gateway, since = stripe.gateway, dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    customer = stripe.customer()

    def clock() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def used(database: Transactions) -> str:
        url = portal.create_portal_session(
            database,
            gateway,
            portal.SessionRequest(
                stripe_customer_id=customer,
                return_url="http://127.0.0.1:8000/me/token",
                flow="payment_method_update",
                business_id="sunrise",
            ),
            setting=None,
            public_url="http://127.0.0.1:8000",
            now=clock(),
        )
        found = requests.get(url, timeout=10)
        assert found.status_code == 200
        sessions = stripe.call("/v1/events", "GET", type="billing_portal.session.created")["data"]
        return str(sessions[0]["data"]["object"]["configuration"])

    with stripe_and_database(settings) as (_, database):
        own = gateway.find_configuration("default")
        assert own is None
        first = used(database)
        own = gateway.find_configuration("default")
        assert own is not None
        assert first == own.id
        stripe.save_portal_settings()
        assert used(database) == first
        reconcile(database, gateway, since, holder="me", clock=clock)
        may = portal.customers_may(
            database, _Away(livemode=False), business_id="sunrise", setting=None, now=clock()
        )
        assert (may.cancel, may.pause) == (True, False)
        saved = gateway.default_configuration()
        assert saved is not None
        assert used(database) == saved.id


@dataclass
class _Away(FakePaymentGateway):
    """A Stripe that must not be asked."""

    down: bool = True


def test_the_endpoint_for_connected_accounts_is_made_as_one(
    stripe: StripeWorld, settings: StripeSettings, tmp_path: Path
) -> None:
    """It hears what becomes of accounts, too, and says whose it is, since Stripe doesn't; the own account's stays beside it."""
    gateway = stripe.gateway
    assert isinstance(gateway, StripeGateway)
    set_up(settings, URL, tmp_path / "own")
    done = set_up(settings, f"{URL}/connect", tmp_path / "connect")
    assert (done["accounts"], done["what"]) == ("connect", "made")
    found = {one.url: one for one in StripeAccount(gateway).webhook_endpoints()}
    assert found[f"{URL}/connect"].events == CONNECT_WANTED
    assert found[URL].events == WANTED
    assert [found[url].made_for_connected for url in (URL, f"{URL}/connect")] == [False, True]
    again = set_up(settings, f"{URL}/connect", tmp_path / "more")
    assert (again["what"], (tmp_path / "more").exists()) == ("as it should be", False)


@pytest.mark.parametrize(
    ("path", "accounts"),
    [
        ("", ""),
        ("/connect", "connect"),
        ("/acct_1", "acct_1"),
        ("/acct", None),
        ("/connect/", None),
    ],
)
def test_an_address_says_whose_webhooks_it_takes(path: str, accounts: str | None) -> None:
    """The own account's, connected accounts', or one account's; any other is refused."""
    assert account_of(URL + path) == accounts
    assert (problem_of_url(URL + path) is None) == (accounts is not None)
