"""The click: always a fresh session, always on a configuration that we chose."""

from __future__ import annotations

from typing import Any

import pytest

from services.billing.domain import (
    Customer,
    InvalidRequest,
    PortalConfiguration,
    PortalConfigurationMissing,
    PortalPolicy,
    StripeUnavailable,
    UnknownStripeCustomer,
)
from services.billing.handlers.portal import (
    create_portal_session,
    ensure_configuration,
    look_up_configuration,
)
from shared.database import Transactions
from tests.unit.billing.conftest import NOW
from tests.unit.billing.fakes import FakePaymentGateway

PUBLIC = "https://me.example.com"
BACK = f"{PUBLIC}/me/token"


@pytest.fixture(autouse=True)
def _dana(gateway: FakePaymentGateway) -> None:
    gateway.customers["cus_1"] = Customer("cus_1")


def click(database: Transactions, gateway: FakePaymentGateway, **changed: Any) -> str:
    arguments: dict[str, Any] = {
        "stripe_customer_id": "cus_1",
        "return_url": BACK,
        "flow": None,
        "locale": None,
        "business_id": None,
        "fixed_configuration": None,
        "public_url": PUBLIC,
        "now": NOW,
    }
    return create_portal_session(database, gateway, **{**arguments, **changed})


def test_each_click_is_a_fresh_session_on_one_conservative_configuration(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """The first click makes the configuration, the second uses it; the URLs differ."""
    assert click(database, gateway) != click(database, gateway)
    (made,) = gateway.configurations.values()
    assert made.follows(PortalPolicy())
    assert not made.allows("subscription_cancel")
    assert {session.configuration_id for session in gateway.sessions} == {made.id}


def test_the_session_carries_flow_language_and_the_way_back(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """What the customer asked for reaches Stripe; an unknown language lets Stripe choose."""
    click(database, gateway, flow="payment_method_update", locale="pt_BR")
    click(database, gateway, locale="tlh")
    first, second = gateway.sessions
    assert (first.flow, first.locale, first.return_url) == ("payment_method_update", "pt-BR", BACK)
    assert (second.flow, second.locale) == (None, "auto")


def test_a_configuration_from_the_settings_wins(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """STRIPE_PORTAL_CONFIGURATION is used as it is, and none of ours is made."""
    gateway.configurations["bpc_set"] = PortalConfiguration("bpc_set", False, True, None, ())
    click(database, gateway, fixed_configuration="bpc_set")
    assert gateway.sessions[0].configuration_id == "bpc_set"
    assert list(gateway.configurations) == ["bpc_set"]


def test_a_missing_configuration_from_the_settings_is_told(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """We never silently replace what ops have set: the error has a name, the customer gets a calm page."""
    with pytest.raises(PortalConfigurationMissing):
        click(database, gateway, fixed_configuration="bpc_gone")


def test_a_recorded_configuration_that_stripe_forgot_heals(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """After a change of the Stripe account the recorded one is unknown: ours is made again at the click."""
    click(database, gateway)
    gateway.configurations.clear()
    click(database, gateway)
    click(database, gateway)
    assert [session.configuration_id for session in gateway.sessions][1:] == list(
        gateway.configurations
    ) * 2


def test_a_business_may_have_its_own(database: Transactions, gateway: FakePaymentGateway) -> None:
    """A business that allows cancelling has its own configuration; others keep the default."""
    own = ensure_configuration(
        database, gateway, "business:sunrise", policy=PortalPolicy(cancel=True), now=NOW
    )
    click(database, gateway, business_id="sunrise")
    click(database, gateway, business_id="another")
    first, second = gateway.sessions
    assert first.configuration_id == own.id
    assert not gateway.configurations[second.configuration_id].allows("subscription_cancel")


@pytest.mark.parametrize(
    "return_url",
    [
        "",
        "/me/token",
        "javascript:alert(1)",
        "http://me.example.com/me/token",
        "https://me.example.com.evil.test/me/token",
        "https://me.example.com@evil.test/",
        "https://user@me.example.com/",
        "https://me.example.com:8443/me/token",
        "https://evil.test/?https://me.example.com/",
        "https://[",
    ],
)
def test_a_way_back_that_is_not_ours_is_refused(
    database: Transactions, gateway: FakePaymentGateway, return_url: str
) -> None:
    """The return URL must lie under PUBLIC_URL, compared by its parts."""
    with pytest.raises(InvalidRequest, match="return_url"):
        click(database, gateway, return_url=return_url)
    assert gateway.sessions == []


def test_a_public_url_with_a_path_is_a_fence(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Where the portal lives under a path, its neighbours on the host are not ours."""
    click(database, gateway, public_url=f"{PUBLIC}/billing", return_url=f"{PUBLIC}/billing/me/t")
    with pytest.raises(InvalidRequest):
        click(database, gateway, public_url=f"{PUBLIC}/bill", return_url=f"{PUBLIC}/billing/me/t")


@pytest.mark.parametrize(
    ("argument", "value"), [("flow", "subscription_cancel"), ("stripe_customer_id", "")]
)
def test_wrong_arguments_name_the_field(
    database: Transactions, gateway: FakePaymentGateway, argument: str, value: str
) -> None:
    """An argument that nobody of ours would send is refused by name."""
    with pytest.raises(InvalidRequest, match=argument):
        click(database, gateway, **{argument: value})


def test_errors_have_names(database: Transactions, gateway: FakePaymentGateway) -> None:
    """An unknown customer and a Stripe that is down are told apart."""
    with pytest.raises(UnknownStripeCustomer):
        click(database, gateway, stripe_customer_id="cus_2")
    gateway.down = True
    with pytest.raises(StripeUnavailable):
        click(database, gateway)


# --- the command ---------------------------------------------------------------------------------------------


def test_making_a_configuration_twice_makes_one(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """The command is idempotent; another policy changes the same configuration, both ways."""
    first = ensure_configuration(database, gateway, "default", policy=PortalPolicy(), now=NOW)
    allowing = PortalPolicy(cancel=True, pause=True)
    second = ensure_configuration(database, gateway, "default", policy=allowing, now=NOW)
    assert second.id == first.id
    assert second.follows(allowing)
    third = ensure_configuration(database, gateway, "default", policy=PortalPolicy(), now=NOW)
    assert (third.id, third.follows(PortalPolicy())) == (first.id, True)


def test_first_need_keeps_what_the_command_allowed(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """A click on a fresh database finds the configuration at Stripe and does not tighten it."""
    made = gateway.create_configuration("default", PortalPolicy(cancel=True))
    click(database, gateway)
    assert gateway.sessions[0].configuration_id == made.id
    assert gateway.configurations[made.id].allows("subscription_cancel")


def test_a_configuration_of_the_other_mode_is_refused(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """A test configuration under a live key would give customers an error at the click."""
    gateway.create_configuration("default", PortalPolicy())
    gateway.livemode = True
    with pytest.raises(PortalConfigurationMissing, match="test mode configuration"):
        ensure_configuration(database, gateway, "default", now=NOW)
    with pytest.raises(PortalConfigurationMissing, match="live mode key"):
        look_up_configuration(database, gateway, "default", None)


def test_looking_changes_nothing(database: Transactions, gateway: FakePaymentGateway) -> None:
    """`--show` tells that there is none yet, and makes none."""
    with pytest.raises(PortalConfigurationMissing):
        look_up_configuration(database, gateway, "default", None)
    assert gateway.configurations == {}
    made = ensure_configuration(database, gateway, "default", now=NOW)
    assert look_up_configuration(database, gateway, "default", None) == made
