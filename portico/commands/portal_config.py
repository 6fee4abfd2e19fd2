"""`portico stripe portal-config`: what customers may do on Stripe's page; and what commands that speak to Stripe themselves need."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portico.cli.context import Stop, context_of, exit_of
from portico.cli.options import TableAsJson
from portico.cli.output import answer
from portico.cli.rpc import Unavailable, ask
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc import portal

if TYPE_CHECKING:
    from services.billing.settings import StripeSettings
    from services.billing.workflows.portal import InUse


stripe = typer.Typer(
    help="What Stripe must know of us: the webhook endpoint, the Billing Portal configuration.",
    no_args_is_help=True,
)


def stripe_settings(ctx: typer.Context) -> StripeSettings:
    """What the environment says of Stripe. Raises SettingsError."""
    from services.billing.settings import load_for_stripe

    return load_for_stripe(context_of(ctx).environ)


class Allowed(enum.StrEnum):
    """What customers may do by themselves."""

    CANCEL = "cancel"
    PAUSE = "pause"


@stripe.command("portal-config")
def portal_config(
    ctx: typer.Context,
    allow: Annotated[
        list[Allowed] | None,
        typer.Option(help="Let customers cancel (at the period's end) or pause; may be repeated."),
    ] = None,
    business: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="For this business alone, on the Stripe account that it has."
        ),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT", help="On this account, acct_…; else on the installation's own."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Only look, change nothing.")] = False,
    as_json: TableAsJson = False,
) -> None:
    """Show what customers may do on Stripe's page and why, or make or change the configuration that Portico keeps there.

    Where one is saved in Stripe's dashboard customers get that, and it is changed there. Portico's own serves where none is,
    where STRIPE_PORTAL_CONFIGURATION is portico, and for a single --business. Each Stripe account has its own. Without --allow it is conservative: update
    the card, see invoices, nothing else. Needs STRIPE_API_KEY and BILLING_DATABASE_URL; with --business AMQP_URI too, since the portal
    is asked whether it knows it.

    Example: portico stripe portal-config --allow cancel
    """
    from portico.stripe_setup import configure_portal
    from services.billing.domain.accounts import ACCOUNT
    from services.billing.domain.portal import PortalPolicy

    allowed = allow or []
    if show and allowed:
        raise typer.BadParameter("--show only looks: leave --allow out", param_hint="--show")
    policy = PortalPolicy(cancel=Allowed.CANCEL in allowed, pause=Allowed.PAUSE in allowed)
    if account is not None and business is not None:
        raise typer.BadParameter("a business has its account: leave it out", param_hint="--account")
    if account is not None and not ACCOUNT.fullmatch(account):
        raise typer.BadParameter("expected Stripe's id, acct_…", param_hint="--account")
    settings = stripe_settings(ctx)
    on = Account(account or OWN)
    if business is not None:  # the portal knows which there are, and where
        with context_of(ctx).calling() as call:
            on = Account(ask(call, portal.BUSINESS_ACCOUNTS, business_id=business)[0].account)
    with stripe_errors():
        found = configure_portal(settings, business, None if show else policy, on)
    answer(configuration_view(found), describe(found), as_json=as_json)


@contextmanager
def stripe_errors() -> Iterator[None]:
    """What Stripe or billing's database may answer, with the exit code that it has from a service too. Raises Stop, Unavailable."""
    from sqlalchemy.exc import SQLAlchemyError

    from services.billing.domain.errors import StripeKeyRefused
    from shared.contracts.rpc.errors import BillingError, wire_error
    from shared.database import DatabaseUnavailable
    from shared.database_errors import reason_of

    try:
        yield
    except BillingError as error:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, StripeKeyRefused):
            text = error.explained
        raise Stop(exit_of(type(wire_error(error)).__name__), text) from None
    except DatabaseUnavailable as error:  # says why itself
        raise Unavailable(f"billing's database: {error}") from None
    except SQLAlchemyError as error:
        raise Unavailable(f"billing's database: {reason_of(error)}") from None


def configuration_view(found: InUse) -> dict[str, Any]:
    """The configuration that customers get as JSON."""
    return {
        "configuration": found.configuration.id,
        "key": found.configuration.key,
        "livemode": found.configuration.livemode,
        "source": found.source.value,
        "why": found.source.why,
        "customers_may": dict(found.configuration.describe()),
    }


def describe(found: InUse) -> str:
    """The same for people: what a customer may do on Stripe's page, and why."""
    used = found.configuration
    mode = "live" if used.livemode else "test"
    lines = [
        f"{used.id} ({mode} mode): {found.source.why}.",
        "Customers may:",
    ]
    lines += [f"  {'yes' if allowed else 'no ':3}  {words}" for words, allowed in used.describe()]
    return "\n".join(lines)
