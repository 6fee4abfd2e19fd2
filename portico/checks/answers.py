"""`portico init`: looking at each answer at once, with what `portico doctor` asks of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from portico.checks import billing, broker, databases, notifier, portal
from portico.checks.settings import SERVICES, STAND_INS, load, settings_findings
from portico.cli.findings import Finding, Level, ask, finding, ok
from services.billing.adapters.stripe.account import StripeAccount
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.paying import is_live_key
from services.notifier.adapters.sendgrid.account import SendGridAccount
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import BillingError
from shared.settings import Secret, SettingsError, is_loopback

Check = Callable[[Mapping[str, str]], Iterator[Finding]]
"""Looks at one answer, among all that is known so far by setting's name."""

READS_AND_WRITES: Final = (
    "read: customers, invoices, subscriptions, payment methods, payment intents, prices, products, events; "
    "read and write: customer portal, webhook endpoints; write: subscriptions, invoices"
)
"""What a restricted key needs, as Stripe's dashboard calls it."""


def look(name: str, known: Mapping[str, str]) -> Iterator[Finding]:
    """What can be seen of a setting among all that are known so far: its form, and, where that is right, the world."""
    wrong = list(form(name, known)) or list(_beside(name, known))
    yield from wrong
    if not wrong and name in CHECKS and all(known.get(one) for one in NEEDS.get(name, ())):
        yield from CHECKS[name](known)


def form(name: str, known: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with the form of a setting, as the service that reads it would say at its start."""
    if name == "STRIPE_API_KEY" and is_live_key(known[name]) and _plays_stripe(known):
        names = [one for one in STAND_IN_BASES if known.get(one)]
        yield finding(
            "settings",
            "stripe-stand-in",
            f"a live key, but STRIPE_API_BASE ({known['STRIPE_API_BASE']}) is a stand-in for Stripe",
            f"take {', '.join(names)} out of the env file and the environment, then start again; or give a test key",
        )
        return
    settings, problems = _settings(_reader_of(name), known)
    for one in problems:
        if one.text.split()[1] == name:
            yield finding("settings", one.code, one.text.partition(": ")[2], one.remedy)
    if settings is not None and name in SERVER_URLS and _is_torn(name, settings):
        yield finding(
            "settings",
            "url",
            f"{name} can't be read as it is meant: a character of its password stands for something else, or its port is not a number",
            "in the password write # as %23, / as %2F, ? as %3F, @ as %40, : as %3A",
        )


def _plays_stripe(known: Mapping[str, str]) -> bool:
    base = known.get("STRIPE_API_BASE")
    try:
        return base is not None and (urlsplit(base).scheme == "http" or is_loopback(base))
    except ValueError:  # no URL at all, which is told by itself
        return False


def _is_torn(name: str, settings: Any) -> bool:
    """Whether what connects with this URL finds another server in it than the one that is meant, or none."""
    try:
        if name == "AMQP_URI":
            parts = urlsplit(settings.amqp_uri.reveal())
            return "@" in parts.path + parts.query + parts.fragment
        return "@" in (make_url(settings.database_url.reveal()).host or "")
    except (ValueError, ArgumentError):
        return True


def _beside(name: str, known: Mapping[str, str]) -> Iterator[Finding]:
    """Other settings, which nobody may be asked for, without which this one can't be looked at."""
    if name in CHECKS:
        for one in _settings(_reader_of(name), known)[1]:
            text = f"{name} can't be looked at: {one.text.partition(': ')[2]}"
            yield finding("settings", "settings-beside", text, one.remedy)


def public_url(known: Mapping[str, str]) -> Iterator[Finding]:
    """Whether customers' links would travel readable."""
    settings, _ = _settings("portal", known)
    for one in portal.check_links(settings):
        if one.level is not Level.OK:
            yield one


def stripe_key(known: Mapping[str, str]) -> Iterator[Finding]:
    """A key's account, mode and rights."""
    settings, _ = _settings("billing", known)
    key = settings.stripe_api_key.reveal()
    gateways = StripeGateways(key, settings.stripe_api_base, lambda account: Secret(key))
    account = StripeAccount(gateways.at(OWN))
    try:
        yield from billing.check_key(key, settings.stripe_api_base, settings.public_url, account)
        if (whose := account.account_id()) is not None:
            yield ok(billing.AREA, "stripe-account", f"the key belongs to {whose}")
        if key.startswith("rk_"):
            yield ask(
                billing.AREA,
                "stripe-writes",
                "what a restricted key may write can't be tried without writing",
                f"compare the key in Stripe's dashboard (Developers, API keys): {READS_AND_WRITES}",
            )
    except BillingError as error:
        yield billing.cannot_ask(error)
    finally:
        gateways.close()


def mode(known: Mapping[str, str]) -> Iterator[Finding]:
    """Whether it is meant, with the key."""
    if known["MODE"] == "live" and is_live_key(known["STRIPE_API_KEY"]):
        yield ask(
            "mode",
            "mode-live",
            "real customers are mailed and charged from the first start on",
            "`observe` takes everything in and decides, and neither mails nor charges, until you go live",
        )


def sendgrid_key(known: Mapping[str, str]) -> Iterator[Finding]:
    """Whether SendGrid takes it, and lets it send."""
    with closing(_mail_account(known)) as account:
        yield notifier.check_mail_key(account)


def sender(known: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the address may send."""
    settings, _ = _settings("notifier", known)
    with closing(_mail_account(known)) as account:
        yield notifier.check_sender(settings.mail_from, account)


def amqp_uri(known: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the broker lets the user in."""
    yield broker.check_login(_settings("portal", known)[0].amqp_uri.reveal())


def database(service: str) -> Check:
    """Whether a service's database answers, and is nobody else's. Its tables need not be there yet."""

    def check(known: Mapping[str, str]) -> Iterator[Finding]:
        url = _settings(service, known)[0].database_url.reveal()
        for other in SERVICES:
            name = f"{other.upper()}_DATABASE_URL"
            if other != service and known.get(name) == known[f"{service.upper()}_DATABASE_URL"]:
                yield finding(
                    f"database {service}",
                    "database-shared",
                    f"it is {name} as well: each service has its own tables of the same names",
                    "give each service a database of its own",
                )
                return
        for one in databases.check_database(service, url):
            if one.code == "database-behind":
                yield ok(one.area, "database", "answers; its tables are made by `migrate`")
            elif one.level is not Level.ASK:
                yield one

    return check


STAND_IN_BASES: Final = ("STRIPE_API_BASE", "SENDGRID_API_BASE", "PORTAL_SESSION_ORIGINS")
SERVER_URLS: Final = frozenset({"AMQP_URI", *(f"{one.upper()}_DATABASE_URL" for one in SERVICES)})

CHECKS: Final[Mapping[str, Check]] = {
    "PUBLIC_URL": public_url,
    "STRIPE_API_KEY": stripe_key,
    "MODE": mode,
    "SENDGRID_API_KEY": sendgrid_key,
    "MAIL_FROM": sender,
    "AMQP_URI": amqp_uri,
    **{f"{one.upper()}_DATABASE_URL": database(one) for one in SERVICES},
}

NEEDS: Final = {"MODE": ("STRIPE_API_KEY",), "MAIL_FROM": ("SENDGRID_API_KEY",)}
"""What else must be set for a look at the world. That it is not is told of itself."""


def _settings(service: str, known: Mapping[str, str]) -> tuple[Any, list[Finding]]:
    """A service's settings with stand-ins for what is not known yet; or None, and what is wrong."""
    try:
        return load(service, {**STAND_INS, **{name: one for name, one in known.items() if one}}), []
    except SettingsError as error:
        return None, list(settings_findings(service, error))


def _reader_of(name: str) -> str:
    for service in SERVICES:
        if name.startswith(service.upper()):
            return service
    if name.startswith("STRIPE_"):
        return "billing"
    return "notifier" if name.startswith(("SENDGRID_", "MAIL_")) else "portal"


def _mail_account(known: Mapping[str, str]) -> SendGridAccount:
    settings, _ = _settings("notifier", known)
    return SendGridAccount(settings.sendgrid_api_key.reveal(), settings.sendgrid_api_base)
