"""The click: a fresh session on Stripe's page; and what customers may do there, learnt when Stripe says it anyway.

Whose configuration counts is decided in `domain.portal_source`: see docs/adr/0021-the-dashboards-portal-configuration.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.billing.domain.errors import InvalidRequest, NoDefaultConfiguration, PortalFlowRefused
from services.billing.domain.portal import (
    DASHBOARD,
    FLOWS,
    PORTICO,
    PortalConfiguration,
    PortalPolicy,
    PortalSession,
    PortalSource,
    check_return_url,
    configuration_key,
    portal_locale,
    portal_source,
)
from services.billing.ports import PaymentGateway
from services.billing.queries import portal as portal_queries
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.billing import CustomerRights
from shared.contracts.rpc.errors import PortalConfigurationMissing
from shared.database import Transactions

NEVER_SAVED_FOR: Final = dt.timedelta(hours=1)
"""How long clicks go straight to Portico's configuration after Stripe said that the dashboard has none. An endpoint that
delivers `billing_portal.configuration.created` ends it at once."""


@dataclass(frozen=True)
class Choice:
    """Which configuration customers get, as far as the database tells."""

    source: PortalSource
    key: str
    """Under which it is recorded, where it is ours."""
    configuration_id: str | None
    """None while none is recorded, and for the dashboard's, which Stripe takes by itself."""
    known: PortalConfiguration | None
    """What is known of it."""


@dataclass(frozen=True)
class InUse:
    """The configuration that customers get now, as Stripe holds it, and whose it is."""

    source: PortalSource
    configuration: PortalConfiguration
    dashboard: PortalConfiguration | None = None
    """What a switch to the dashboard's would bring, where somebody is yet to decide about it."""


def choose(
    database: Transactions,
    gateway: PaymentGateway,
    business_id: str | None,
    setting: str | None,
    never_saved_since: dt.datetime | None = None,
) -> Choice:
    """Which configuration a business's customers get. `setting` is STRIPE_PORTAL_CONFIGURATION. That the dashboard has none
    is believed where Stripe said so since a moment; without one, whenever."""
    account = gateway.account
    if account != OWN and setting not in (None, DASHBOARD, PORTICO):
        setting = (
            DASHBOARD  # a configuration that is named is the own account's, and no other knows it
        )
    with database.reading() as session:
        found = portal_queries.recorded(session, account, gateway.livemode, business_id)
        never_saved = found.dashboard == portal_queries.NONE_SAVED and (
            never_saved_since is None
            or found.dashboard_at is None
            or found.dashboard_at > never_saved_since
        )
        source = portal_source(
            setting,
            own=found.own is not None,
            keeps_portico=found.keeps_portico,
            never_saved=never_saved,
        )
        used = {
            PortalSource.BUSINESS: found.own,
            PortalSource.NAMED: setting,
            PortalSource.DASHBOARD: found.dashboard,
        }.get(source, found.portico)
        return Choice(
            source,
            configuration_key(business_id if source is PortalSource.BUSINESS else None),
            None if source is PortalSource.DASHBOARD else used,
            portal_queries.permissions(session, StripeId(account, used)) if used else None,
        )


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """Who wants which session of the Billing Portal."""

    stripe_customer_id: str
    return_url: str
    """Under PUBLIC_URL."""
    flow: str | None = None
    """One of `FLOWS`; None: Stripe's first page."""
    locale: str | None = None
    """A BCP 47 tag."""
    business_id: str | None = None
    """Whose own configuration is wanted, where it has one."""
    on_behalf_of: str = ""
    """On a platform's account: the connected account whose brand, invoices and subscriptions alone it shows; empty: nobody's."""


def create_portal_session(
    database: Transactions,
    gateway: PaymentGateway,
    wanted: SessionRequest,
    *,
    setting: str | None,
    public_url: str,
    now: dt.datetime,
) -> str:
    """The URL of a fresh session. Short-lived and secret: it is returned, and kept nowhere.

    Raises InvalidRequest, UnknownStripeCustomer, PortalConfigurationMissing, StripeUnavailable, StripeRefused.
    """
    _check(wanted, public_url)
    flow, business_id = wanted.flow, wanted.business_id

    def create(configuration_id: str | None, flow: str | None) -> PortalSession:
        return gateway.create_portal_session(
            wanted.stripe_customer_id,
            configuration_id,
            wanted.return_url,
            flow,
            portal_locale(wanted.locale),
            wanted.on_behalf_of,
        )

    def open_on(configuration_id: str | None, known: PortalConfiguration | None) -> str:
        try:
            made = create(configuration_id, flow if known is None or known.permits(flow) else None)
        except PortalFlowRefused:
            made = create(configuration_id, None)
        if made.configuration is not None and made.configuration != known:
            with database.transaction() as session:
                portal_queries.learn(session, gateway.account, made.configuration, now)
        return made.url

    choice = choose(database, gateway, business_id, setting, now - NEVER_SAVED_FOR)
    if choice.source is PortalSource.DASHBOARD:
        try:
            return open_on(None, choice.known)
        except NoDefaultConfiguration:
            _record_never_saved(database, gateway, now)
            choice = choose(database, gateway, business_id, setting)
    if choice.configuration_id is not None:
        try:
            return open_on(choice.configuration_id, choice.known)
        except PortalConfigurationMissing:
            # What ops have named is never replaced. Ours was removed, or the account is another one: find or make it, once.
            if choice.source is PortalSource.NAMED:
                raise
    configuration = ensure_configuration(database, gateway, choice.key, now=now)
    return open_on(configuration.id, configuration)


def _check(wanted: SessionRequest, public_url: str) -> None:
    """Raise InvalidRequest for what no session is made of."""
    if not wanted.stripe_customer_id:
        raise InvalidRequest("stripe_customer_id: expected Stripe's id of a customer")
    if wanted.flow is not None and wanted.flow not in FLOWS:
        raise InvalidRequest(f"flow: expected one of {', '.join(FLOWS)}, or none")
    check_return_url(wanted.return_url, public_url)


def _record_never_saved(database: Transactions, gateway: PaymentGateway, now: dt.datetime) -> None:
    with database.transaction() as session:
        portal_queries.record_configuration(
            session, gateway.account, DASHBOARD, gateway.livemode, portal_queries.NONE_SAVED, now
        )


def ensure_configuration(
    database: Transactions,
    gateway: PaymentGateway,
    key: str,
    *,
    policy: PortalPolicy | None = None,
    now: dt.datetime,
) -> PortalConfiguration:
    """Find our configuration at Stripe by its key, or the one that is recorded, or make it, and record it. Safe to call twice, or by two.

    With a `policy` an existing one is changed to follow it; without, it stays as it is, and a new one is
    conservative.
    """
    configuration = _ours(database, gateway, key)
    if configuration is None:
        configuration = gateway.create_configuration(key, policy or PortalPolicy())
    elif policy is not None and not configuration.follows(policy):
        configuration = gateway.update_configuration(configuration.id, policy)
    check_mode(configuration, gateway.livemode)
    with database.transaction() as session:
        portal_queries.record_configuration(
            session, gateway.account, key, gateway.livemode, configuration.id, now
        )
        portal_queries.learn(session, gateway.account, configuration, now)
    return configuration


def _ours(database: Transactions, gateway: PaymentGateway, key: str) -> PortalConfiguration | None:
    """What we have made, also where only our record tells that it was us; None: nothing, or it is not to be used any more."""
    found = gateway.find_configuration(key)
    if found is not None:
        return found
    with database.reading() as session:
        recorded = portal_queries.recorded_under(session, gateway.account, key, gateway.livemode)
    if recorded is None:
        return None
    try:
        found = gateway.configuration(recorded)
    except PortalConfigurationMissing:
        return None
    return found if found.active else None


def configuration_in_use(
    database: Transactions,
    gateway: PaymentGateway,
    business_id: str | None,
    setting: str | None,
) -> InUse:
    """The configuration that a business's customers get now, as Stripe holds it at this moment; changes nothing.

    Raises PortalConfigurationMissing when there is none yet, or it is of the other mode.
    """
    choice = choose(database, gateway, business_id, setting)
    source, dashboard = choice.source, None
    if source.dashboard_counts or source is PortalSource.KEPT:
        dashboard = gateway.default_configuration()
    if source.dashboard_counts and dashboard is not None:
        return InUse(PortalSource.DASHBOARD, dashboard)
    if source is PortalSource.DASHBOARD:
        source = PortalSource.NEVER_SAVED
    recorded = choice.configuration_id
    found = gateway.configuration(recorded) if recorded else _ours(database, gateway, choice.key)
    if found is None:
        raise PortalConfigurationMissing(f"no portal configuration {choice.key!r} yet")
    check_mode(found, gateway.livemode)
    return InUse(source, found, dashboard)


def check_mode(configuration: PortalConfiguration, livemode: bool) -> None:
    """Refuse a configuration of the other mode: sessions on it can't be made with our key."""
    if configuration.livemode != livemode:
        ours, theirs = ("live", "test") if livemode else ("test", "live")
        raise PortalConfigurationMissing(
            f"{configuration.id} is a {theirs} mode configuration, the key is a {ours} mode key"
        )


def customers_may(
    database: Transactions,
    gateway: PaymentGateway,
    *,
    business_id: str | None,
    setting: str | None,
    now: dt.datetime,
) -> CustomerRights:
    """What the configuration that this business's customers get lets them do.

    Answered from what is known; Stripe is asked only about a configuration of which nothing is known yet. While none of
    ours was made it is what a new one would allow, which is neither. Raises PortalConfigurationMissing when one is
    recorded that Stripe does not know, StripeUnavailable, StripeRefused.
    """
    choice = choose(database, gateway, business_id, setting)
    configuration = choice.known
    if configuration is None and choice.source is PortalSource.DASHBOARD:
        configuration = gateway.default_configuration()
        if configuration is None:
            _record_never_saved(database, gateway, now)
            choice = choose(database, gateway, business_id, setting)
            configuration = choice.known
    if configuration is None and choice.configuration_id is not None:
        configuration = gateway.configuration(choice.configuration_id)
    if configuration is None:
        policy = PortalPolicy()
        return CustomerRights(cancel=policy.cancel, pause=policy.pause)
    if configuration != choice.known:
        with database.transaction() as session:
            portal_queries.learn(session, gateway.account, configuration, now)
    return CustomerRights(
        cancel=configuration.allows("subscription_cancel"),
        pause=configuration.allows("subscription_pause"),
    )
