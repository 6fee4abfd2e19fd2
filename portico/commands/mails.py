"""`portico mail`: how the emails look, and whether they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portico.cli.context import FINDING, UNAVAILABLE, context_of
from portico.cli.options import AsJson, TableAsJson
from portico.cli.output import answer, as_moment, print_json
from portico.cli.rpc import ask
from shared.contracts.rpc import notifier
from shared.terminal import complain, say

if TYPE_CHECKING:
    from services.notifier.domain.kinds import Kind

mail = typer.Typer(help="The emails' texts, and whether mail arrives.", no_args_is_help=True)

PATIENCE: Final = 30.0
"""Longer than the notifier waits for SendGrid."""
ACCOUNT: Final = "`portico doctor --service notifier` looks at the key and the senders"
REMEDIES: Final = {
    "refused": ACCOUNT,
    "rate_limited": "try it again then",
    "unavailable": "look at SENDGRID_API_BASE, the network and status.sendgrid.com, then try it again",
    "unconfirmed": "it may have been taken: look into the inbox before you try it again",
}
"""What to do about what SendGrid answered, by `SentTestMail.outcome`."""


def _kinds() -> list[str]:
    from services.notifier.domain.kinds import Kind

    return list(Kind)


Language = Annotated[str, typer.Option("--locale", "--language", help="For example de or pt-BR.")]


def _kind(kind: str, hint: str) -> Kind:
    from services.notifier.domain.kinds import Kind

    if kind not in list(Kind):
        raise typer.BadParameter(f"expected one of {', '.join(Kind)}", param_hint=hint)
    return Kind(kind)


def _check_language(locale: str) -> None:
    from shared.l10n.locales import languages, parse_locale, speaks

    found = parse_locale(locale)
    if found is None or not speaks(found):
        spoken = ", ".join(sorted(one.replace("_", "-") for one in languages()))
        raise typer.BadParameter(
            f"no email is in this language; there are {spoken}", param_hint="--locale"
        )


@mail.command("preview")
def preview(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="Which email; docs/emails.md lists them. Else all.",
            autocompletion=_kinds,
        ),
    ] = None,
    locale: Language = "en",
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the files.")] = Path(
        "var/preview"
    ),
    as_json: TableAsJson = False,
) -> None:
    """Write an email with sample data, or every one, as KIND.subject.txt, KIND.txt and KIND.html. Sends nothing.

    Example: portico mail preview payment_failed --locale de
    """
    from services.notifier.emails.previewing import write_preview

    kinds = [_kind(one, "KIND") for one in (_kinds() if kind is None else [kind])]
    _check_language(locale)
    try:
        written = [str(path) for one in kinds for path in write_preview(one, locale, out)]
    except OSError as error:
        raise typer.BadParameter(
            f"{error.filename or out}: {error.strerror}", param_hint="--out"
        ) from None
    answer(written, "\n".join(written), as_json=as_json)


@mail.command("test")
def send_test(
    ctx: typer.Context,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it goes: your own address.")],
    business: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="In the name of this business (your software's id), with its look, from its own sender address.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(help="Which email; docs/emails.md lists them.", autocompletion=_kinds),
    ] = "payment_failed",
    locale: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Send one email with sample data to yourself, and say what SendGrid answers: to see that mail arrives.

    The notifier sends it with its own settings, also while it observes. Its subject begins with [Test], its links open nothing, and
    nothing of it is recorded. Ends with 1 when SendGrid refuses it, with 3 when it can't be said to have taken it.

    Example: portico mail test --to me@example.com --kind payment_failed --locale de
    """
    from shared.text import can_be_mailed

    if not can_be_mailed(to):
        raise typer.BadParameter("expected an email address, me@example.com", param_hint="--to")
    if business is not None and not business.strip():
        raise typer.BadParameter(
            "expected the id of a business; without the option none is named",
            param_hint="--business",
        )
    named = _kind(kind, "--kind")
    _check_language(locale)
    with context_of(ctx).calling(timeout=PATIENCE) as call:
        sent = ask(
            call,
            notifier.SEND_TEST_MAIL,
            to=to,
            kind=named.value,
            locale=locale,
            **({"business_id": business} if business is not None else {}),
        )
    if as_json:
        print_json(sent)
    else:
        _tell(sent, to)
    if sent.outcome != "accepted":
        raise typer.Exit(FINDING if sent.outcome == "refused" else UNAVAILABLE)


def _limit(sent: notifier.SentTestMail) -> str:
    from services.notifier.domain.sending import OUT_OF_CREDITS

    if sent.why == OUT_OF_CREDITS:  # `retry_at` is only when the notifier would ask again
        return f"{sent.why}: take a larger plan there, or wait for the plan's next day or month"
    until = f" before {as_moment(sent.retry_at)} UTC" if sent.retry_at else ""
    return f"SendGrid takes no more mail{until}; {REMEDIES['rate_limited']}"


def _tell(sent: notifier.SentTestMail, to: str) -> None:
    if sent.outcome == "accepted":
        say(f"SendGrid has taken the email to {to}, from {sent.sender}: {sent.subject}")
        say(
            "If it is not there in a few minutes, look into the spam folder, then for the address in SendGrid (Activity)."
        )
    elif sent.outcome == "rate_limited":
        complain(_limit(sent))
    else:
        complain(f"{sent.why}; {REMEDIES.get(sent.outcome, ACCOUNT)}")
    if sent.business_sender and sent.business_sender != sent.sender:
        say(
            f"Not from {sent.business_sender}: its domain is not authenticated in SendGrid, or the key may not read which are "
            "(Settings, Sender Authentication)."
        )
