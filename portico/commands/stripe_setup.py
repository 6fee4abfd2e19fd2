"""`portico stripe setup`: Stripe made ready for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from portico.checks.settings import NO_SECRET_YET
from portico.cli.context import FINDING, OK, UNAVAILABLE, Stop
from portico.cli.options import TableAsJson
from portico.cli.output import print_json
from portico.commands.portal_config import stripe_errors, stripe_settings
from portico.env_file import (
    BadEnvFile,
    changed_text,
    must_be_writable,
    read_env_file,
    replace,
    text_of,
)
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
    as_json: TableAsJson = False,
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
        _must_take_secret(into, place)
    settings = stripe_settings(ctx)
    try:
        with _place_of_secret(secret_file, into, place) as new, stripe_errors():
            done = set_up(settings, url, new)
    except BadSecretFile as error:
        raise typer.BadParameter(
            str(error), param_hint="--into" if into else "--secret-file"
        ) from None
    if into is not None:
        _look_into(into, SETTINGS[place], done)
    if as_json:
        print_json(done)
    else:
        say(f"endpoint {done['endpoint']}: {done['what']}")
        if done["secret_file"]:
            say(_said_of_secret(done["secret_file"], place, kept=into is not None))
        elif into is None:
            say(
                "its signing secret was told when it was made: Stripe's dashboard shows it (Workbench, Webhooks)"
            )
        say(f"portal configuration {done['configuration']}: {done['configuration_why']}")
    raise typer.Exit(FINDING if done["problem"] else OK)


@contextmanager
def _place_of_secret(secret_file: Path | None, into: Path | None, place: str) -> Iterator[Path]:
    """Where the body may put the secret. For an env file that is a file beside it, whose secret comes into the env file however the body
    ends, since Stripe tells it only once; before, that of a run that was cut does."""
    if secret_file is not None:
        yield secret_file
        return
    assert into is not None
    beside = into.with_name(f"{into.name}.{place and f'{place}-'}whsec")
    _put_secret(into, SETTINGS[place], beside)
    try:
        yield beside
    finally:
        _put_secret(into, SETTINGS[place], beside)


def _look_into(env_file: Path, setting: str, done: dict[str, Any]) -> None:
    """Note what became of the secret: it is in the env file, or there is none."""
    done["secret_file"] = done["secret_file"] and str(env_file)
    if not _secrets(env_file, setting):
        done["problem"] = True
        done["what"] += (
            f"; but {env_file} has no signing secret for it, which Stripe tells once: look it up in Stripe's dashboard "
            f"(Workbench, Webhooks) and put it into {setting}, or delete the endpoint there and run this again"
        )


def _must_take_secret(env_file: Path, place: str) -> None:
    """Before the endpoint is made: Stripe tells its secret only once."""
    if place not in SETTINGS:
        raise typer.BadParameter(
            "the secret of an account with its own key belongs in STRIPE_ACCOUNTS_FILE: say --secret-file",
            param_hint="--into",
        )
    by_file = f"{SETTINGS[place]}_FILE"
    if read_env_file(env_file, "--into").get(by_file):
        raise typer.BadParameter(
            f"{env_file} takes {SETTINGS[place]} from the file that {by_file} names: say --secret-file, and put the secret into that one",
            param_hint="--into",
        )
    try:
        must_be_writable(env_file)
    except BadEnvFile as error:
        raise typer.BadParameter(str(error), param_hint="--into") from None


def _secrets(env_file: Path, setting: str) -> list[str]:
    """The real ones that the env file has."""
    there = read_env_file(env_file).get(setting, "").split(",")
    return [one for one in there if one and not one.startswith(NO_SECRET_YET)]


def _put_secret(env_file: Path, setting: str, secret_file: Path) -> None:
    """Put the secret that is in `secret_file`, if there is one, into the env file, as the newest."""
    secret = secret_file.read_text().strip() if secret_file.exists() else ""
    if not secret:
        return
    older = [one for one in _secrets(env_file, setting) if one != secret]
    secrets = ",".join([secret, *older])
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
