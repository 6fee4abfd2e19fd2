"""billing's part of `portico doctor`: its settings and the Stripe account. Only looks, changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final, Protocol
from urllib.parse import urlsplit

from services.billing.domain import BillingError, PortalConfiguration, StripeUnavailable
from services.billing.settings import STRIPE_API, Settings
from services.billing.stripe_account import WebhookEndpoint
from services.billing.translation import ROUTES
from shared.cli.findings import Finding, ask, finding, ok, unknown
from shared.settings import is_loopback

AREA: Final = "stripe"
CLOCK: Final = dt.timedelta(seconds=30)
"""A clock further off than this rejects webhooks before long: their signatures are good for five minutes."""
MOST_SECRETS: Final = 2
"""The current secret and, while it is being replaced, the one before."""
PATH: Final = "/webhooks/stripe"
SETUP: Final = "run `portico stripe setup --url https://…/webhooks/stripe --secret-file FILE`"


class Account(Protocol):
    """The Stripe account, as far as the checks read it."""

    api_version: str
    livemode: bool

    def webhook_endpoints(self) -> list[WebhookEndpoint]: ...
    def lacking_rights(self) -> list[str]: ...
    def now(self) -> dt.datetime: ...


def check_stripe(
    settings: Settings,
    account: Account,
    configuration: Callable[[], PortalConfiguration],
    now: Callable[[], dt.datetime],
    *,
    webhook_url: str | None = None,
    may_cancel: bool = False,
) -> Iterator[Finding]:
    """Everything that can be seen of Stripe. `configuration` looks the portal configuration up, or raises BillingError.

    `webhook_url` is where Stripe should deliver; without it any endpoint with our path will do. `may_cancel`: that
    customers can cancel or pause by themselves is meant.
    """
    try:
        yield from _key(settings, account)
        yield _clock(account, now)
        yield from _endpoint(settings, account, webhook_url)
        yield from _portal(configuration, may_cancel=may_cancel)
    except BillingError as error:
        down = isinstance(error, StripeUnavailable)
        yield (unknown if down else finding)(
            AREA,
            "stripe-unreachable" if down else "stripe-refuses",
            f"Stripe can't be asked: {error}",
            "look at STRIPE_API_BASE, the network and status.stripe.com, then run this again"
            if down
            else "make a new key in Stripe's dashboard and set STRIPE_API_KEY",
        )
    yield ask(
        AREA,
        "stripe-own-mails",
        "Stripe may mail customers about failed payments itself; no API tells",
        "look in Stripe's dashboard: Settings, Billing, Subscriptions and emails: mails about failed payments must be off, "
        "or customers get two for each failure",
    )


def _key(settings: Settings, account: Account) -> Iterator[Finding]:
    mode = "live" if account.livemode else "test"
    restricted = settings.stripe_api_key.reveal().startswith("rk_")
    lacking = account.lacking_rights()
    if lacking:
        yield finding(
            AREA,
            "stripe-rights",
            f"the restricted key may not read: {', '.join(lacking)}",
            "give the key these rights in Stripe's dashboard (Developers, API keys)",
        )
    else:
        kind = "restricted key" if restricted else "secret key"
        yield ok(
            AREA, "stripe-rights", f"a {mode} mode {kind} with the rights to read what is needed"
        )
    local = is_loopback(settings.public_url)
    if settings.stripe_api_base == STRIPE_API and not account.livemode and not local:
        yield ask(
            AREA,
            "stripe-mode",
            f"a test mode key, though PUBLIC_URL is {settings.public_url}",
            "fine for staging; in production set a live key",
        )
    if account.livemode and urlsplit(settings.public_url).scheme != "https":
        yield finding(
            AREA,
            "stripe-live-http",
            "a live key, but customers reach the portal without TLS: their links can be read on the way",
            "set PUBLIC_URL to an https:// address",
        )
    if settings.stripe_api_base != STRIPE_API and not is_loopback(settings.stripe_api_base):
        yield finding(
            AREA,
            "stripe-base",
            f"STRIPE_API_BASE is {settings.stripe_api_base}: neither Stripe nor a stand-in on this machine",
            "unset STRIPE_API_BASE",
        )


def _clock(account: Account, now: Callable[[], dt.datetime]) -> Finding:
    off = now() - account.now()
    if abs(off) > CLOCK:
        ahead = "ahead of" if off > dt.timedelta() else "behind"
        return finding(
            "clock",
            "clock-off",
            f"this machine's clock is {abs(off).total_seconds():.0f} s {ahead} Stripe's: signed webhooks will be refused",
            "let NTP set the clocks of all machines",
        )
    return ok("clock", "clock", "this machine's clock agrees with Stripe's")


def _endpoint(settings: Settings, account: Account, url: str | None) -> Iterator[Finding]:
    endpoints = account.webhook_endpoints()
    ours = [one for one in endpoints if (one.url == url if url else urlsplit(one.url).path == PATH)]
    if not ours:
        there = ", ".join(one.url for one in endpoints[:3]) or "none at all"
        yield finding(
            AREA,
            "webhook-missing",
            f"no webhook endpoint leads to {url or '…' + PATH}; there is: {there}",
            SETUP,
        )
        return
    enabled = [one for one in ours if one.enabled]
    if not enabled:
        yield finding(
            AREA,
            "webhook-disabled",
            f"the webhook endpoint {ours[0].id} is switched off: nothing is heard of failed payments",
            f"{SETUP}, which switches it on; then `portico reconcile --since 30d` for what was missed",
        )
        return
    wanted = sorted(ROUTES)
    missing = min((one.missing(wanted) for one in enabled), key=len)
    if missing:
        yield finding(
            AREA,
            "webhook-events",
            f"the webhook endpoint does not deliver {', '.join(missing)}",
            f"{SETUP}: it adds them",
        )
    version = next(
        (one.api_version for one in enabled if one.api_version != account.api_version), ""
    )
    if version != "":
        yield finding(
            AREA,
            "webhook-version",
            f"the webhook endpoint is of API version {version or '(the account default, which somebody can change)'}, "
            f"Portico speaks {account.api_version}",
            "make a second endpoint of that version with `portico stripe setup`, add its secret to STRIPE_WEBHOOK_SECRETS, "
            "then remove the old one",
        )
    secrets = len(settings.stripe_webhook_secrets)
    if secrets < len(enabled):
        yield finding(
            AREA,
            "webhook-secrets",
            f"{len(enabled)} endpoints deliver here, but STRIPE_WEBHOOK_SECRETS holds {secrets}: each has its own",
            "add the others' secrets, or remove endpoints",
        )
    elif secrets > max(MOST_SECRETS, len(enabled) + 1):
        yield finding(
            AREA,
            "webhook-secrets",
            f"STRIPE_WEBHOOK_SECRETS holds {secrets} secrets for {len(enabled)} endpoints: old ones still open the door",
            "remove those that no endpoint uses any more",
        )
    if len({secret.reveal() for secret in settings.stripe_webhook_secrets}) < secrets:
        yield finding(
            AREA,
            "webhook-secrets-double",
            "STRIPE_WEBHOOK_SECRETS holds the same secret twice",
            "remove one of them; was another one meant?",
        )
    if not missing and version == "":
        yield ok(
            AREA,
            "webhook",
            f"webhook endpoint {enabled[0].id}: events, version and switch are right",
        )


def _portal(
    configuration: Callable[[], PortalConfiguration], *, may_cancel: bool
) -> Iterator[Finding]:
    try:
        found = configuration()
    except StripeUnavailable:
        raise
    except BillingError as error:
        yield finding(
            AREA,
            "portal-configuration",
            f"there is no Billing Portal configuration for this mode: {error}",
            "run `portico stripe portal-config`",
        )
        return
    if not found.active:
        yield finding(
            AREA,
            "portal-inactive",
            f"the Billing Portal configuration {found.id} is switched off: every click would fail",
            "switch it on in Stripe's dashboard, or run `portico stripe portal-config`",
        )
    if not found.allows("payment_method_update"):
        yield finding(
            AREA,
            "portal-no-card",
            f"customers can't update their card with the configuration {found.id}: the button leads nowhere",
            "run `portico stripe portal-config`",
        )
    loose = [name for name in ("subscription_cancel", "subscription_pause") if found.allows(name)]
    if loose and not may_cancel:
        yield finding(
            AREA,
            "portal-cancels",
            f"customers can cancel or pause without the business ({', '.join(loose)} of {found.id})",
            "run `portico stripe portal-config`; if it is meant, say `portico doctor --may-cancel`",
        )
    if found.login_page:
        yield finding(
            AREA,
            "portal-login",
            f"the configuration {found.id} has a login page at Stripe: whoever reads a customer's mail gets in there",
            "run `portico stripe portal-config`",
        )
    if found.active and found.allows("payment_method_update") and not (loose and not may_cancel):
        yield ok(
            AREA,
            "portal-configuration",
            f"Billing Portal configuration {found.id} is as it should be",
        )
