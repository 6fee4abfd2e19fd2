"""`portico notifications`: emails that were, will be, or deliberately were not sent."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from portico.cli.context import FINDING, OK, ask_once, context_of
from portico.cli.durations import since
from portico.cli.names import arguments_of
from portico.cli.options import TableAsJson
from portico.cli.output import answer, as_moment, print_json, print_list, progress_bar
from portico.cli.rpc import Caller, ask
from shared.clock import utc_now
from shared.contracts.accounts import Account, in_account
from shared.contracts.rpc import notifier
from shared.terminal import say

notifications = typer.Typer(
    help="Emails that were, will be, or deliberately were not sent.", no_args_is_help=True
)

COLUMNS = (
    *("created (UTC)", "notification", "kind", "status"),
    *("customer", "invoice", "attempt", "tries", "why"),
)
ABOVE = 4
"""Columns that are one row in a terminal of 80 columns."""
BULK = 200


@notifications.command("list")
def list_notifications(
    ctx: typer.Context,
    invoice: Annotated[
        str | None, typer.Option(help="Only of this invoice, in_…, or acct_…/in_….")
    ] = None,
    customer: Annotated[
        str | None, typer.Option(help="Only of this Stripe customer, cus_…, or acct_…/cus_….")
    ] = None,
    status: Annotated[
        notifier.NotificationStatus | None,
        typer.Option(
            help="Only those that stand so; suppressed: not sent on purpose; observed: not sent since the business was not live."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 30,
    as_json: TableAsJson = False,
) -> None:
    """Emails with what became of them, newest first.

    Example: portico notifications list --invoice in_1Nabc
    """
    found = ask_once(
        ctx,
        notifier.NOTIFICATIONS,
        **arguments_of(invoice_id=invoice, stripe_customer_id=customer),
        limit=limit,
        **({"status": status} if status else {}),  # a notifier of the release before knows none
    )
    _show(found, empty="No email is recorded that matches.", as_json=as_json)


def _show(found: list[notifier.Notification], *, empty: str, as_json: bool = False) -> None:
    print_list(
        found,
        COLUMNS,
        lambda row: (
            as_moment(row.created_at),
            row.notification_id,
            row.kind,
            row.status,
            _named(row, row.stripe_customer_id) or row.customer_id,
            _named(row, row.invoice_id),
            row.attempt or None,
            row.attempts,
            row.reason or row.last_error,
        ),
        as_json=as_json,
        empty=empty,
        under=len(COLUMNS) - ABOVE,
    )


def _named(row: notifier.Notification, id: str | None) -> str | None:
    """An id of Stripe's as other commands take it, with its account."""
    return in_account(Account(row.account), id) if id else None


@notifications.command("resend")
def resend(
    ctx: typer.Context,
    notification_id: Annotated[str, typer.Argument(metavar="NOTIFICATION", help="ntf_….")],
    as_json: TableAsJson = False,
) -> None:
    """Send an email once more. It is looked at again first: one about a paid invoice is not sent.

    Example: portico notifications resend ntf_6x0Q
    """
    done = ask_once(ctx, notifier.RESEND, notification_id=notification_id)
    then = "is due now." if done.created else "waits already: nothing was added."
    answer(done, f"{done.notification_id} {then}", as_json=as_json)


@notifications.command("resend-failed")
def resend_failed(
    ctx: typer.Context,
    since_: Annotated[
        str | None,
        typer.Option("--since", help="What failed from then on: 12h, 3d, or an ISO time."),
    ] = None,
    invoice: Annotated[
        str | None,
        typer.Option(help="Only of this invoice, in_…, or acct_…/in_…; needs no --since."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only name those that would be sent again.")
    ] = False,
    as_json: TableAsJson = False,
) -> None:
    """Send once more every email that certainly never went out: after a key that was rotated wrongly, say.

    Each is looked at again first: one about a paid invoice is not sent. Left out are those that were asked for again
    already, so it is safe to repeat, those that SendGrid may have taken, and welcomes (`portico customers welcome` asks again). Ends with 0 when it did (or found
    nothing), with 1 when --dry-run found some.

    Example: portico notifications resend-failed --since 12h --dry-run
    """
    if since_ is None and invoice is None:
        raise typer.BadParameter("say from when on, or which invoice", param_hint="--since")
    start = since(since_, utc_now()).isoformat() if since_ else None
    wanted = {
        "failed_since": start,
        **arguments_of(invoice_id=invoice),
        "limit": BULK,
        "dry_run": dry_run,
    }
    with context_of(ctx).calling(timeout=60) as call:
        if dry_run:
            answer = ask(call, notifier.RESEND_FAILED, **wanted)
            found, more = answer.notifications, answer.more
        else:
            found, more = _resend_all(call, wanted), False
    if as_json:
        print_json({"notifications": found, "more": more})
    elif dry_run:
        _show(found, empty="No email failed that could be sent again.")
        if more:
            say(f"These are the oldest {len(found)}; there are more.")
    else:
        say(f"{len(found)} emails are due once more.")
    raise typer.Exit(FINDING if dry_run and found else OK)


def _resend_all(call: Caller, wanted: dict[str, Any]) -> list[notifier.Notification]:
    """Portion by portion; what fails anew meanwhile is not asked for again."""
    made: list[notifier.Notification] = []
    with progress_bar("count") as bar:
        task = bar.add_task("emails", total=None, count="")
        more = True
        while more:
            answer = ask(call, notifier.RESEND_FAILED, **wanted)
            made += answer.notifications
            bar.update(task, completed=len(made), count=f"{len(made):,}")
            more = answer.more
            wanted["failed_before"] = answer.failed_before.isoformat()
    return made


@notifications.command("cancel")
def cancel(
    ctx: typer.Context,
    notification_id: Annotated[str, typer.Argument(metavar="NOTIFICATION", help="ntf_….")],
    as_json: TableAsJson = False,
) -> None:
    """Keep an email that waits from being sent. Too late once it is on its way.

    Example: portico notifications cancel ntf_6x0Q
    """
    done = ask_once(ctx, notifier.CANCEL, notification_id=notification_id)
    answer(done, f"{done.notification_id} will not be sent.", as_json=as_json)
