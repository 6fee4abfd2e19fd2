"""Telling Stripe about us: the Billing Portal configuration and the webhook endpoint, as code."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.billing.domain import (
    InvalidRequest,
    PortalConfiguration,
    PortalPolicy,
    configuration_key,
)
from services.billing.handlers import portal
from services.billing.settings import Settings
from services.billing.stripe_account import StripeAccount
from services.billing.stripe_gateway import StripeGateway
from services.billing.translation import ROUTES
from shared.database import Transactions, make_engine
from shared.settings import is_loopback


class BadSecretFile(Exception):
    """The file for the signing secret can't be made."""


@contextmanager
def stripe_and_database(settings: Settings) -> Iterator[tuple[StripeGateway, Transactions]]:
    """Billing's gateway and database, for one command."""
    engine = make_engine(settings.database_url.reveal())
    gateway = StripeGateway(settings.stripe_api_key.reveal(), settings.stripe_api_base)
    try:
        yield gateway, Transactions(engine)
    finally:
        gateway.close()
        engine.dispose()


def configure_portal(
    settings: Settings, key: str, policy: PortalPolicy | None
) -> PortalConfiguration:
    """Make the configuration follow `policy`, or with None only look. Raises BillingError."""
    fixed = settings.stripe_portal_configuration
    if policy is not None and fixed is not None:
        raise InvalidRequest(
            f"STRIPE_PORTAL_CONFIGURATION is set to {fixed}: Portico does not change it. "
            "Look at it with --show, or unset the variable."
        )
    with stripe_and_database(settings) as (gateway, database):
        if policy is None:
            return portal.look_up_configuration(database, gateway, key, fixed)
        now = dt.datetime.now(dt.UTC)
        return portal.ensure_configuration(database, gateway, key, policy=policy, now=now)


def set_up(settings: Settings, url: str, secret_file: Path) -> dict[str, Any]:
    """The webhook endpoint for `url`, and a portal configuration. Raises BillingError, BadSecretFile.

    The signing secret of a new endpoint goes into `secret_file` and nowhere else: Stripe tells it only once, and
    a terminal's scrollback is no place for it.
    """
    if not url.startswith("https://") and not is_loopback(url):
        raise InvalidRequest("--url: Stripe delivers to https:// only")
    if not url.endswith("/webhooks/stripe"):
        raise InvalidRequest("--url: billing takes webhooks at …/webhooks/stripe")
    wanted = sorted(ROUTES)
    with stripe_and_database(settings) as (gateway, database):
        written, problem = None, False
        account = StripeAccount(gateway)
        known = [one for one in account.webhook_endpoints() if one.url == url]
        if not known:
            _make_secret_file(secret_file)  # before the endpoint: a secret without a place is lost
            try:
                made, secret = account.create_webhook_endpoint(url, wanted)
            except BaseException:
                secret_file.unlink()
                raise
            secret_file.write_text(secret.reveal() + "\n")
            written, endpoint, what = str(secret_file), made, "made"
        else:
            endpoint, what = known[0], "as it should be"
            if not endpoint.hears(wanted) or not endpoint.enabled:
                account.update_webhook_endpoint(endpoint.id, wanted)
                what = "mended: events and enabled"
            if endpoint.api_version != gateway.api_version:
                problem = True
                what += (
                    f"; but it is of API version {endpoint.api_version or '(the account default)'}, not "
                    f"{gateway.api_version}: Stripe can't change that. Make a second endpoint, then remove this one"
                )
        if settings.stripe_portal_configuration is not None:
            configuration = settings.stripe_portal_configuration
        else:
            now = dt.datetime.now(dt.UTC)
            configuration = portal.ensure_configuration(
                database, gateway, configuration_key(None), now=now
            ).id
    return {
        "endpoint": endpoint.id,
        "what": what,
        "problem": problem,
        "events": wanted,
        "secret_file": written,
        "configuration": configuration,
    }


def _make_secret_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise BadSecretFile(f"{path}: {error.strerror}") from None
