"""The click: a fresh session on Stripe's page, on a configuration that we chose."""

from __future__ import annotations

import datetime as dt

from services.billing import queries
from services.billing.domain import (
    FLOWS,
    InvalidRequest,
    PortalConfiguration,
    PortalConfigurationMissing,
    PortalPolicy,
    check_return_url,
    configuration_key,
    portal_locale,
)
from services.billing.ports import PaymentGateway
from shared.database import Transactions


def create_portal_session(
    database: Transactions,
    gateway: PaymentGateway,
    *,
    stripe_customer_id: str,
    return_url: str,
    flow: str | None,
    locale: str | None,
    business_id: str | None,
    fixed_configuration: str | None,
    public_url: str,
    now: dt.datetime,
) -> str:
    """The URL of a fresh session. Short-lived and secret: it is returned, and kept nowhere.

    `fixed_configuration` (STRIPE_PORTAL_CONFIGURATION) wins over what is recorded. Always an explicit
    configuration: the account's default can be edited in Stripe's dashboard, and may allow cancelling.

    Raises InvalidRequest, UnknownStripeCustomer, PortalConfigurationMissing, StripeUnavailable, StripeRefused.
    """
    if not stripe_customer_id:
        raise InvalidRequest("stripe_customer_id: expected Stripe's id of a customer")
    if flow is not None and flow not in FLOWS:
        raise InvalidRequest(f"flow: expected one of {', '.join(FLOWS)}, or none")
    check_return_url(return_url, public_url)

    def open_with(configuration: str) -> str:
        return gateway.create_portal_session(
            stripe_customer_id, configuration, return_url, flow, portal_locale(locale)
        )

    if fixed_configuration is not None:
        return open_with(fixed_configuration)
    key, recorded = _recorded(database, gateway.livemode, business_id)
    if recorded is not None:
        try:
            return open_with(recorded)
        except PortalConfigurationMissing:
            # Switched to another Stripe account, or removed there: find or make ours, once.
            with database.transaction() as session:
                queries.forget_configuration(session, key, gateway.livemode, recorded)
    return open_with(ensure_configuration(database, gateway, configuration_key(None), now=now).id)


def _recorded(
    database: Transactions, livemode: bool, business_id: str | None
) -> tuple[str, str | None]:
    """The key and id of the configuration to use: the business's own when it has one, else the default."""
    with database.reading() as session:
        if business_id:
            key = configuration_key(business_id)
            own = queries.stored_configuration(session, key, livemode)
            if own is not None:
                return key, own
        key = configuration_key(None)
        return key, queries.stored_configuration(session, key, livemode)


def ensure_configuration(
    database: Transactions,
    gateway: PaymentGateway,
    key: str,
    *,
    policy: PortalPolicy | None = None,
    now: dt.datetime,
) -> PortalConfiguration:
    """Find our configuration at Stripe by its key, or make it, and record it. Safe to call twice, or by two.

    With a `policy` an existing one is changed to follow it; without, it stays as it is, and a new one is
    conservative.
    """
    configuration = gateway.find_configuration(key)
    if configuration is None:
        configuration = gateway.create_configuration(key, policy or PortalPolicy())
    elif policy is not None and not configuration.follows(policy):
        configuration = gateway.update_configuration(configuration.id, policy)
    check_mode(configuration, gateway.livemode)
    with database.transaction() as session:
        queries.record_configuration(session, key, gateway.livemode, configuration.id, now)
    return configuration


def look_up_configuration(
    database: Transactions, gateway: PaymentGateway, key: str, fixed_configuration: str | None
) -> PortalConfiguration:
    """The configuration that sessions use now; changes nothing.

    Raises PortalConfigurationMissing when there is none yet, or it is of the other mode.
    """
    recorded = fixed_configuration
    if recorded is None:
        with database.reading() as session:
            recorded = queries.stored_configuration(session, key, gateway.livemode)
    if recorded is not None:
        configuration: PortalConfiguration | None = gateway.configuration(recorded)
    else:
        configuration = gateway.find_configuration(key)
    if configuration is None:
        raise PortalConfigurationMissing(f"no portal configuration {key!r} yet")
    check_mode(configuration, gateway.livemode)
    return configuration


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
    fixed_configuration: str | None,
) -> dict[str, bool]:
    """What the configuration that this business's customers get lets them do: `{"cancel", "pause"}`.

    Before the first session there is none yet: then what a new one would allow, which is neither. Raises
    PortalConfigurationMissing when one is recorded that Stripe does not know, StripeUnavailable, StripeRefused.
    """
    recorded = fixed_configuration
    if recorded is None:
        _, recorded = _recorded(database, gateway.livemode, business_id)
    configuration = (
        gateway.find_configuration(configuration_key(None))
        if recorded is None
        else gateway.configuration(recorded)
    )
    if configuration is None:
        policy = PortalPolicy()
        return {"cancel": policy.cancel, "pause": policy.pause}
    return {
        "cancel": configuration.allows("subscription_cancel"),
        "pause": configuration.allows("subscription_pause"),
    }
