"""`portico init`: the settings of a new installation, asked for, looked at, and written down."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from portico.checks.settings import NO_SECRET_YET, SERVICES
from portico.cli.context import FINDING, UNAVAILABLE, USAGE, Stop, context_of
from portico.cli.findings import Finding, Level
from portico.env_file import (
    BadEnvFile,
    changed_text,
    is_plain_for_a_shell,
    keep_copy,
    must_be_writable,
    read_env_file,
    replace,
    text_of,
    write_new,
)
from portico.interview import MADE, QUESTIONS, Interview, made_by_machine
from shared.clock import utc_now
from shared.settings import Reader, is_loopback
from shared.terminal import say

DEFAULT: Final = Path("portico.env")
CARRIED: Final = ("STRIPE_API_BASE", "SENDGRID_API_BASE", "PORTAL_SESSION_ORIGINS")
"""Settings that nobody is asked for, and that come into the file where the environment has them."""
NAMES: Final = (*(question.name for question in QUESTIONS), *CARRIED, *MADE)
"""Settings that are read, each by itself or by the file that NAME_FILE names."""
HEADING: Final = """\
# The settings of Portico's three services, made by `portico init`. Keys and passwords are among them: for its owner's eyes alone.
# Read alike by `portico --env-file`, by systemd (EnvironmentFile=) and by `docker --env-file`. All there are: docs/settings.md
"""


def init(  # noqa: PLR0913  (an option each)
    ctx: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(help="The file to make; portico.env where none is named."),
    ] = None,
    change: Annotated[
        bool,
        typer.Option(
            "--change",
            help="Go through a file that is there: what it has is suggested; MODE, keys that a machine made, and whatever is not asked "
            "for, stay, whatever the environment says. With a key of the other mode, live or test, MODE is asked for anew. The one "
            "before is kept beside it.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Ask nothing: take all from options and the environment. What is wrong is told, and nothing is written then.",
        ),
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="With --yes: write though something does not answer."),
    ] = False,
    public_url: Annotated[
        str | None, typer.Option(help="Where customers will reach Portico.")
    ] = None,
    mail_from: Annotated[str | None, typer.Option(help="The address that mails come from.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="observe: take in and decide everything, mail and charge nobody; or live. "
            "Unsaid: observe with a live key, live with a test key."
        ),
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The sandbox plays Stripe and SendGrid, at this address."),
    ] = None,
) -> None:
    """Make the settings of a new installation: asks for what only a person knows, looks at each answer at once, makes all keys itself.

    Asks for the public address, Stripe's and SendGrid's key, the sender, broker and databases. Keys and passwords are not shown, and
    no option takes them: for scripts they are in the environment, as NAME or in a file that NAME_FILE names, and so may be every other
    setting; where a file that is changed has a NAME_FILE, that stays. The file is made with mode 0600, whole or not at all, and never
    over another one. Then it says what is next.

    Example: portico init --env-file portico.env
    """
    desk = context_of(ctx)
    file = env_file or (ctx.parent and ctx.parent.params.get("env_file")) or DEFAULT
    _look_at_place(file, change=change)
    if not yes and not desk.at_terminal():
        raise Stop(
            USAGE,
            "there is no terminal to ask at: say --yes, with the settings in the environment (docs/cli.md, portico init)",
        )
    options = {"PUBLIC_URL": public_url, "MAIL_FROM": mail_from, "MODE": mode}
    told = {name: value.strip() for name, value in options.items() if value and value.strip()}
    told |= _played_by(sandbox)
    there = _of_file(file) if change else Changed()
    known = there.together(_read(desk.environ), told)
    unsaid = {name: value for name, value in there.values.items() if name not in told}
    interview = Interview(desk.look or _look, known, unsaid, there.elsewhere)
    if yes:
        answers = interview.without_asking()
        _must_be_well(interview, unchecked=unchecked)
    else:
        try:
            answers = interview.by_asking()
        except typer.Abort:
            raise Stop(128 + signal.SIGINT, "\nNothing was written.") from None
    kept = {name: value for name, value in known.items() if name not in interview.outdated()}
    values = {name: value for name, value in {**kept, **answers}.items() if value}
    values |= made_by_machine(values)
    _write(file, there.changes(values), change=change)
    for line in _next(file, values, new_endpoint=interview.is_of_other_mode()):
        say(line)


def _look(name: str, known: Mapping[str, str]) -> Iterator[Finding]:
    from portico.checks.answers import look

    yield from look(name, known)


def _look_at_place(file: Path, *, change: bool) -> None:
    """Raises Stop, before anybody has typed anything, where the file can't be made."""
    try:
        must_be_writable(file)
    except BadEnvFile as error:
        raise Stop(USAGE, str(error)) from None
    if not change and (file.is_symlink() or file.exists()):
        raise Stop(
            USAGE,
            f"{file} is there already, and stays as it is: --change goes through it, --env-file names another",
        )


@dataclass(frozen=True)
class Changed:
    """What is in the file that is changed; empty where a new one is made."""

    file: Path = DEFAULT
    values: Mapping[str, str] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    """Settings for which the file has a NAME_FILE: their values are in other files, and stay there."""

    def together(self, environ: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
        """With the environment's and the options': those win for what is asked for, the file for what is not. It wins for MODE too, but
        over the option: a shell that has read it before would let nobody observe, or go live, again. Raises Stop where another value is
        said for one that is elsewhere."""
        stay = {name: one for name in ("MODE", *MADE, *CARRIED) if (one := self.values.get(name))}
        known = {**self.values, **environ, **stay, **told}
        for name in self.elsewhere:
            if known[name] != self.values[name]:
                raise Stop(
                    USAGE,
                    f"{name} is given, and {self.file} takes it from the file that {name}_FILE names: change that one, or take "
                    f"{name}_FILE out of {self.file}; nothing was written",
                )
        return known

    def changes(self, values: Mapping[str, str]) -> dict[str, str]:
        """What is to be written. What is not stays as it is in the file by then: its webhook secret may have come meanwhile."""
        return {
            name: value
            for name, value in values.items()
            if name not in self.elsewhere and value != self.values.get(name)
        }


def _of_file(file: Path) -> Changed:
    """Raises SettingsError where a file that it names can't be read."""
    lines = read_env_file(file)
    elsewhere = frozenset(name for name in NAMES if lines.get(f"{name}_FILE", "").strip())
    others = {name: one for name, one in lines.items() if name.removesuffix("_FILE") not in NAMES}
    return Changed(file, {**others, **_read(lines)}, elsewhere)


def _read(environ: Mapping[str, str]) -> dict[str, str]:
    """Our settings as they are set, each by itself or by the file that it names. Raises SettingsError."""
    reader = Reader(environ)
    found = {
        name: reader.text(name, meaning="a setting", example="…", default="") for name in NAMES
    }
    reader.done()
    return {name: value for name, value in found.items() if value}


def _played_by(sandbox: str | None) -> dict[str, str]:
    """Raises BadParameter."""
    if sandbox is None:
        return {}
    address = sandbox.strip().rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise typer.BadParameter(
            "expected the sandbox's address, such as http://127.0.0.1:8010", param_hint="--sandbox"
        )
    return dict.fromkeys(CARRIED, address)


def _must_be_well(interview: Interview, *, unchecked: bool) -> None:
    levels = {one.level for one in interview.troubles}
    if Level.FINDING in levels:
        raise Stop(FINDING, "nothing was written: put right what is told above")
    if levels and not unchecked:
        raise Stop(
            UNAVAILABLE,
            "nothing was written: something could not be looked at; --unchecked writes all the same",
        )


def _write(file: Path, values: Mapping[str, str], *, change: bool) -> None:
    try:
        if not change:
            write_new(file, HEADING + changed_text("", values))
            say(f"\n{file} is written, readable for you alone.")
        else:
            kept = keep_copy(file, utc_now())
            replace(file, changed_text(text_of(file), values))
            say(f"\n{file} is changed; what it was before is in {kept}.")
    except BadEnvFile as error:
        raise Stop(USAGE, str(error)) from None


def _next(file: Path, values: Mapping[str, str], *, new_endpoint: bool) -> Iterator[str]:
    """What is to be done now, in order. An endpoint is of one mode, as the key is."""
    yield "Next:"
    yield "  1. the tables, with these settings in the environment:"
    yield from (f"       python -m services.{service} migrate" for service in SERVICES)
    if new_endpoint or values["STRIPE_WEBHOOK_SECRETS"].startswith(NO_SECRET_YET):
        yield "  2. Stripe's webhook endpoint; until then nothing that Stripe sends is taken:"
        yield from (f"       {line}" for line in _endpoint(file, values))
    else:
        yield "  2. nothing: there is a webhook secret already"
    yield "  3. the services, each a process:"
    yield from (f"       python -m services.{service}" for service in SERVICES)
    yield f"  4. everything at once looked at: portico --env-file {file} doctor"
    yield "  5. a test charge that is declined, and the first mail: docs/first-hour.md"
    ways = f"systemd: EnvironmentFile={file.absolute()}; docker: --env-file {file}"
    if is_plain_for_a_shell(values):
        where = file if file.is_absolute() else f"./{file}"
        ways += f"; a shell: set -a; . {where}; set +a"
    yield f"The settings come into the environment by: {ways}"


def _endpoint(file: Path, values: Mapping[str, str]) -> Iterator[str]:
    setup = f"portico --env-file {file} stripe setup --into {file} --url"
    if not is_loopback(values["PUBLIC_URL"]):
        yield f"{setup} {values['PUBLIC_URL']}/webhooks/stripe"
    elif "STRIPE_API_BASE" in values:
        yield f"{setup} http://127.0.0.1:8001/webhooks/stripe"
    else:  # Stripe can't reach this machine by itself
        yield "stripe listen --forward-to 127.0.0.1:8001/webhooks/stripe"
        yield f"and the whsec_… that it prints as STRIPE_WEBHOOK_SECRETS in {file}"
