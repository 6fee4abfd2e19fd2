"""Telling Stripe about us: the Billing Portal configuration and the webhook endpoint, as code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from services.billing.adapters.stripe.account import StripeAccount
from services.billing.adapters.stripe.gateway import StripeGateway, StripeGateways
from services.billing.domain.accounts import ACCOUNT
from services.billing.domain.errors import InvalidRequest
from services.billing.domain.portal import (
    PortalPolicy,
    PortalSource,
    configuration_key,
    portal_settings_url,
)
from services.billing.settings import StripeSettings
from services.billing.stripe_events.translation import CONNECT_WANTED, WANTED
from services.billing.workflows import portal
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import PortalConfigurationMissing
from shared.database import Transactions, make_engine
from shared.settings import Secret, is_loopback


class BadSecretFile(Exception):
    """The file for the signing secret can't be made."""


@contextmanager
def stripe_and_database(
    settings: StripeSettings,
    account: Account = OWN,
    own_key: Callable[[Account], Secret | None] | None = None,
) -> Iterator[tuple[StripeGateway, Transactions]]:
    """Billing's gateway to the account of `settings`' key, and its database, for one command. `account`: which that is, where it is
    not the installation's own; with `own_key` the account is acted on as billing does, by its own key or in its name."""
    engine = make_engine(settings.database_url.reveal())
    key = settings.stripe_api_key
    gateways = StripeGateways(
        key.reveal(), settings.stripe_api_base, own_key or (lambda account: key)
    )
    try:
        yield gateways.at(account), Transactions(engine, "billing")
    finally:
        gateways.close()
        engine.dispose()


def configure_portal(
    settings: StripeSettings,
    business_id: str | None,
    policy: PortalPolicy | None,
    account: Account = OWN,
) -> portal.InUse:
    """Make Portico's configuration on an account, or a business's own, follow `policy`; with None only look. Raises BillingError, and
    InvalidRequest where customers would get another one all the same."""
    setting = settings.stripe_portal_configuration
    keys = settings.stripe_accounts_file.keys if settings.stripe_accounts_file else {}

    def own_key(named: Account) -> Secret | None:
        return keys[named].key if named in keys else None

    with stripe_and_database(settings, account, own_key) as (gateway, database):
        if policy is None:
            return portal.configuration_in_use(database, gateway, business_id, setting)
        key, source = configuration_key(business_id), PortalSource.BUSINESS
        if business_id is None:
            source = portal.choose(database, gateway, None, setting).source
            saved = gateway.default_configuration() if source.dashboard_counts else None
            if source is PortalSource.NAMED:
                raise InvalidRequest(
                    f"STRIPE_PORTAL_CONFIGURATION is set to {setting}: Portico does not change it. "
                    "Look at it with --show, or unset the variable."
                )
            if saved is not None:
                raise InvalidRequest(
                    f"customers get what is saved in Stripe's dashboard ({saved.id}): change it there, at "
                    f"{portal_settings_url(livemode=gateway.livemode)}, look at it with --show, or set "
                    "STRIPE_PORTAL_CONFIGURATION to portico."
                )
            if source is PortalSource.DASHBOARD:
                source = PortalSource.NEVER_SAVED
        now = utc_now()
        made = portal.ensure_configuration(database, gateway, key, policy=policy, now=now)
        return portal.InUse(source, made)


def problem_of_url(url: str) -> str | None:
    """Why Stripe can't deliver webhooks to this address, or billing not take them there; None where all is well."""
    try:
        parts = urlsplit(url)
        away = parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url))
    except ValueError:
        return "it is not a URL"
    if away or not parts.hostname:
        return "Stripe delivers to https:// only"
    if account_of(url) is None:
        return (
            "billing takes webhooks at …/webhooks/stripe, of connected accounts at …/webhooks/stripe/connect, and of an account with its "
            "own key at …/webhooks/stripe/acct_…"
        )
    return "an address for webhooks has neither ? nor #" if parts.query or parts.fragment else None


CONNECT: Final = "connect"
_PLACE: Final = re.compile(rf"/webhooks/stripe(?:/({CONNECT}|{ACCOUNT.pattern}))?$")


def account_of(url: str) -> str | None:
    """Whose webhooks an address takes: empty, the installation's own account's; `CONNECT`; or one account's, `acct_…`. None: it is
    none of ours."""
    found = _PLACE.search(urlsplit(url).path)
    return None if found is None else found.group(1) or ""


def set_up(settings: StripeSettings, url: str, secret_file: Path) -> dict[str, Any]:
    """The webhook endpoint for `url`, and a portal configuration. Raises BillingError, BadSecretFile. Where the address is that of an
    account with a key of its own, STRIPE_API_KEY is that key.

    The signing secret of a new endpoint goes into `secret_file` and nowhere else: Stripe tells it only once, and
    a terminal's scrollback is no place for it.
    """
    place = account_of(url) or ""
    connect = place == CONNECT
    wanted = sorted(CONNECT_WANTED if connect else WANTED)
    of = OWN if connect else Account(place)
    with stripe_and_database(settings, of) as (gateway, database):
        # First what may fail: the secret of an endpoint is told once, and whoever waits for it may wait for this command's success.
        try:
            used = portal.configuration_in_use(
                database, gateway, None, settings.stripe_portal_configuration
            )
        except PortalConfigurationMissing:
            if settings.names_portal_configuration:
                raise
            now = utc_now()
            portal.ensure_configuration(database, gateway, configuration_key(None), now=now)
            used = portal.configuration_in_use(
                database, gateway, None, settings.stripe_portal_configuration
            )
        written, problem = None, False
        account = StripeAccount(gateway)
        known = [one for one in account.webhook_endpoints() if one.url == url]
        if not known:
            _make_secret_file(secret_file)  # before the endpoint: a secret without a place is lost
            try:
                made, secret = account.create_webhook_endpoint(url, wanted, connect=connect)
            except BaseException:
                secret_file.unlink()
                raise
            secret_file.write_text(secret.reveal() + "\n")
            written, endpoint, what = str(secret_file), made, "made"
        else:
            endpoint, what = known[0], "as it should be"
            if not endpoint.hears(wanted) or not endpoint.enabled:
                # What others have added stays.
                account.update_webhook_endpoint(endpoint.id, sorted(endpoint.events | set(wanted)))
                what = "corrected: events and enabled"
            if endpoint.api_version != gateway.api_version:
                problem = True
                what += (
                    f"; but it is of API version {endpoint.api_version or '(the account default)'}, not "
                    f"{gateway.api_version}: Stripe can't change that. Make a second endpoint, then remove this one"
                )
    return {
        "accounts": place,
        "endpoint": endpoint.id,
        "what": what,
        "problem": problem,
        "events": wanted,
        "secret_file": written,
        "configuration": used.configuration.id,
        "configuration_why": used.source.why,
    }


def _make_secret_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise BadSecretFile(f"{path}: {error.strerror}") from None
