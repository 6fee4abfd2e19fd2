"""The commands of `portico`, put together from those of the services and those that span them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.context import PorticoGroup, context_of
from portico.commands import (
    api_keys,
    billing,
    connect,
    deadletters,
    hooks,
    mails,
    modes,
    notifier,
    portal,
    proposals,
    stripe_setup,
)
from portico.commands.doctor import doctor
from portico.commands.erase import erase
from portico.commands.explain import explain
from portico.commands.init import init
from portico.commands.links import links
from portico.commands.portal_config import stripe
from portico.commands.preview import preview
from portico.commands.stats import stats
from portico.commands.stripe_import import import_accounts
from portico.commands.welcome import welcome
from portico.env_file import read_env_file
from shared.terminal import say
from shared.version import VERSION

app = typer.Typer(
    cls=PorticoGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # a paragraph is wrapped at the terminal's width, and nowhere else
    pretty_exceptions_enable=False,  # a stack trace with local variables could show a secret
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(ctx: typer.Context, wanted: bool) -> None:
    """Say which release this is, and end; not where a shell only asks how the line could go on."""
    if wanted and not ctx.resilient_parsing:
        say(f"portico {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(
            envvar="PORTICO_ENV_FILE",
            help="Settings as NAME=value lines; variables that are set win. `make stack` writes var/stack/portico.env.",
        ),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="PORTICO_DEBUG", help="Show the trace of a defect, redacted."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Say which release this is."
        ),
    ] = False,
) -> None:
    """Operate Portico: one command line over its services.

    Reads the same settings as the services (AMQP_URI for most commands; the others name what they need). Reading
    commands take --json. Exit codes: 0 all well, 1 something was found or is not there, 2 a usage error or
    wrong settings, 3 something does not answer, 70 a defect in Portico.
    """
    desk = context_of(ctx)
    desk.debug = debug
    if env_file is not None and ctx.invoked_subcommand != "init":  # which makes it
        desk = replace(desk, environ={**read_env_file(env_file), **desk.environ})
    ctx.obj = desk


app.command()(init)
app.command()(doctor)
app.command()(explain)
app.command()(stats)
app.command()(preview)
app.command()(modes.observe)
app.command()(modes.go_live)
app.command()(billing.reconcile)
app.command()(portal.link)
app.add_typer(portal.customers, name="customers")
app.add_typer(api_keys.keys, name="keys")
app.add_typer(hooks.hooks, name="hooks")
app.add_typer(billing.events, name="events")
app.add_typer(notifier.notifications, name="notifications")
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(billing.invoices, name="invoices")
app.add_typer(stripe, name="stripe")
app.add_typer(mails.mail, name="mail")
stripe.command("setup")(stripe_setup.setup)
stripe.command("connect")(connect.connect)
stripe.command("accounts")(connect.accounts)
stripe.command("disconnect")(connect.disconnect)
portal.customers.command("links")(links)
portal.customers.command("welcome")(welcome)
stripe.command("import")(import_accounts)
portal.customers.command("erase")(erase)
portal.customers.command("proposals")(proposals.proposals)
portal.customers.command("accept")(proposals.accept)
portal.customers.command("refuse")(proposals.refuse)
