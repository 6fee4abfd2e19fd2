"""`portico hooks`: webhooks to host applications."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from portico.cli.context import ask_once, context_of
from portico.cli.durations import since as ago
from portico.cli.options import AsJson
from portico.cli.output import answer, as_moment, print_list
from portico.cli.rpc import ask
from shared.clock import utc_now
from shared.contracts.rpc import notifier, portal
from shared.contracts.rpc.hooks import ENDPOINT_ID, WebhookEndpoint, WebhookSecret

hooks = typer.Typer(
    help="Webhooks to host applications: endpoints, what was tried, and sending again.",
    no_args_is_help=True,
)


def _an_endpoint(given: str | None) -> str | None:
    """Raises BadParameter for what can be no endpoint's id."""
    if given is not None and not re.fullmatch(ENDPOINT_ID, given):
        raise typer.BadParameter(
            f"{given[:40]!r} is not an endpoint's id (whe_…): `portico hooks list` shows them"
        )
    return given


Endpoint = Annotated[
    str,
    typer.Argument(metavar="ENDPOINT_ID", help="whe_…, as `list` shows it.", callback=_an_endpoint),
]


@hooks.command("create")
def create(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="https, a public name, port 443 or 8443.")
    ],
    business: Annotated[
        str | None,
        typer.Option(
            "--business", metavar="ID", help="Your id of the one business it hears of; else all."
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="An event that it wants (docs/events.md); repeat it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint, and print the secret that its webhooks are signed with: this once. Without --type it hears of everything.

    Example: portico hooks create https://hooks.example.com/portico --type invoice.paid --type invoice.payment_failed
    """
    with context_of(ctx).calling() as call:
        if business is not None:
            ask(call, portal.API_KEYS, business_id=business)  # whether there is such a business
        made = ask(
            call,
            notifier.CREATE_WEBHOOK_ENDPOINT,
            url=url,
            business_id=business,
            event_types=types or [],
        )
    _show_secret(made, as_json)


def _show_secret(made: WebhookSecret, as_json: bool) -> None:
    aside = f"{made.about.endpoint_id}: keep it as you keep a password; it can't be shown again"
    answer(made, made.secret, as_json=as_json, aside=aside)


@hooks.command("list")
def list_endpoints(
    ctx: typer.Context,
    business: Annotated[
        str | None, typer.Option("--business", metavar="ID", help="Your id of a business.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="ENDPOINT_ID",
            help="Those that were made after this one.",
            callback=_an_endpoint,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List endpoints, at most 100, the oldest first.

    Example: portico hooks list --business sunrise-cleaning
    """
    found = ask_once(
        ctx, notifier.WEBHOOK_ENDPOINTS, business_id=business, limit=100, starting_after=after
    )
    print_list(
        found,
        ("id", "business", "url", "types", "state", "failing since"),
        lambda one: (
            one.endpoint_id,
            one.business_id or "all",
            one.url,
            " ".join(one.event_types) or "all",
            _state(one),
            as_moment(one.failing_since),
        ),
        as_json=as_json,
        empty="No endpoints.",
        under=4,
    )


def _state(one: WebhookEndpoint) -> str:
    return "on" if one.enabled else f"off ({one.disabled_because})"


@hooks.command("show")
def show(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Show an endpoint.

    Example: portico hooks show whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    one = ask_once(ctx, notifier.WEBHOOK_ENDPOINT, endpoint_id=endpoint_id)
    _show(one, as_json)


def _show(one: WebhookEndpoint, as_json: bool) -> None:
    failing = f", failing since {as_moment(one.failing_since)}" if one.failing_since else ""
    text = (
        f"{one.endpoint_id}: {one.url}\n"
        f"hears of {one.business_id or 'all businesses'}: {' '.join(one.event_types) or 'all'}\n"
        f"{_state(one)}{failing}"
    )
    answer(one, text, as_json=as_json)


@hooks.command("attempts")
def attempts(
    ctx: typer.Context,
    endpoint_id: Endpoint,
    event: Annotated[
        str | None, typer.Option("--event", metavar="EVENT_ID", help="Of one event, evh_….")
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ATTEMPT", help="Older than this attempt.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was tried at an endpoint, newest first. What a host answers beside its status is not kept.

    Example: portico hooks attempts whe_4mQ9bX2tLr7VwY1zAbCdEf --limit 20
    """
    found = ask_once(
        ctx,
        notifier.WEBHOOK_ATTEMPTS,
        endpoint_id=endpoint_id,
        limit=limit,
        before=before,
        event_id=event,
    )
    print_list(
        found,
        ("attempt", "at", "event", "type", "answer", "ms", "delivery", "next try"),
        lambda one: (
            str(one.attempt_id),
            as_moment(one.at),
            one.event_id,
            one.type,
            str(one.status) if one.status else one.error or "",
            str(one.milliseconds),
            one.delivery_status or "forgotten",
            as_moment(one.next_try_at),
        ),
        as_json=as_json,
        empty="Nothing was tried.",
        under=4,
    )


@hooks.command("test")
def try_endpoint(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Send an endpoint an event of the type webhook_endpoint.test; `attempts` tells what came of it.

    Example: portico hooks test whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    sent = ask_once(ctx, notifier.TEST_WEBHOOK_ENDPOINT, endpoint_id=endpoint_id)
    text = f"{sent.event_id} is on its way: portico hooks attempts {endpoint_id}"
    answer(sent, text, as_json=as_json)


@hooks.command("replay")
def replay(
    ctx: typer.Context,
    endpoint_id: Endpoint,
    event: Annotated[
        str | None, typer.Option("--event", metavar="EVENT_ID", help="This one event, evh_….")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="All that came in since: 3d, or an ISO time."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="And before: 1d, or an ISO time.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what was not delivered yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send an endpoint one event again, or all of a time of the last 30 days, what it missed while it was off among them.

    Example: portico hooks replay whe_4mQ9bX2tLr7VwY1zAbCdEf --since 3d --failed
    """
    if bool(event) == bool(since):
        raise typer.BadParameter("give --since or --event, one of them", param_hint="--since")
    now = utc_now()
    given: dict[str, Any] = {"endpoint_id": endpoint_id, "event_id": event, "failed_only": failed}
    if since:
        given["since"] = ago(since, now, "--since").isoformat()
    if until:
        given["until"] = ago(until, now, "--until").isoformat()
    sent = ask_once(ctx, notifier.REPLAY_WEBHOOKS, **given)
    text = f"{sent.count} on their way: portico hooks attempts {endpoint_id}"
    answer(sent, text, as_json=as_json)


@hooks.command("rotate")
def rotate(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Give an endpoint a new secret, and print it: this once. For a day those before sign too.

    Example: portico hooks rotate whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    made = ask_once(ctx, notifier.ROTATE_WEBHOOK_SECRET, endpoint_id=endpoint_id)
    _show_secret(made, as_json)


@hooks.command("enable")
def enable(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Switch an endpoint on again. What it missed is not sent by itself: `replay`.

    Example: portico hooks enable whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    _switch(ctx, endpoint_id, True, as_json)


@hooks.command("disable")
def disable(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Send an endpoint nothing until it is enabled again.

    Example: portico hooks disable whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    _switch(ctx, endpoint_id, False, as_json)


def _switch(ctx: typer.Context, endpoint_id: str, on: bool, as_json: bool) -> None:
    one = ask_once(ctx, notifier.CHANGE_WEBHOOK_ENDPOINT, endpoint_id=endpoint_id, enabled=on)
    _show(one, as_json)


@hooks.command("delete")
def delete(ctx: typer.Context, endpoint_id: Endpoint, as_json: AsJson = False) -> None:
    """Forget an endpoint with all that waits for it.

    Example: portico hooks delete whe_4mQ9bX2tLr7VwY1zAbCdEf
    """
    gone = ask_once(ctx, notifier.DELETE_WEBHOOK_ENDPOINT, endpoint_id=endpoint_id)
    answer(gone, f"{gone.endpoint_id} is deleted", as_json=as_json)
