"""The click: always a fresh session, on the configuration that the business chose, and else on a conservative one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.billing.domain.accounts import Way
from services.billing.domain.errors import InvalidRequest
from services.billing.domain.paying import Customer
from services.billing.domain.portal import PortalConfiguration, PortalPolicy, PortalSource
from services.billing.handlers.inbox import Outcome, read_webhook
from services.billing.queries import portal as portal_queries
from services.billing.queries import reconciliation
from services.billing.workflows import portal as handlers
from services.billing.workflows.portal import (
    NEVER_SAVED_FOR,
    InUse,
    SessionRequest,
    configuration_in_use,
    create_portal_session,
    ensure_configuration,
)
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.rpc.errors import (
    PortalConfigurationMissing,
    StripeUnavailable,
    UnknownStripeCustomer,
)
from shared.database import Transactions
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import NOW, payload
from tests.unit.billing.fakes import FakePaymentGateway
from tests.unit.billing.webhooks import store_webhook
from tests.unit.wire import on_the_wire

customers_may = on_the_wire(handlers.customers_may)

PUBLIC = "https://me.example.com"
BACK = f"{PUBLIC}/me/token"


@pytest.fixture(autouse=True)
def _dana(gateway: FakePaymentGateway) -> None:
    gateway.customers["cus_1"] = Customer("cus_1")


def click(database: Transactions, gateway: FakePaymentGateway, **changed: Any) -> str:
    around: dict[str, Any] = {"setting": None, "public_url": PUBLIC, "now": NOW}
    around |= {name: changed.pop(name) for name in around.keys() & changed.keys()}
    wanted = SessionRequest(**{"stripe_customer_id": "cus_1", "return_url": BACK, **changed})
    return create_portal_session(database, gateway, wanted, **around)


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
    click(database, gateway, setting="bpc_set")
    assert gateway.sessions[0].configuration_id == "bpc_set"
    assert list(gateway.configurations) == ["bpc_set"]


def test_a_missing_configuration_from_the_settings_is_told(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """We never silently replace what ops have set: the error has a name, the customer gets a calm page."""
    with pytest.raises(PortalConfigurationMissing):
        click(database, gateway, setting="bpc_gone")


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


@pytest.mark.parametrize(
    ("way", "maker", "ours", "taken"),
    [
        (Way.CONNECTED, "ca_theirs", "ca_ours", False),
        (Way.CONNECTED, "ca_ours", "ca_ours", True),
        (Way.CONNECTED, None, "ca_ours", False),
        (Way.CONNECTED, "ca_theirs", None, False),
        (Way.CONNECTED, None, None, False),
        (Way.OWN_KEY, "ca_theirs", None, False),
        (Way.OWN_KEY, "ca_theirs", "ca_ours", False),
        (Way.OWN_KEY, "ca_ours", "ca_ours", True),
        (Way.OWN_KEY, None, "ca_ours", True),
        (None, "ca_theirs", None, False),
        (None, None, None, True),
        (None, None, "ca_ours", True),
    ],
)
def test_what_another_platform_made_is_not_ours(
    database: Transactions,
    gateway: FakePaymentGateway,
    way: Way | None,
    maker: str | None,
    ours: str | None,
    taken: bool,
) -> None:
    """It, or the account itself, may run Portico, too, and give its configuration the same key: it is neither used nor changed, also
    where nobody can tell whose it is."""
    gateway.way = way
    theirs = replace(
        gateway.create_configuration("default", PortalPolicy(cancel=True)), application=maker
    )
    gateway.configurations[theirs.id] = theirs
    gateway.application = ours
    used = ensure_configuration(database, gateway, "default", policy=PortalPolicy(), now=NOW)
    assert (used.id == theirs.id) is taken
    assert gateway.configurations[theirs.id].allows("subscription_cancel") is not taken


def test_what_we_made_where_nobody_can_tell_is_made_once(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """On a connected account without STRIPE_CLIENT_ID what is recorded is ours, until it is gone."""
    gateway.way, gateway.application = Way.CONNECTED, None
    first = ensure_configuration(database, gateway, "default", now=NOW)
    allowing = PortalPolicy(cancel=True)
    second = ensure_configuration(database, gateway, "default", policy=allowing, now=NOW)
    assert (second.id, second.follows(allowing)) == (first.id, True)
    assert configuration_in_use(database, gateway, None, None).configuration == second
    gateway.configurations[first.id] = replace(second, active=False)
    third = ensure_configuration(database, gateway, "default", now=NOW)
    assert third.id != first.id
    del gateway.configurations[third.id]
    assert ensure_configuration(database, gateway, "default", now=NOW).id != third.id


@pytest.mark.parametrize("maker", [None, "ca_theirs", {"id": "ca_theirs", "object": "application"}])
def test_the_default_of_the_dashboard_counts_whoever_made_it(
    database: Transactions, gateway: FakePaymentGateway, maker: Any
) -> None:
    """It is what a session without a name gets, and what the business edits; its maker is kept, plain or expanded."""
    saved = gateway.save_in_dashboard()
    event = json.loads(told("created", saved))
    event["data"]["object"]["application"] = maker
    gateway.application = "ca_ours"
    deliver(database, json.dumps(event).encode())
    gateway.down = True
    assert may_cancel(database, gateway) is True
    with database.reading() as session:
        known = portal_queries.permissions(session, StripeId(OWN, saved.id))
    assert known is not None
    assert known.application == (maker and "ca_theirs")


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
        configuration_in_use(database, gateway, None, "portico")


def test_looking_changes_nothing(database: Transactions, gateway: FakePaymentGateway) -> None:
    """`--show` tells that there is none yet, and makes none."""
    with pytest.raises(PortalConfigurationMissing):
        configuration_in_use(database, gateway, None, None)
    assert gateway.configurations == {}
    made = ensure_configuration(database, gateway, "default", now=NOW)
    assert configuration_in_use(database, gateway, None, None) == InUse(
        PortalSource.NEVER_SAVED, made
    )


# --- whose configuration counts ------------------------------------------------------------------------------


def ran_before(database: Transactions) -> None:
    """What the migration leaves where a release before this one ran."""
    with database.transaction() as session:
        reconciliation.keep_moment(session, OWN, portal_queries.KEPT, NOW)


@pytest.mark.parametrize("setting", [None, "dashboard"])
def test_what_is_saved_in_the_dashboard_is_what_customers_get(
    database: Transactions, gateway: FakePaymentGateway, setting: str | None
) -> None:
    """No configuration is named, so that Stripe takes the account's default; none of ours is made."""
    saved = gateway.save_in_dashboard()
    click(database, gateway, setting=setting)
    assert gateway.sessions[0].left_to_stripe
    assert list(gateway.configurations) == [saved.id]
    assert configuration_in_use(database, gateway, None, setting).source is PortalSource.DASHBOARD


def test_a_configuration_that_is_named_is_the_own_accounts(database: Transactions) -> None:
    """On another account what is saved in its own dashboard counts: Stripe knows no other there."""
    gateway = FakePaymentGateway(account=Account("acct_1"))
    saved = gateway.save_in_dashboard()
    found = configuration_in_use(database, gateway, None, "bpc_set")
    assert (found.source, found.configuration) == (PortalSource.DASHBOARD, saved)


@pytest.mark.parametrize(
    ("setting", "before", "source"),
    [
        (None, True, PortalSource.KEPT),
        ("portico", False, PortalSource.PORTICO),
        ("portico", True, PortalSource.PORTICO),
        ("dashboard", True, PortalSource.DASHBOARD),
        ("bpc_set", True, PortalSource.NAMED),
    ],
)
def test_an_older_installation_stays_on_porticos_until_a_person_switches(
    database: Transactions,
    gateway: FakePaymentGateway,
    setting: str | None,
    before: bool,
    source: PortalSource,
) -> None:
    """An upgrade alone lets nobody cancel past the approval: only the setting, set by a person, follows the dashboard."""
    saved = gateway.save_in_dashboard(subscription_cancel=True)
    gateway.configurations["bpc_set"] = PortalConfiguration(
        "bpc_set", False, True, None, (("payment_method_update", True),)
    )
    if before:
        ran_before(database)
    click(database, gateway, setting=setting)
    (session,) = gateway.sessions
    used = gateway.configurations[session.configuration_id]
    assert (used.id == saved.id) is (source is PortalSource.DASHBOARD)
    assert used.allows("subscription_cancel") is (source is PortalSource.DASHBOARD)
    found = configuration_in_use(database, gateway, None, setting)
    assert (found.source, found.configuration.id) == (source, used.id)
    assert found.dashboard == (saved if source is PortalSource.KEPT else None)
    may = customers_may(database, gateway, business_id=None, setting=setting, now=NOW)
    assert may["cancel"] is (source is PortalSource.DASHBOARD)


@pytest.mark.parametrize("setting", [None, "dashboard", "portico", "bpc_set"])
def test_a_business_own_configuration_goes_before_every_setting(
    database: Transactions, gateway: FakePaymentGateway, setting: str | None
) -> None:
    """Its customers get it, whatever the installation's default is; it heals as a conservative one, never as the default."""
    gateway.save_in_dashboard(subscription_cancel=True)
    own = ensure_configuration(database, gateway, "business:sunrise", now=NOW)
    click(database, gateway, business_id="sunrise", setting=setting)
    assert gateway.sessions[0].configuration_id == own.id
    del gateway.configurations[own.id]
    click(database, gateway, business_id="sunrise", setting=setting)
    healed = gateway.configurations[gateway.sessions[1].configuration_id]
    assert (healed.key, healed.allows("subscription_cancel")) == ("business:sunrise", False)


def test_where_nothing_was_saved_stripe_is_asked_once_an_hour(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Its refusal is remembered: the next clicks go straight to ours. Saved later, it is found by a click all the same."""
    asked: list[str] = []
    click(database, gateway)
    gateway.before = asked.append
    click(database, gateway)
    assert asked == ["create_portal_session"]
    gateway.save_in_dashboard()
    click(database, gateway)
    click(database, gateway, now=NOW + NEVER_SAVED_FOR)
    click(database, gateway, now=NOW + NEVER_SAVED_FOR)
    assert [session.left_to_stripe for session in gateway.sessions] == [False] * 3 + [True] * 2


def test_a_flow_that_the_configuration_forbids_begins_on_the_first_page(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Stripe's refusal costs one more request, and only once: the answer to the second tells what is allowed."""
    gateway.save_in_dashboard(payment_method_update=False)
    asked: list[str] = []
    gateway.before = asked.append
    for _ in range(2):
        click(database, gateway, flow="payment_method_update")
    assert [session.flow for session in gateway.sessions] == [None, None]
    assert asked == ["create_portal_session"] * 3


# --- what customers may do -----------------------------------------------------------------------------------


def told(type_: str, configuration: PortalConfiguration, number: int = 1) -> bytes:
    """Stripe's event about a configuration, as it is now."""
    event = json.loads(payload("billing_portal.configuration.updated"))
    event.update(id=f"evt_portal_{number}", type=f"billing_portal.configuration.{type_}")
    event["data"]["object"].update(
        id=configuration.id,
        is_default=configuration.is_default,
        updated=configuration.updated,
        metadata={"portico_key": configuration.key} if configuration.key else {},
        features={name: {"enabled": on} for name, on in configuration.may},
    )
    return json.dumps(event).encode()


def deliver(database: Transactions, body: bytes) -> Outcome:
    with database.transaction() as session:
        return store_webhook(session, read_webhook(body, directory=OWN_ALONE), NOW)


def may_cancel(database: Transactions, gateway: FakePaymentGateway) -> bool:
    return customers_may(database, gateway, business_id=None, setting=None, now=NOW)["cancel"]


def test_what_the_dashboard_allows_is_learnt_from_events_without_asking(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """The first question asks Stripe, none after it does: an event tells each change, an older one changes nothing back, and
    one about a configuration that nobody gets is not kept."""
    assert may_cancel(database, gateway) is False
    first = gateway.save_in_dashboard()
    second = gateway.save_in_dashboard(subscription_cancel=False)
    gateway.down = True
    assert deliver(database, told("created", first)) is Outcome.TRANSLATED
    assert may_cancel(database, gateway) is True
    deliver(database, told("updated", second, 2))
    assert may_cancel(database, gateway) is False
    deliver(database, told("updated", first, 3))
    assert may_cancel(database, gateway) is False
    stranger = replace(first, id="bpc_stranger", is_default=False, updated=9)
    deliver(database, told("updated", stranger, 4))
    with database.reading() as session:
        assert portal_queries.permissions(session, StripeId(OWN, "bpc_stranger")) is None


def test_what_the_dashboard_allows_is_learnt_from_a_session(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Stripe's answer to a click carries it, so that a lost event is made good at the next one."""
    gateway.save_in_dashboard()
    click(database, gateway)
    gateway.save_in_dashboard(subscription_cancel=False)
    assert may_cancel(database, gateway) is True
    click(database, gateway)
    gateway.down = True
    assert may_cancel(database, gateway) is False


def test_pausing_is_spoken_of_only_where_stripes_portal_offers_it() -> None:
    """A configuration that does not know the feature neither allows nor forbids it."""
    offered = PortalConfiguration("bpc_1", False, True, None, (("subscription_pause", False),))
    without = PortalConfiguration("bpc_2", False, True, None, ())
    assert [any("pause" in words for words, _ in one.describe()) for one in (offered, without)] == [
        True,
        False,
    ]
