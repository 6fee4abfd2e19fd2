"""`portico doctor`: each of many planted misconfigurations is found, and nothing on a good set-up."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from portico.checks.billing import check_stripe
from portico.checks.broker import check_broker
from portico.checks.databases import check_database
from portico.checks.modes import check_settings
from portico.checks.notifier import check_senders, check_sendgrid
from portico.checks.settings import NO_SECRET_YET
from portico.cli.findings import Finding, Level
from portico.commands.doctor import Probes, examine
from services.billing.adapters.stripe.account import WebhookEndpoint
from services.billing.domain.errors import (
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.portal import PortalConfiguration, PortalSource
from services.billing.stripe_events.translation import CONNECT_WANTED, WANTED
from services.billing.workflows.portal import InUse
from services.notifier.adapters.sendgrid.account import SendGridTrouble
from shared.contracts.rpc.errors import PortalConfigurationMissing, StripeRefused, StripeUnavailable
from shared.database import make_engine
from shared.migrations import upgrade
from shared.settings import Secret
from tests.fixtures.unpublished import (
    ADDRESS_KEY,
    LINK_KEY,
    SENDGRID_KEY,
    STRIPE_TEST_KEY,
    WEBHOOK_SECRET,
    made_key,
)
from tests.unit.cli.conftest import Run
from tests.unit.notifier.test_feedback import PUBLIC

NOW = dt.datetime(2026, 11, 23, 22, 0, tzinfo=dt.UTC)
GOOD = {
    "AMQP_URI": "embedded://doctor/portico",
    "PORTAL_DATABASE_URL": "sqlite:///portal",
    "BILLING_DATABASE_URL": "sqlite:///billing",
    "NOTIFIER_DATABASE_URL": "sqlite:///notifier",
    "PUBLIC_URL": "https://me.example.com",
    "PORTAL_LINK_KEYS": LINK_KEY,
    "STRIPE_API_KEY": STRIPE_TEST_KEY,
    "STRIPE_API_BASE": "http://127.0.0.1:8010",
    "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
    "SENDGRID_API_KEY": SENDGRID_KEY,
    "SENDGRID_API_BASE": "http://127.0.0.1:8010",
    "ADDRESS_HASH_KEY": ADDRESS_KEY,
    "SENDGRID_WEBHOOK_PUBLIC_KEY": PUBLIC,
    "MAIL_FROM": "Portico <billing@mail.example.com>",
}
FEATURES = {
    "payment_method_update": True,
    "invoice_history": True,
    "customer_update": False,
    "subscription_cancel": False,
    "subscription_pause": False,
    "subscription_update": False,
}


STRIPES_MAILS = {
    f"stripe-mail-{name}"
    for name in ("failed", "reminders", "finalised", "3d-secure", "expiring-card", "upcoming")
}


@dataclass
class World:
    """A good set-up, in which each part can be spoiled. It is the Stripe account and the SendGrid account in one."""

    environ: dict[str, str] = field(default_factory=lambda: dict(GOOD))
    endpoints: list[WebhookEndpoint] = field(
        default_factory=lambda: [
            WebhookEndpoint(
                "we_1",
                "https://hooks.example.com/webhooks/stripe",
                True,
                "2026-10-28.endive",
                WANTED,
            )
        ]
    )
    configuration: PortalConfiguration | Exception = field(
        default_factory=lambda: PortalConfiguration(
            "bpc_1", False, True, "default", tuple(FEATURES.items())
        )
    )
    source: PortalSource = PortalSource.PORTICO
    dashboard: PortalConfiguration | None = None
    delivered: dict[str, int] = field(default_factory=lambda: {"own": 5, "thin": 0, "connected": 0})
    refusals: dict[str, int] = field(default_factory=dict)
    lacking: list[str] | Exception = field(default_factory=list)
    ahead: dt.timedelta = dt.timedelta()
    scopes_given: set[str] | SendGridTrouble = field(default_factory=lambda: {"mail.send"})
    verified: bool = True
    domains: set[str] | SendGridTrouble = field(default_factory=lambda: {"sunrise.example"})
    senders: dict[str, str] = field(default_factory=lambda: {"sunrise": "pay@sunrise.example"})
    tracking: bool = False
    broker: list[Finding] = field(default_factory=list)
    whose: list[Finding] = field(default_factory=list)
    database_is: Callable[[str, str], Iterable[Finding]] = lambda service, url: ()

    api_version = "2026-10-28.endive"
    livemode = False

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        return self.endpoints

    def lacking_rights(self) -> list[str]:
        if isinstance(self.lacking, Exception):
            raise self.lacking
        return self.lacking

    def now(self) -> dt.datetime:
        return NOW - self.ahead

    def scopes(self) -> set[str]:
        if isinstance(self.scopes_given, SendGridTrouble):
            raise self.scopes_given
        return self.scopes_given

    def may_send_from(self, address: str) -> bool:
        assert address == "billing@mail.example.com"
        return self.verified

    def authenticated_domains(self) -> set[str]:
        if isinstance(self.domains, SendGridTrouble):
            raise self.domains
        return self.domains

    def click_tracking(self) -> bool:
        return self.tracking

    def _configuration(self) -> InUse:
        if isinstance(self.configuration, Exception):
            raise self.configuration
        return InUse(self.source, self.configuration, self.dashboard)

    def examine(self, **wishes: Any) -> list[Finding]:
        """Everything that doctor tells, with the real checks over this world."""
        probes = Probes(
            stripe=lambda settings, **wishes: check_stripe(
                settings,
                self,
                self._configuration,
                lambda: self.delivered,
                lambda: NOW,
                refusals=lambda: self.refusals,
                **wishes,
            ),
            sendgrid=lambda settings: check_sendgrid(settings, self),
            senders=lambda portal, notifier: check_senders(self.senders, self),
            accounts=lambda billing, portal, account: (),
            hooks=lambda settings: (),
            broker=lambda uri, services: self.broker,
            whose=lambda settings: self.whose,
            modes=lambda settings: (),
            database=self.database_is,
        )
        return list(examine(self.environ, probes=probes, **wishes))

    def endpoint(self, **changes: Any) -> None:
        self.endpoints = [replace(self.endpoints[0], **changes)]

    def may(self, **features: bool) -> None:
        assert isinstance(self.configuration, PortalConfiguration)
        self.configuration = replace(self.configuration, may=tuple((FEATURES | features).items()))


def spoil(**settings: str) -> Callable[[World], None]:
    return lambda world: world.environ.update(settings)


def without(*names: str) -> Callable[[World], None]:
    return lambda world: [world.environ.pop(name) for name in names] and None


def put(**attributes: Any) -> Callable[[World], None]:
    return lambda world: (
        [setattr(world, name, value) for name, value in attributes.items()] and None
    )


def portal(**features: bool) -> PortalConfiguration:
    return PortalConfiguration(
        "bpc_1", False, True, None, tuple((FEATURES | features).items()), is_default=True
    )


PLANTED: dict[str, tuple[Callable[[World], Any], str]] = {
    # what is planted: (how, the code of the finding)
    "a setting is missing": (without("MAIL_FROM"), "settings"),
    "a link key is short": (spoil(PORTAL_LINK_KEYS="short"), "settings"),
    "a link key is there twice": (spoil(PORTAL_LINK_KEYS=f"{LINK_KEY},{LINK_KEY}"), "links-double"),
    "a link key is no random text": (spoil(PORTAL_LINK_KEYS="password" * 6), "settings"),
    "a key stands in the repository": (
        spoil(PORTAL_LINK_KEYS="development-only-0123456789abcdef0123456789abcdef"),
        "settings",
    ),
    "link keys of years are kept": (
        spoil(PORTAL_LINK_KEYS=",".join(LINK_KEY + str(number) for number in range(5))),
        "links-many",
    ),
    "links travel without TLS": (spoil(PUBLIC_URL="http://me.example.com"), "public-http"),
    "two services share a database": (
        spoil(BILLING_DATABASE_URL="sqlite:///portal"),
        "database-shared",
    ),
    "the key is of the wrong kind": (spoil(STRIPE_API_KEY="pk_test_public"), "settings"),
    "the restricted key lacks rights": (put(lacking=["webhook_endpoints"]), "stripe-rights"),
    "the key was revoked": (put(lacking=StripeKeyRefused("code api_key_expired")), "stripe-key"),
    "the account is out of the key's reach": (
        put(configuration=StripeKeyRefused("code account_invalid")),
        "stripe-key",
    ),
    "the restricted key may not see configurations": (
        put(configuration=StripePermissionMissing("code more_permissions_required")),
        "stripe-rights",
    ),
    "Stripe does not understand us": (put(lacking=StripeRefused("status 400")), "stripe-refuses"),
    "Stripe's address is a stranger's": (
        spoil(STRIPE_API_BASE="https://api.stripe.example"),
        "stripe-base",
    ),
    "there is no webhook endpoint": (put(endpoints=[]), "webhook-missing"),
    "the webhook endpoint leads elsewhere": (
        lambda world: world.endpoint(url="https://hooks.example.com/webhook"),
        "webhook-missing",
    ),
    "the webhook endpoint is switched off": (
        lambda world: world.endpoint(enabled=False),
        "webhook-disabled",
    ),
    "an event type is not delivered": (
        lambda world: world.endpoint(events=WANTED - {"customer.updated"}),
        "webhook-events",
    ),
    "the endpoint has an old API version": (
        lambda world: world.endpoint(api_version="2024-06-20"),
        "webhook-version",
    ),
    "the endpoint follows the account's default version": (
        lambda world: world.endpoint(api_version=None),
        "webhook-version",
    ),
    "two endpoints, one secret": (
        lambda world: world.endpoints.append(replace(world.endpoints[0], id="we_2")),
        "webhook-secrets",
    ),
    "an endpoint, and nobody's secret": (
        spoil(STRIPE_WEBHOOK_SECRETS=f"{NO_SECRET_YET}{WEBHOOK_SECRET}"),
        "webhook-secrets",
    ),
    "secrets of old endpoints are kept": (
        spoil(STRIPE_WEBHOOK_SECRETS=",".join(f"{WEBHOOK_SECRET}{n}" for n in range(4))),
        "webhook-secrets",
    ),
    "no portal configuration in this mode": (
        put(configuration=PortalConfigurationMissing("bpc_1 is a live mode configuration")),
        "portal-configuration",
    ),
    "customers can cancel": (lambda world: world.may(subscription_cancel=True), "portal-cancels"),
    "customers can't update their card": (
        lambda world: world.may(payment_method_update=False),
        "portal-no-card",
    ),
    "customers can cancel by a configuration of Portico's": (
        put(source=PortalSource.KEPT, configuration=portal(subscription_cancel=True)),
        "portal-cancels",
    ),
    "customers can't update their card by the dashboard": (
        put(source=PortalSource.DASHBOARD, configuration=portal(payment_method_update=False)),
        "portal-no-card",
    ),
    "the webhook endpoint delivers thin events": (
        put(delivered={"own": 0, "thin": 3, "connected": 0}),
        "webhook-thin",
    ),
    "the webhook endpoint hears connected accounts alone": (
        put(delivered={"own": 0, "thin": 0, "connected": 3}),
        "webhook-connected",
    ),
    "an endpoint of an older release lacks the new types": (
        lambda world: world.endpoint(events=WANTED - {"billing_portal.configuration.updated"}),
        "webhook-events",
    ),
    "the clock is ahead": (put(ahead=dt.timedelta(minutes=6)), "clock-off"),
    "the clock is behind": (put(ahead=dt.timedelta(minutes=-2)), "clock-off"),
    "SendGrid's key was revoked": (
        put(scopes_given=SendGridTrouble("401", refused=True)),
        "sendgrid-key",
    ),
    "SendGrid's key may not send": (put(scopes_given={"stats.read"}), "sendgrid-no-send"),
    "the sender is not verified": (put(verified=False), "sendgrid-sender"),
    "a business's sender is of no authenticated domain": (
        put(senders={"acme": "pay@acme.example"}),
        "sendgrid-business-sender",
    ),
    "click tracking is on": (put(tracking=True), "sendgrid-clicks"),
    "bounced addresses are kept without a key": (without("ADDRESS_HASH_KEY"), "address-key"),
    "bounces are not heard of": (without("SENDGRID_WEBHOOK_PUBLIC_KEY"), "sendgrid-webhook"),
}


def test_there_is_nothing_to_find_on_a_good_set_up() -> None:
    """Every check has looked. With a stand-in for Stripe nothing is left: nobody is sent to look in a dashboard that isn't there."""
    told = World().examine()
    assert {one.code for one in told if one.level is not Level.OK} == set()
    assert {one.code for one in told} >= {
        "settings",
        "links",
        "webhook",
        "portal-configuration",
        "clock",
        "sendgrid-sender",
    }


def test_what_no_machine_can_see_of_stripe_is_left_to_a_person() -> None:
    """Each email of Stripe's that may double one of ours, with where it is switched; and whether a test mode key is meant."""
    world = World()
    without("STRIPE_API_BASE")(world)
    asked = {one.code: one for one in world.examine() if one.level is not Level.OK}
    assert set(asked) == {*STRIPES_MAILS, "stripe-mode"}
    for code in STRIPES_MAILS:
        assert "dashboard.stripe.com/settings/billing" in asked[code].remedy
        assert f"--looked {code}" in asked[code].remedy


@pytest.mark.parametrize("planted", PLANTED)
def test_each_planted_misconfiguration_is_found(planted: str) -> None:
    """It is found under its own code, says what to do, and shows none of the secrets."""
    how, code = PLANTED[planted]
    world = World()
    how(world)
    told = world.examine()
    found = [one for one in told if one.level is Level.FINDING]
    assert {one.code for one in found} == {code}
    assert all(one.remedy for one in found)
    text = json.dumps([one.view() for one in told])
    for secret in (
        LINK_KEY,
        STRIPE_TEST_KEY,
        GOOD["STRIPE_WEBHOOK_SECRETS"],
        GOOD["SENDGRID_API_KEY"],
    ):
        assert secret not in text


def test_the_table_plants_at_least_twenty() -> None:
    """The table is the promise."""
    assert len(PLANTED) >= 20


def test_senders_of_businesses_that_nobody_can_check_are_for_a_person_to_look_at() -> None:
    """A key that may send mail need not be allowed to read the domains; without a sender of its own nobody looks."""
    refused = SendGridTrouble("403", refused=True)
    levels = {one.code: one.level for one in World(domains=refused).examine()}
    assert levels["sendgrid-domains-unseen"] is Level.ASK
    codes = {one.code for one in World(domains=refused, senders={}).examine()}
    assert not codes & {"sendgrid-domains-unseen", "sendgrid-business-sender"}


def test_only_some_of_many_wrong_senders_are_named() -> None:
    """Ten by name, the rest by their number."""
    world = World(senders={f"b{number:02}": f"pay@b{number}.example" for number in range(13)})
    told = [one.text for one in world.examine() if one.code == "sendgrid-business-sender"]
    assert len(told) == 11
    assert "3 more businesses" in told[-1]


def test_what_does_not_answer_is_unknown_not_well() -> None:
    """Stripe and SendGrid out of reach are told as such: nothing is said about what was not seen."""
    world = World(
        lacking=StripeUnavailable("down"), scopes_given=SendGridTrouble("down", refused=False)
    )
    levels = {one.code: one.level for one in world.examine()}
    assert levels["stripe-unreachable"] is Level.UNKNOWN
    assert levels["sendgrid-unreachable"] is Level.UNKNOWN
    assert "webhook" not in levels


def test_a_reached_limit_is_no_outage_and_no_fault_of_the_key() -> None:
    """Nothing was seen, and the person reads what to do about the limit instead of looking at the network."""
    levels = {one.code: one.level for one in World(lacking=StripeRateLimited("429")).examine()}
    assert levels["stripe-rate-limit"] is Level.UNKNOWN
    assert not levels.keys() & {"stripe-unreachable", "stripe-key", "stripe-refuses"}


def test_one_wrong_setting_hides_nothing_of_the_rest() -> None:
    """What needs it is said not to be looked at; everything else is looked at, with the finding about the setting first."""
    well = {one.area for one in World().examine()}

    def seen(**settings: str) -> tuple[list[Finding], set[str]]:
        world = World()
        spoil(**settings)(world)
        told = world.examine()
        left_out = {one.area for one in told if one.code == "not-looked"}
        assert well - {one.area for one in told} <= {"clock"}, settings  # Stripe tells it
        return [one for one in told if one.level is Level.FINDING], left_out

    assert "LOG_LEVEL is 'loud'" in seen(LOG_LEVEL="loud")[0][0].text
    assert seen(LOG_LEVEL="loud")[1] == set()
    found, left_out = seen(STRIPE_API_KEY="pk_test_public")
    assert (len(found), left_out) == (1, {"stripe"})
    assert seen(MAIL_FROM="nobody")[1] == {"sendgrid"}
    assert seen(PORTAL_LINK_KEYS="short")[1] == {"links"}
    world = World()
    looked: list[str] = []
    world.database_is = lambda service, url: looked.append(service) or ()  # type: ignore[assignment, func-returns-value]
    spoil(BILLING_DATABASE_URL="nonsense")(world)
    told = {one.area: one.text for one in world.examine() if one.code == "not-looked"}
    assert (
        told["database billing"] == "not looked at, since BILLING_DATABASE_URL is missing or wrong"
    )
    assert looked == ["portal", "notifier"]


def test_cancelling_that_is_meant_is_no_finding() -> None:
    """--may-cancel says that the business wants it so."""
    world = World()
    world.may(subscription_cancel=True)
    told = world.examine(may_cancel=True)
    assert not [one for one in told if one.level is Level.FINDING]


def test_what_a_person_has_looked_at_is_not_asked_again() -> None:
    """--looked answers what no machine can see, by its code; a finding stays one whatever is said."""
    world = World()
    without("STRIPE_API_BASE")(world)
    world.endpoint(enabled=False)
    told = world.examine(looked=[*STRIPES_MAILS, "stripe-mode", "webhook-disabled"])
    assert {one.code for one in told if one.level is not Level.OK} == {"webhook-disabled"}
    assert {one.code for one in told if one.level is Level.OK} >= STRIPES_MAILS


def one_of(world: World, code: str) -> Finding:
    (found,) = [one for one in world.examine() if one.code == code]
    return found


@pytest.mark.parametrize("source", list(PortalSource))
def test_doctor_says_what_customers_may_do_and_why(source: PortalSource) -> None:
    """In words, with the configuration and whose it is."""
    found = one_of(World(source=source), "portal-configuration")
    assert found.level is Level.OK
    assert "customers may update the saved payment method, see invoices and receipts;" in found.text
    assert source.why in found.text


def test_doctor_says_how_to_switch_to_the_dashboard() -> None:
    """An older installation stays as it is; what a switch would change is told, and both ways to settle it."""
    world = World(source=PortalSource.KEPT, dashboard=portal(subscription_cancel=True))
    found = one_of(world, "portal-kept")
    assert found.level is Level.ASK
    assert "they may also cancel a subscription" in found.text
    assert "STRIPE_PORTAL_CONFIGURATION to dashboard" in found.remedy
    assert "to portico" in found.remedy
    assert "nothing is saved there" in one_of(World(source=PortalSource.KEPT), "portal-kept").text


def test_cancelling_that_the_dashboard_allows_is_asked_about() -> None:
    """It is the business's own choice, and Stripe's form has it on at first: a person says whether it is meant."""
    world = World(source=PortalSource.DASHBOARD, configuration=portal(subscription_cancel=True))
    found = one_of(world, "portal-cancels")
    assert found.level is Level.ASK
    assert "dashboard.stripe.com/test/settings/billing/portal" in found.remedy
    assert not [one for one in world.examine(may_cancel=True) if one.code == "portal-cancels"]


def test_connected_accounts_beside_our_own_are_a_question() -> None:
    """Somebody may mean it; nothing is lost."""
    world = World(delivered={"own": 5, "thin": 0, "connected": 3})
    assert one_of(world, "webhook-connected").level is Level.ASK


@pytest.mark.whole
def test_links_that_nobody_speaks_for_are_named(tmp_path: Any) -> None:
    """They were made when a stranger's Checkout could make one: a person has to look. A database that is behind, or away,
    is told by the look at the database."""
    url = f"sqlite:///{tmp_path}/portal.sqlite3"
    settings = SimpleNamespace(database_url=Secret(url))
    assert list(Probes().whose(settings)) == []
    upgrade("portal", url)
    assert [one.code for one in Probes().whose(settings)] == ["links-evidence"]
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO businesses (business_id, name, locale, timezone, created_at, updated_at) "
            "VALUES ('sunrise', 'S', 'en', 'UTC', '2026-01-01', '2026-01-01')"
        )
        connection.exec_driver_sql(
            "INSERT INTO customers (public_id, business_pk, external_id, name, email, platform_stripe_customer_id, "
            "link_generation, created_at, updated_at) "
            "VALUES ('A', 1, 'c1', 'N', 'n@example.com', 'cus_1', 1, '2026-01-01', '2026-01-01')"
        )
    engine.dispose()
    (found,) = Probes().whose(settings)
    assert (found.code, found.level) == ("links-unknown", Level.ASK)
    assert "evidence --unknown" in found.remedy


def test_an_installation_that_observes_is_no_finding(run: Run) -> None:
    """It was set so: a note says it, with what to do; a half that acts while the other looks is wrong."""
    world = World()
    assert not [one for one in world.examine() if one.area == "observing"]
    spoil(MODE="observe")(world)
    told = one_of(world, "observes")
    assert (told.level, "MODE=observe" in told.text) == (Level.NOTE, True)
    assert not [one for one in world.examine() if one.level is Level.FINDING]
    (found,) = check_settings({"portal": True, "billing": True, "notifier": False})
    assert (found.code, found.level) == ("observes-apart", Level.FINDING)
    assert "portal and billing observe, notifier live" in found.text


@pytest.mark.whole
def test_businesses_that_observe_are_named(tmp_path: Any) -> None:
    """With what to do; none is no word. A database that is behind, or away, is told by the look at the database."""
    url = f"sqlite:///{tmp_path}/portal.sqlite3"
    settings = SimpleNamespace(database_url=Secret(url))
    assert list(Probes().modes(settings)) == []
    upgrade("portal", url)
    assert list(Probes().modes(settings)) == []
    engine = make_engine(url)
    for business, mode in (("sunrise", "observe"), ("moon", "live")):
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO businesses (business_id, name, locale, timezone, mode, created_at, updated_at) "
                f"VALUES ('{business}', 'S', 'en', 'UTC', '{mode}', '2026-01-01', '2026-01-01')"
            )
    engine.dispose()
    (found,) = Probes().modes(settings)
    assert (found.code, found.level) == ("businesses-observe", Level.NOTE)
    assert "1 business only observes: sunrise" in found.text
    assert "go-live --business" in found.remedy


@pytest.mark.whole
@pytest.mark.parametrize("service", ["portal", "billing", "notifier"])
def test_a_database_behind_the_code_is_found(service: str, tmp_path: Any) -> None:
    """An empty database and one of an older version are behind; a migrated one works, and is well once its last step is done."""
    url = f"sqlite:///{tmp_path}/{service}.sqlite3"
    make_engine(url).dispose()
    assert [one.code for one in check_database(service, url)] == ["database-behind"]
    upgrade(service, url, "0001")
    (found,) = check_database(service, url)
    assert (found.level, f"services.{service} migrate" in found.remedy) == (Level.FINDING, True)
    upgrade(service, url)
    step, there = check_database(service, url)
    assert (step.code, step.level) == ("database-after-roll", Level.ASK)
    assert f"services.{service} migrate --after-roll" in step.remedy
    assert there.level is Level.OK
    upgrade(service, url, after_roll=True)
    assert [one.level for one in check_database(service, url)] == [Level.OK]


def test_a_database_that_is_not_there_is_unknown(tmp_path: Any) -> None:
    """A wrong path or a server that is down: told, without the URL and its password."""
    (found,) = check_database("portal", f"sqlite:///{tmp_path}/none/portal.sqlite3")
    assert (found.code, found.level) == ("database-unreachable", Level.UNKNOWN)


def test_the_embedded_broker_is_not_called_well() -> None:
    """It lives in another process: nothing can be said about it."""
    (found,) = check_broker("embedded://localhost/")
    assert found.level is Level.UNKNOWN


def test_the_command_ends_with_one_when_something_is_found(run: Run) -> None:
    """With next to no settings every service is named, and the exit code tells scripts."""
    result = run("doctor", "--json", environ={"AMQP_URI": "rabbitmq:5672"})
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    texts = " ".join(one["text"] for one in found)
    for name in ("PORTAL_DATABASE_URL", "PORTAL_LINK_KEYS", "STRIPE_API_KEY", "SENDGRID_API_KEY"):
        assert f"{name} is not set" in texts


def test_a_shell_without_a_single_setting_is_told_where_they_come_from(run: Run) -> None:
    """One sentence, and no list of all that there is to set: they are somewhere else."""
    for words in ((), ("--service", "billing"), ("--json",)):
        result = run("doctor", *words, environ={"LANG": "C"})
        assert (result.exit_code, result.stdout) == (2, "")
        assert "portico --env-file portico.env doctor" in result.stderr


def test_an_unknown_service_is_a_wrong_word(run: Run) -> None:
    """--service takes the three names."""
    assert run("doctor", "--service", "mailer").exit_code == 2


CONNECT_SECRET = made_key("whsec_", 1)
CONNECT_ENDPOINT = WebhookEndpoint(
    "we_2",
    "https://hooks.example.com/webhooks/stripe/connect",
    True,
    "2026-10-28.endive",
    CONNECT_WANTED,
    made_for_connected=True,
)


def connect_findings(endpoint: WebhookEndpoint | None, secrets: str = CONNECT_SECRET) -> set[str]:
    """The codes that doctor tells of the endpoint for connected accounts."""
    world = World()
    if secrets:
        world.environ["STRIPE_CONNECT_WEBHOOK_SECRETS"] = secrets
    if endpoint is not None:
        world.endpoints = [*world.endpoints, endpoint]
    return {one.code for one in world.examine() if one.code.startswith("webhook-connect")}


def test_the_endpoint_for_connected_accounts_is_told_apart() -> None:
    """By its address: its events, switch, version and secrets are its own, and who has no platform hears nothing of it."""
    assert connect_findings(None, "") == set()
    assert connect_findings(CONNECT_ENDPOINT) == {"webhook-connect"}
    assert connect_findings(None) == {"webhook-connect-missing"}
    assert connect_findings(CONNECT_ENDPOINT, "") == {"webhook-connect-secrets", "webhook-connect"}
    off = replace(CONNECT_ENDPOINT, enabled=False)
    assert connect_findings(off) == {"webhook-connect-disabled"}
    deaf = replace(CONNECT_ENDPOINT, events=WANTED)
    assert connect_findings(deaf) == {"webhook-connect-events"}


def test_an_endpoint_made_by_hand_may_hear_the_wrong_accounts() -> None:
    """Stripe does not say whether it hears connected ones: a person looks."""
    by_hand = replace(CONNECT_ENDPOINT, made_for_connected=False)
    assert connect_findings(by_hand) == {"webhook-connect", "webhook-connect-unsure"}


def test_accounts_that_would_gain_from_a_key_of_their_own_are_named() -> None:
    """Those with the most subscriptions that the platform may not change; of very many the rest is counted."""
    world = World(refusals={f"acct_{number}": 100 - number for number in range(25)})
    told = {one.code: one for one in world.examine() if one.code.startswith("platform-may-not")}
    assert len(told) == 21
    assert all(one.level is Level.ASK for one in told.values())
    assert "acct_0: Stripe did not let us change 100" in told["platform-may-not-acct_0"].text
    assert told["platform-may-not"].text.startswith("5 more accounts")
