"""`portico stripe setup`: Stripe made ready for us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portico.cli.context import FINDING, OK, UNAVAILABLE, Stop
from portico.cli.output import print_json
from portico.commands.billing import AsJson, stripe_errors, stripe_settings
from portico.env_file import (
    BadEnvFile,
    changed_text,
    must_be_writable,
    read_env_file,
    replace,
    text_of,
)
from portico.interview import NO_SECRET_YET
from shared.terminal import say

SETTINGS = {"": "STRIPE_WEBHOOK_SECRETS", "connect": "STRIPE_CONNECT_WEBHOOK_SECRETS"}
"""By whose webhooks an address takes, where their secret belongs in the settings."""


def setup(
    ctx: typer.Context,
    url: Annotated[
        str,
        typer.Option(
            help="Where Stripe reaches billing: https://…/webhooks/stripe; …/webhooks/stripe/connect for connected accounts; "
            "…/webhooks/stripe/acct_… for an account with its own key, which is STRIPE_API_KEY then.",
            prompt=False,
        ),
    ],
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="A new file for the endpoint's signing secret, which Stripe tells only once; made with mode 0600. "
            "It goes into STRIPE_WEBHOOK_SECRETS (or name it in STRIPE_WEBHOOK_SECRETS_FILE); for connected accounts into "
            "STRIPE_CONNECT_WEBHOOK_SECRETS, for one with its own key into STRIPE_ACCOUNTS_FILE."
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="ENV_FILE",
            help="Instead of --secret-file: the env file whose STRIPE_WEBHOOK_SECRETS (for connected accounts "
            "STRIPE_CONNECT_WEBHOOK_SECRETS) gets the secret, as the newest.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make Stripe ready: a webhook endpoint with our event types and API version, and the portal configuration.

    An endpoint of this URL that exists is corrected instead (events, enabled). Its API version can't be changed: an
    endpoint of another version is left alone and reported. Safe to repeat. Of billing's settings it
    needs STRIPE_API_KEY and BILLING_DATABASE_URL alone: it comes before the broker's, and before the webhook secret that it makes.

    Example: portico stripe setup --url https://hooks.example.com/webhooks/stripe --secret-file whsec.txt
    """
    from portico.stripe_setup import BadSecretFile, account_of, problem_of_url, set_up

    if problem := problem_of_url(url):
        raise typer.BadParameter(problem, param_hint="--url")
    if (secret_file is None) == (into is None):
        raise typer.BadParameter(
            "say where the signing secret goes: --secret-file FILE or --into ENV_FILE",
            param_hint="--secret-file",
        )
    place = account_of(url) or ""
    if into is not None:
        if place not in SETTINGS:
            raise typer.BadParameter(
                "the secret of an account with its own key belongs in STRIPE_ACCOUNTS_FILE: say --secret-file",
                param_hint="--into",
            )
        _must_take_secret(into)
    new = secret_file or _beside(into or Path())
    settings = stripe_settings(ctx)
    try:
        with stripe_errors():
            done = set_up(settings, url, new)
    except BadSecretFile as error:
        raise typer.BadParameter(
            str(error), param_hint="--into" if into else "--secret-file"
        ) from None
    if into is not None and done["secret_file"]:
        _put_secret(into, SETTINGS[place], new)
        done["secret_file"] = str(into)
    if as_json:
        print_json(done)
    else:
        say(f"endpoint {done['endpoint']}: {done['what']}")
        if done["secret_file"]:
            say(_said_of_secret(done["secret_file"], place, kept=into is not None))
        say(f"portal configuration {done['configuration']}: {done['configuration_why']}")
    raise typer.Exit(FINDING if done["problem"] else OK)


def _beside(env_file: Path) -> Path:
    """Where the secret is until it stands in the env file: there it stays if that fails."""
    return env_file.with_name(f"{env_file.name}.whsec")


def _must_take_secret(env_file: Path) -> None:
    """Before the endpoint is made: Stripe tells its secret only once."""
    read_env_file(env_file, "--into")
    try:
        must_be_writable(env_file)
    except BadEnvFile as error:
        raise typer.BadParameter(str(error), param_hint="--into") from None


def _put_secret(env_file: Path, setting: str, secret_file: Path) -> None:
    before = read_env_file(env_file).get(setting, "").split(",")
    older = [one for one in before if one and not one.startswith(NO_SECRET_YET)]
    secrets = ",".join([secret_file.read_text().strip(), *older])
    try:
        replace(env_file, changed_text(text_of(env_file), {setting: secrets}))
    except BadEnvFile as error:
        kept = f"the endpoint is made, and its signing secret is in {secret_file}: put it into {setting}"
        raise Stop(UNAVAILABLE, f"{error}; {kept}") from None
    secret_file.unlink()


def _said_of_secret(file: str, place: str, *, kept: bool) -> str:
    if kept:
        return (
            f"its signing secret is in {file}, as {SETTINGS[place]}: start billing, or restart it"
        )
    belongs = SETTINGS.get(place, f"`webhook_secrets` of {place} in STRIPE_ACCOUNTS_FILE")
    return f"its signing secret is in {file}: put it into {belongs}"
