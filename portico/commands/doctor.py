"""`portico doctor`: everything that can be wrong around Portico and can be seen from here, with what to do about it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from portico.checks.modes import check_settings, look_at_businesses
from portico.checks.settings import SERVICES, STAND_INS, load, settings_findings, settings_together
from portico.cli.context import FINDING, OK, UNAVAILABLE, USAGE, Stop, context_of
from portico.cli.findings import Finding, Level, ok, tell, unknown
from portico.cli.options import OnlyJson
from portico.cli.output import console, print_json
from shared.clock import utc_now
from shared.settings import SettingsError


def _look_at_stripe(settings: Any, **wishes: Any) -> Iterator[Finding]:
    from sqlalchemy.exc import SQLAlchemyError

    from portico.checks.billing import DAYS, check_stripe
    from portico.stripe_setup import stripe_and_database
    from services.billing.adapters.stripe.account import StripeAccount
    from services.billing.queries import inbox as queries
    from services.billing.queries import platform_refusals
    from services.billing.workflows import portal
    from shared.database import DatabaseUnavailable

    now = utc_now()
    setting = settings.stripe_portal_configuration
    with stripe_and_database(settings) as (gateway, database):

        def delivered() -> dict[str, int]:
            with database.reading() as session:
                return queries.delivered_kinds(session, now - dt.timedelta(days=DAYS))

        def refusals() -> dict[str, int]:
            with database.reading() as session:
                counted = platform_refusals.refusals_by_account(session)
            return {str(account): number for account, number in counted.items()}

        try:
            yield from check_stripe(
                settings,
                StripeAccount(gateway),
                lambda: portal.configuration_in_use(database, gateway, None, setting),
                delivered,
                utc_now,
                refusals=refusals,
                **wishes,
            )
        except (SQLAlchemyError, DatabaseUnavailable):
            return  # away, or behind: the look at the database has told


def _look_at_accounts(billing: Any, portal: Any | None, account: str | None) -> Iterator[Finding]:
    from portico.checks.account_probes import look_at_accounts

    return look_at_accounts(billing, portal, account)


def _look_at_sendgrid(settings: Any) -> Iterator[Finding]:
    from portico.checks.notifier import check_sendgrid
    from services.notifier.adapters.sendgrid.account import SendGridAccount

    key, base = settings.sendgrid_api_key.reveal(), settings.sendgrid_api_base
    with closing(SendGridAccount(key, base)) as account:
        yield from check_sendgrid(settings, account)


def _look_at_senders(portal: Any, notifier: Any) -> Iterator[Finding]:
    from portico.checks.databases import opened
    from portico.checks.notifier import check_senders
    from services.notifier.adapters.sendgrid.account import SendGridAccount
    from services.portal.queries.customers import sender_addresses

    key, base = notifier.sendgrid_api_key.reveal(), notifier.sendgrid_api_base
    with opened(portal) as database, closing(SendGridAccount(key, base)) as account:
        with database.reading() as session:
            addresses = sender_addresses(session)
        yield from check_senders(addresses, account)


def _look_at_hooks(settings: Any) -> Iterator[Finding]:
    from portico.checks.databases import opened
    from portico.checks.notifier import check_hooks

    with opened(settings) as database:
        yield from check_hooks(settings, database)


def _look_at_links(settings: Any) -> Iterator[Finding]:
    from portico.checks.portal import check_links

    yield from check_links(settings)


def _look_at_whose(settings: Any) -> Iterator[Finding]:
    from portico.checks.databases import opened
    from portico.checks.portal import check_whose

    with opened(settings, "portal") as database:
        yield from check_whose(database)


def _look_at_broker(uri: str, services: Collection[str]) -> Iterator[Finding]:
    from portico.checks.broker import check_broker

    yield from check_broker(uri, services)


def _look_at_database(service: str, url: str) -> Iterator[Finding]:
    from portico.checks.databases import check_database

    yield from check_database(service, url)


@dataclass(frozen=True)
class Probes:
    """How each part of the world is looked at; tests bring their own."""

    stripe: Callable[..., Iterable[Finding]] = _look_at_stripe
    accounts: Callable[[Any, Any | None, str | None], Iterable[Finding]] = _look_at_accounts
    sendgrid: Callable[[Any], Iterable[Finding]] = _look_at_sendgrid
    senders: Callable[[Any, Any], Iterable[Finding]] = _look_at_senders
    hooks: Callable[[Any], Iterable[Finding]] = _look_at_hooks
    links: Callable[[Any], Iterable[Finding]] = _look_at_links
    whose: Callable[[Any], Iterable[Finding]] = _look_at_whose
    modes: Callable[[Any], Iterable[Finding]] = look_at_businesses
    broker: Callable[[str, Collection[str]], Iterable[Finding]] = _look_at_broker
    database: Callable[[str, str], Iterable[Finding]] = _look_at_database
    load: Callable[[str, Mapping[str, str]], Any] = field(default=load)


def examine(
    environ: Mapping[str, str],
    services: Iterable[str] = SERVICES,
    probes: Probes | None = None,
    *,
    webhook_url: str | None = None,
    may_cancel: bool = False,
    looked: Collection[str] = (),
    account: str | None = None,
) -> Iterator[Finding]:
    """Every finding, as it is found; what is well too. `looked` are the codes of what a person has looked at; `account` picks one of
    those with keys of their own."""
    for one in _examine(
        environ,
        services,
        probes,
        webhook_url=webhook_url,
        may_cancel=may_cancel,
        account=account,
    ):
        if one.level is Level.ASK and one.code in looked:
            yield ok(one.area, one.code, f"you have looked: {one.text}")
        else:
            yield one


def _examine(  # noqa: C901  (one check after another, each where what it needs is known)
    environ: Mapping[str, str],
    services: Iterable[str],
    probes: Probes | None,
    *,
    webhook_url: str | None,
    may_cancel: bool,
    account: str | None,
) -> Iterator[Finding]:
    probes = probes or Probes()
    loaded: dict[str, Any] = {}
    wrong: set[str] = set()
    for service in services:
        try:
            loaded[service] = probes.load(service, environ)
        except SettingsError as error:
            found = list(settings_findings(service, error))
            yield from found
            names = {one.text.split()[1].removesuffix("_FILE") for one in found}
            wrong |= names
            loaded[service] = _load_rest(probes, service, environ, names)
        else:
            yield ok("settings", "settings", f"{service}'s settings are whole")
    loaded = {service: settings for service, settings in loaded.items() if settings is not None}

    skipped: dict[str, str] = {}

    def right(area: str, *names: str) -> bool:
        """Whether what a look needs is there: a stand-in says nothing of the world."""
        lacking = [one for one in names if one in wrong]
        if lacking:
            skipped[area] = lacking[0]
        return not lacking

    yield from settings_together(loaded)
    if right("observing", "MODE"):
        yield from check_settings({name: each.observes for name, each in loaded.items()})
    for service, settings in loaded.items():
        if right(f"database {service}", f"{service.upper()}_DATABASE_URL"):
            yield from probes.database(service, settings.database_url.reveal())
    for uri in sorted({settings.amqp_uri.reveal() for settings in loaded.values()}):
        if right("broker", "AMQP_URI"):
            yield from probes.broker(uri, loaded)
    if "portal" in loaded:
        if right("links", "PORTAL_LINK_KEYS", "PUBLIC_URL"):
            yield from probes.links(loaded["portal"])
        if right("who is whose", "PORTAL_DATABASE_URL"):
            yield from probes.whose(loaded["portal"])
            yield from probes.modes(loaded["portal"])
    if "billing" in loaded and right(
        "stripe", *_names("STRIPE_", wrong), "PUBLIC_URL", "BILLING_DATABASE_URL"
    ):
        yield from probes.stripe(loaded["billing"], webhook_url=webhook_url, may_cancel=may_cancel)
        portal = None if "PORTAL_DATABASE_URL" in wrong else loaded.get("portal")
        yield from probes.accounts(loaded["billing"], portal, account)
    if "notifier" in loaded and right("sendgrid", *_names("SENDGRID_", wrong), "MAIL_FROM"):
        yield from probes.sendgrid(loaded["notifier"])
        if "portal" in loaded and right("sendgrid", "PORTAL_DATABASE_URL"):
            yield from probes.senders(loaded["portal"], loaded["notifier"])
    if "notifier" in loaded and right("webhooks", "NOTIFIER_DATABASE_URL"):
        yield from probes.hooks(loaded["notifier"])
    for area, name in skipped.items():
        yield unknown(
            area, "not-looked", f"not looked at, since {name} is missing or wrong", f"fix {name}"
        )


def _load_rest(
    probes: Probes, service: str, environ: Mapping[str, str], wrong: set[str]
) -> Any | None:
    """The settings without the wrong ones, which have a stand-in or their default; None where that is wrong too."""
    rest = {name: text for name, text in environ.items() if name.removesuffix("_FILE") not in wrong}
    try:
        return probes.load(
            service, rest | {name: STAND_INS[name] for name in wrong & STAND_INS.keys()}
        )
    except SettingsError:
        return None


def _names(prefix: str, wrong: Collection[str]) -> list[str]:
    return [name for name in wrong if name.startswith(prefix)]


def doctor(
    ctx: typer.Context,
    service: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only portal, billing or notifier, where a place has one's settings; may be repeated.",
            autocompletion=lambda: SERVICES,
        ),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(help="Where Stripe should deliver; else any …/webhooks/stripe will do."),
    ] = None,
    may_cancel: Annotated[
        bool,
        typer.Option("--may-cancel", help="That customers cancel or pause by themselves is meant."),
    ] = False,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT",
            help="Of the accounts with keys of their own look at this one alone, acct_…; else at the first fifty.",
        ),
    ] = None,
    looked: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            help="You have looked at what `ask` names under this code (--json shows codes); may be repeated.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Don't tell what is well.")] = False,
    as_json: OnlyJson = False,
) -> None:
    """Look for everything that is set up wrongly, and say what to do. Changes nothing, shows no secret.

    Settings, databases and migrations, broker, queues and permissions, link keys, who is whose, clocks, Stripe (key, rights, webhook
    endpoint, portal configuration; accounts beside the own one, their keys, reads), SendGrid (key, senders, click tracking). `note` is what was set so and explains much: who observes. `ask` is what no machine can see.
    Ends with 1 when something was found, with 3 when nothing was but something could not be looked at.

    Example: portico doctor --service billing --webhook-url https://hooks.example.com/webhooks/stripe
    """
    chosen = service or list(SERVICES)
    wrong = sorted(set(chosen) - set(SERVICES))
    if wrong:
        raise typer.BadParameter(f"no such service: {', '.join(wrong)}", param_hint="--service")
    environ = context_of(ctx).environ
    if not any(environ.get(name) or environ.get(f"{name}_FILE") for name in STAND_INS):
        raise Stop(
            USAGE,
            "none of Portico's settings is set here: name their file, portico --env-file portico.env doctor, or run this where a "
            "service runs; portico init makes new ones",
        )
    found = []
    for one in examine(
        environ,
        chosen,
        webhook_url=webhook_url,
        may_cancel=may_cancel,
        looked=looked or (),
        account=account,
    ):
        found.append(one)
        if not as_json and not (quiet and one.level is Level.OK):
            tell(one)
    count = Counter(one.level for one in found)
    if as_json:
        print_json([one.view() for one in found])
    else:
        console().print(
            f"\n{count[Level.FINDING]} found, {count[Level.UNKNOWN]} could not be looked at, "
            f"{count[Level.ASK]} for you to look at, {count[Level.OK]} well"
            + (f", {count[Level.NOTE]} to know" if count[Level.NOTE] else "")
        )
    raise typer.Exit(
        FINDING if count[Level.FINDING] else UNAVAILABLE if count[Level.UNKNOWN] else OK
    )
