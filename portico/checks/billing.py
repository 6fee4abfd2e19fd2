"""billing's part of `portico doctor`: its settings and the Stripe account. Only looks, changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from portico.checks.endpoints import SETUP, EndpointAccount, check_endpoints
from portico.cli.findings import Finding, ask, finding, ok, unknown
from services.billing.domain.errors import (
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.portal import PortalConfiguration, PortalSource, portal_settings_url
from services.billing.settings import STRIPE_API, Settings
from services.billing.workflows.portal import InUse
from shared.contracts.rpc.errors import BillingError, StripeUnavailable
from shared.settings import is_loopback

AREA: Final = "stripe"
CLOCK: Final = dt.timedelta(seconds=30)
"""A clock further off than this rejects webhooks before long: their signatures are good for five minutes."""
DAYS: Final = 7
"""How far back the events that came are looked at."""


class KeyedAccount(Protocol):
    """The Stripe account, as far as its key is looked at."""

    livemode: bool

    def lacking_rights(self) -> list[str]: ...


class Account(KeyedAccount, EndpointAccount, Protocol):
    """The Stripe account, as far as the checks read it."""

    def now(self) -> dt.datetime: ...


def check_stripe(
    settings: Settings,
    account: Account,
    configuration: Callable[[], InUse],
    delivered: Callable[[], Mapping[str, int]],
    now: Callable[[], dt.datetime],
    *,
    webhook_url: str | None = None,
    may_cancel: bool = False,
    refusals: Callable[[], Mapping[str, int]] = dict,
) -> Iterator[Finding]:
    """Everything that can be seen of Stripe. `configuration` looks the portal configuration up, or raises BillingError;
    `delivered` counts the events of the last days by `queries.delivered_kinds`.

    `webhook_url` is where Stripe should deliver; without it any endpoint with our path will do. `may_cancel`: that
    customers can cancel or pause by themselves is meant. `refusals` counts by account the subscriptions that Stripe did not let us change.
    """
    try:
        yield from check_key(
            settings.stripe_api_key.reveal(), settings.stripe_api_base, settings.public_url, account
        )
        yield _clock(account, now)
        yield from check_endpoints(settings, account, webhook_url)
        yield from _deliveries(delivered())
        yield from _portal(configuration, may_cancel=may_cancel)
    except BillingError as error:
        yield cannot_ask(error)
    yield from _not_ours(refusals())
    # A stand-in has no dashboard to look in, and mails nobody.
    if settings.stripe_api_base == STRIPE_API:
        yield from _own_mails()


MOST_NAMED: Final = 20
"""How many accounts are named one by one."""


def _not_ours(refusals: Mapping[str, int]) -> Iterator[Finding]:
    """Whose subscriptions Stripe did not let us change as their platform: with a key of their own we could."""
    for account, number in list(refusals.items())[:MOST_NAMED]:
        yield ask(
            AREA,
            f"platform-may-not-{account}",
            f"{account}: Stripe did not let us change {number:,} of its subscriptions, which the platform did not make; the business "
            "was asked to do it in its dashboard",
            "with a key of the account's own all of it works (docs/operations.md, What a platform may not change)",
        )
    if len(refusals) > MOST_NAMED:
        left = len(refusals) - MOST_NAMED
        yield ask(
            AREA,
            "platform-may-not",
            f"{left:,} more accounts have subscriptions that the platform may not change",
            "those above have the most of them",
        )


SETTINGS: Final = "https://dashboard.stripe.com/settings/billing/automatic"
PLACE: Final = "Settings, Billing, Subscriptions and emails"
OWN_MAILS: Final = (
    # name, what Stripe writes about, where it is switched, whether Portico writes about it today
    ("failed", "failed payments", "Manage failed payments: when card payments fail", True),
    (
        "reminders",
        "invoices that stay unpaid",
        "Manage invoices sent to customers: reminders",
        True,
    ),
    (
        "3d-secure",
        "payments that the bank wants confirmed",
        "Manage payments that require confirmation: a link to confirm",
        True,
    ),
    (
        "finalised",
        "each new invoice",
        "Manage invoices sent to customers: finalized invoices",
        False,
    ),
    ("expiring-card", "expiring cards", "Prevent failed payments: expiring cards", False),
    ("upcoming", "coming renewals", "Prevent failed payments: upcoming renewals", False),
)
"""Each email that Stripe can send about what Portico cares for. No API tells which are on, so a person has to look.
https://docs.stripe.com/invoicing/send-email"""


def _own_mails() -> Iterator[Finding]:
    for name, about, switch, doubles in OWN_MAILS:
        remedy = (
            "switch it off, or customers get two emails about one thing"
            if doubles
            else "Portico sends none about it, so leave it on if you want it"
        )
        yield ask(
            AREA,
            f"stripe-mail-{name}",
            f"Stripe may send emails of its own about {about}; no API tells",
            f"{PLACE} ({SETTINGS}), {switch}: {remedy}; then say `portico doctor --looked stripe-mail-{name}`",
        )


def cannot_ask(error: BillingError) -> Finding:
    """Why Stripe can't be asked, and what a person does about each: the key, the account, the limit, or Stripe itself."""
    text = f"Stripe can't be asked: {error}"
    if isinstance(error, StripePermissionMissing):
        return finding(
            AREA,
            "stripe-rights",
            text,
            "give the restricted key the right in Stripe's dashboard (Developers, API keys)",
        )
    if isinstance(error, StripeKeyRefused):
        return finding(
            AREA,
            "stripe-key",
            f"Stripe does not take our key, it may be expired or revoked, or its account closed: {error}",
            "make a new key in Stripe's dashboard (Developers, API keys), set STRIPE_API_KEY and restart billing: what waits goes "
            "on by itself",
        )
    if isinstance(error, StripeRateLimited):
        return unknown(
            AREA,
            "stripe-rate-limit",
            f"Stripe answers, but asks for fewer requests: {error}",
            "lower STRIPE_LOOK_RATE, look for what else works with this account's keys, then run this again",
        )
    if isinstance(error, StripeUnavailable):
        return unknown(
            AREA,
            "stripe-unreachable",
            text,
            "look at STRIPE_API_BASE, the network and status.stripe.com, then run this again",
        )
    return finding(
        AREA,
        "stripe-refuses",
        text,
        "the key is taken, the question is not: compare Portico's release with the account's API version",
    )


def check_key(key: str, api_base: str, public_url: str, account: KeyedAccount) -> Iterator[Finding]:
    """The mode of a key, what it may read, and whether customers' way here is fit for it. Raises BillingError."""
    mode = "live" if account.livemode else "test"
    restricted = key.startswith("rk_")
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
    local = is_loopback(public_url)
    if api_base == STRIPE_API and not account.livemode and not local:
        yield ask(
            AREA,
            "stripe-mode",
            f"a test mode key, though PUBLIC_URL is {public_url}",
            "fine for staging; in production set a live key",
        )
    if account.livemode and urlsplit(public_url).scheme != "https":
        yield finding(
            AREA,
            "stripe-live-http",
            "a live key, but customers reach the portal without TLS: their links can be read on the way",
            "set PUBLIC_URL to an https:// address",
        )
    if api_base != STRIPE_API and not is_loopback(api_base):
        yield finding(
            AREA,
            "stripe-base",
            f"STRIPE_API_BASE is {api_base}: neither Stripe nor a stand-in on this machine",
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


def _deliveries(kinds: Mapping[str, int]) -> Iterator[Finding]:
    """What the events of the last days say about the endpoints' kind, which no API tells."""
    if kinds["thin"]:
        yield finding(
            AREA,
            "webhook-thin",
            f"{kinds['thin']:,} thin events came in the last {DAYS} days: they hold nothing of what happened, so failed payments "
            "are read from Stripe's log, minutes later",
            "in Stripe's dashboard (Workbench, Webhooks) make the destination again with the payload style Snapshot, or "
            f"{SETUP}; then remove the thin one",
        )
    if kinds["connected"]:
        only = not kinds["own"]
        yield (finding if only else ask)(
            AREA,
            "webhook-connected",
            f"{kinds['connected']:,} events of accounts that are not served came in the last {DAYS} days"
            + (
                ", and none of this account"
                if only
                else "; Portico acts on none of them while they are not"
            ),
            "the endpoint listens to connected accounts: "
            + (
                f"for this account's own, {SETUP}"
                if only
                else "connect them, or remove it unless it is meant"
            ),
        )


def _portal(configuration: Callable[[], InUse], *, may_cancel: bool) -> Iterator[Finding]:
    try:
        found = configuration()
    except (StripeUnavailable, StripeKeyRefused):
        raise
    except BillingError as error:
        yield finding(
            AREA,
            "portal-configuration",
            f"there is no Billing Portal configuration for this mode: {error}",
            "run `portico stripe portal-config`",
        )
        return
    used, source = found.configuration, found.source
    remedy = _change(source, used)
    if source is PortalSource.KEPT:
        yield _kept(used, found.dashboard)
    if not used.active:
        yield finding(
            AREA,
            "portal-inactive",
            f"the Billing Portal configuration {used.id} is switched off: every click would fail",
            remedy,
        )
    if not used.allows("payment_method_update"):
        yield finding(
            AREA,
            "portal-no-card",
            f"customers can't update their card with the configuration {used.id}: links that lead straight there open Stripe's "
            "first page, and the button leads nowhere",
            remedy,
        )
    loose = [name for name in ("subscription_cancel", "subscription_pause") if used.allows(name)]
    if loose and not may_cancel:
        # What is saved in the dashboard is the business's own choice; still, Stripe's form has cancelling on at first.
        yield (ask if source is PortalSource.DASHBOARD else finding)(
            AREA,
            "portal-cancels",
            f"customers can cancel or pause without the business ({', '.join(loose)} of {used.id}): {source.why}",
            f"{remedy}; if it is meant, say `portico doctor --may-cancel`",
        )
    if used.login_page:
        yield finding(
            AREA,
            "portal-login",
            f"the configuration {used.id} has a login page at Stripe: whoever reads a customer's mail gets in there",
            remedy,
        )
    if used.active and used.allows("payment_method_update") and not (loose and not may_cancel):
        may = ", ".join(words for words, allowed in used.describe() if allowed)
        yield ok(
            AREA,
            "portal-configuration",
            f"on Stripe's page customers may {may}; nothing else ({used.id}: {source.why})",
        )


def _change(source: PortalSource, used: PortalConfiguration) -> str:
    """How the configuration that customers get is changed."""
    if source is PortalSource.DASHBOARD:
        return f"change it at {portal_settings_url(livemode=used.livemode)}"
    if source is PortalSource.NAMED:
        return f"change {used.id} with Stripe's API, or name another in STRIPE_PORTAL_CONFIGURATION"
    return "run `portico stripe portal-config`"


def _kept(used: PortalConfiguration, saved: PortalConfiguration | None) -> Finding:
    """Nobody has said yet whether the dashboard's counts: what would a switch change?"""
    place = portal_settings_url(livemode=used.livemode)
    if saved is None:
        there = "nothing is saved there"
    else:
        now = dict(used.describe())
        more = [words for words, may in saved.describe() if may and not now.get(words)]
        less = [words for words, may in saved.describe() if not may and now.get(words)]
        told = [f"may also {', '.join(more)}"] * bool(more)
        told += [f"may not {', '.join(less)}"] * bool(less)
        there = f"there they {' and '.join(told) or 'may do the same'}"
    return ask(
        AREA,
        "portal-kept",
        "customers still get Portico's own portal configuration, as before Portico followed Stripe's dashboard: what is "
        f"chosen in the dashboard has no effect ({there})",
        f"to switch, look at {place}, then set STRIPE_PORTAL_CONFIGURATION to dashboard; to stay, set it to portico",
    )
