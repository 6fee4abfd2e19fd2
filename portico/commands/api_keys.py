"""`portico keys`: keys of the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from portico.cli.context import ask_once
from portico.cli.durations import from_now
from portico.cli.options import AsJson
from portico.cli.output import answer, as_moment, print_list
from shared.clock import utc_now
from shared.contracts.rpc import portal
from shared.contracts.rpc.api_keys import SCOPES

keys = typer.Typer(
    help="Keys of the HTTP API: make one, list and revoke them.", no_args_is_help=True
)

SHORTHANDS = {
    "read": [scope for scope in SCOPES if scope.endswith(":read")],
    "write": [scope for scope in SCOPES if not scope.endswith(":erase")],
}
"""What stands for many scopes."""


@keys.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, in your words.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help=f"What it may do; repeat it. One of {', '.join(SCOPES)}; or read (all that "
            "reads), or write (everything but erasing).",
        ),
    ],
    business: Annotated[
        str | None,
        typer.Option(
            "--business", metavar="ID", help="Your id of the one business that it is for."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="WHEN", help="Until when it is good: 90d, or an ISO time."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key of the HTTP API, and print it: this once, since only its hash is kept.

    Without --business it is the whole installation's, which alone may make businesses. To change a key, make a second one of the
    same name, give it to your software, and revoke the first: two are good at a time.

    Example: portico keys create "our CRM" --scope write --business sunrise-cleaning --expires 365d
    """
    scopes = _scopes(scope)
    until = from_now(expires, utc_now(), "--expires") if expires else None
    made = ask_once(
        ctx,
        portal.CREATE_API_KEY,
        name=name,
        scopes=scopes,
        business_id=business,
        expires_at=until.isoformat() if until else None,
    )
    aside = f"{made.about.key_id}: keep it as you keep a password; it can't be shown again"
    answer(made, made.key, as_json=as_json, aside=aside)


def _scopes(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        if word not in SHORTHANDS and word not in SCOPES:
            raise typer.BadParameter(
                f"{word!r} is none of {', '.join((*SCOPES, *SHORTHANDS))}",
                param_hint="--scope",
            )
        found += SHORTHANDS.get(word, [word])
    return list(dict.fromkeys(found))


@keys.command("list")
def list_keys(
    ctx: typer.Context,
    business: Annotated[
        str | None,
        typer.Option("--business", metavar="ID", help="Your id of a business: its keys alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the keys of the HTTP API, revoked and expired ones among them: whose they are, what they may do, when they were used
    last.

    Example: portico keys list --business sunrise-cleaning
    """
    found = ask_once(ctx, portal.API_KEYS, business_id=business)
    print_list(
        found,
        ("id", "name", "business", "key", "scopes", "last used", "expires", "revoked"),
        lambda one: (
            one.key_id,
            one.name,
            one.business_id or "all",
            one.hint,
            " ".join(one.scopes),
            as_moment(one.last_used_at),
            as_moment(one.expires_at),
            as_moment(one.revoked_at),
        ),
        as_json=as_json,
        empty="No keys.",
        under=5,
    )


@keys.command("revoke")
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="key_…, as `list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, for good. Processes of the portal that know it take it for up to five seconds more.

    Example: portico keys revoke key_4mQ9bX2tLr7VwY1z
    """
    done = ask_once(ctx, portal.REVOKE_API_KEY, key_id=key_id)
    text = f"{done.key_id} ({done.name}) is refused since {as_moment(done.revoked_at)} UTC"
    answer(done, text, as_json=as_json)
