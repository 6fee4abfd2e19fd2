"""billing's part of `portico`: what Stripe told us, and charging an invoice now."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

import typer

from portico.cli.context import FINDING, OK, UNAVAILABLE, ask_once, context_of, exit_of
from portico.cli.durations import since
from portico.cli.faults import worded
from portico.cli.names import arguments_of
from portico.cli.options import TableAsJson
from portico.cli.output import answer, as_moment, print_json, print_list, print_table, progress_bar
from portico.cli.rpc import Fault, Unavailable, ask, operator, pages
from portico.cli.waiting import when_free
from shared.clock import utc_now
from shared.contracts.accounts import OWN, account_argument, in_account, read_name
from shared.contracts.rpc import billing
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import ReconciliationRunning
from shared.terminal import complain, one_line, say

Done = TypeVar("Done")

events = typer.Typer(
    help="Stripe events: what came in, translating one again, closing one, and publishing again what a queue lost.",
    no_args_is_help=True,
)
invoices = typer.Typer(help="Invoices at Stripe.", no_args_is_help=True)

APART = ("published", "payload")
"""What `show` has below its table."""


@events.command("list")
def list_events(
    ctx: typer.Context,
    status: Annotated[
        Literal["translated", "ignored", "quarantined", "closed", "connected", "thin"] | None,
        typer.Option(
            help="Only those that were translated, ignored or quarantined, closed after that by a person, are of connected accounts, or thin."
        ),
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this type, such as invoice.payment_failed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 30,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT|TIME",
            help="Only what came before this event, evt_…, or before 3d ago, 12h ago, an ISO time: the next page.",
        ),
    ] = None,
    as_json: TableAsJson = False,
) -> None:
    """Stripe events as they were stored, newest first. Where there are more, the next page's `--before` is told on standard error.

    Example: portico events list --status quarantined
    """
    moment = None
    if before is not None and not read_name(before).id.startswith("evt_"):
        moment = since(before, utc_now(), name="--before")
    with context_of(ctx).calling() as call:
        page: dict[str, Any] = {"before": moment.isoformat()} if moment else {}
        if before is not None and moment is None:
            last = ask(call, billing.INBOX_EVENT, payload=False, **arguments_of(event_id=before))
            page = {"before": last.received_at.isoformat(), "before_id": read_name(before).id}
        found = ask(call, billing.INBOX_EVENTS, status=status, type=type_, limit=limit, **page)
    if len(found) == limit:
        complain(f"There may be more: --before {_name(found[-1])}")
    print_list(
        found,
        ("received (UTC)", "event", "type", "status", "reason"),
        lambda row: (
            as_moment(row.received_at),
            _name(row),
            row.type,
            row.status,
            row.closed_reason if row.status == "closed" else row.reason,
        ),
        as_json=as_json,
        empty="No event is stored that matches.",
        under=1,
    )


def _name(row: billing.InboxEvent) -> str:
    return in_account(row.account or OWN, row.event_id)


@events.command("show")
def show_event(
    ctx: typer.Context,
    event_id: Annotated[
        str, typer.Argument(metavar="EVENT", help="Stripe's id, evt_…, or acct_…/evt_….")
    ],
    payload: Annotated[
        bool, typer.Option("--payload", help="The stored body too; it holds personal data.")
    ] = False,
    as_json: TableAsJson = False,
) -> None:
    """One stored Stripe event: deliveries, translation, and what was published of it.

    Example: portico events show evt_1Nabc
    """
    found = ask_once(ctx, billing.INBOX_EVENT, payload=payload, **arguments_of(event_id=event_id))
    if as_json:
        print_json(found)
        return
    fields = {name: value for name, value in plain(found, "Z").items() if name not in APART}
    print_table(("field", "value"), fields.items())
    print_table(
        ("our event", "queued", "published", "tries", "error"),
        (
            (
                one.type,
                as_moment(one.created_at),
                as_moment(one.published_at),
                one.attempts,
                one.last_error,
            )
            for one in found.published
        ),
        empty="Nothing was published of it.",
    )
    if payload:
        say(found.payload or "(no body is kept of this event)")


@events.command("replay")
def replay_event(
    ctx: typer.Context,
    event_ids: Annotated[list[str], typer.Argument(metavar="EVENT...", help="Stripe's ids.")],
    as_json: TableAsJson = False,
) -> None:
    """Translate stored events again, as after an upgrade that understands them. What was said is not said again. One that was
    closed is open again if it still can't be read.

    Each is told of, whatever becomes of the others. Ends with 1 when one is still quarantined, or was never stored.

    Example: portico events replay evt_1Nabc evt_1Ndef
    """
    with context_of(ctx).calling() as call:
        done, refused, code = _each(
            event_ids,
            "replayed",
            lambda event_id: ask(call, billing.REPLAY, **arguments_of(event_id=event_id)),
        )
    if any(one.status == "quarantined" for one in done):
        code = max(code, FINDING)
    if as_json:
        print_json([*done, *({"event_id": one, "error": str(fault)} for one, fault in refused)])
    elif done:
        print_table(
            ("event", "status", "newly queued", "reason"),
            ((one.event_id, one.status, ", ".join(one.queued), one.reason) for one in done),
            under=1,
        )
    _complain_of(refused)
    raise typer.Exit(code)


def _each(
    event_ids: Iterable[str], verb: str, do: Callable[[str], Done]
) -> tuple[list[Done], list[tuple[str, Fault]], int]:
    """Do the same with each event, whatever becomes of the others: the answers, what was refused with the error, the exit code."""
    done: list[Done] = []
    refused: list[tuple[str, Fault]] = []
    code = OK
    for event_id in dict.fromkeys(event_ids):
        try:
            done.append(do(event_id))
        except Fault as fault:
            refused.append((event_id, fault))
            code = max(code, exit_of(fault.error))
        except Unavailable as error:
            complain(f"{one_line(event_id)} and what follows it was not {verb}: {error}")
            return done, refused, UNAVAILABLE
    return done, refused, code


def _complain_of(refused: Iterable[tuple[str, Fault]]) -> None:
    for event_id, fault in refused:
        said = worded(fault)
        complain(one_line(said if event_id in said else f"{event_id}: {said}"))


@events.command("close")
def close_event(
    ctx: typer.Context,
    event_ids: Annotated[list[str], typer.Argument(metavar="EVENT...", help="Stripe's ids.")],
    reason: Annotated[str, typer.Option(help="Why nothing more is to be done; kept and logged.")],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who closes it, for the record; else who runs the command.",
            show_default=False,
        ),
    ] = None,
    as_json: TableAsJson = False,
) -> None:
    """Close quarantined events that somebody has looked at: nothing more is to be done, and they are forgotten after 90 days.

    Closed again, the first reason stays. `portico events replay` opens one again. Each is told of, whatever becomes of the
    others. Ends with 1 when one was not quarantined, or was never stored.

    Example: portico events close evt_1Nabc --reason "sent by our own test, no customer"
    """
    desk = context_of(ctx)
    who = by if by is not None else operator(desk.environ)
    with desk.calling() as call:
        done, refused, code = _each(
            event_ids,
            "closed",
            lambda event_id: ask(
                call, billing.CLOSE_EVENT, reason=reason, by=who, **arguments_of(event_id=event_id)
            ),
        )
    if as_json:
        print_json([*done, *({"event_id": one, "error": str(fault)} for one, fault in refused)])
    elif done:
        closed = (
            (one.event_id, one.status, as_moment(one.closed_at), one.closed_by, one.closed_reason)
            for one in done
        )
        print_table(("event", "status", "closed (UTC)", "by", "reason"), closed, under=2)
    _complain_of(refused)
    raise typer.Exit(code)


@events.command("republish")
def republish(
    ctx: typer.Context,
    queue: Annotated[
        str, typer.Option(help="The queue that lost them, such as notifier.billing-events.")
    ],
    since_: Annotated[
        str,
        typer.Option(
            "--since",
            help="Events that were published from then on: 12h, 3d, or an ISO time. At most 45 days back.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    as_json: TableAsJson = False,
) -> None:
    """Give a service once more what its queue was sent: after somebody deleted the queue, or a broker came back empty.

    The service acts on what it had not seen, so it is safe to repeat, and to begin too early. Others hear nothing of it.

    Example: portico events republish --queue notifier.billing-events --since 12h
    """
    now = utc_now()
    wanted = {
        "queue": queue,
        "since": since(since_, now).isoformat(),
        "until": now.isoformat(),
    }
    with context_of(ctx).calling(timeout=60) as call:
        total = ask(call, billing.REPUBLISH, **wanted, dry_run=True).events
        if not dry_run:
            with progress_bar("count") as bar:
                task = bar.add_task("events", total=total, count="")
                done = 0
                for page in pages(call, billing.REPUBLISH, 0, **wanted):
                    done += page.events
                    bar.update(task, completed=done, count=f"{done:,}")
            total = done
    text = f"{total:,} events {'would go' if dry_run else 'went'} into {queue} once more."
    answer({"queue": queue, "events": total, "dry_run": dry_run}, text, as_json=as_json)


def reconcile(
    ctx: typer.Context,
    since_: Annotated[
        str,
        typer.Option(
            "--since", help="How far back: 3d, 12h, or an ISO time. Stripe keeps 30 days."
        ),
    ] = "3d",
    account: Annotated[
        str,
        typer.Option(
            metavar="acct_…", help="Of this connected account; else our own.", show_default=False
        ),
    ] = OWN,
    as_json: TableAsJson = False,
) -> None:
    """Ask Stripe for events that never reached us, and take them as if they had. Safe to repeat.

    Where another one has the log it says until when, and waits for one that was killed, two minutes at the most. Ends with 1 where that one
    is at work.

    Example: portico reconcile --since 3d
    """
    start = since(since_, utc_now())
    with context_of(ctx).calling(timeout=600) as call:
        wanted = {"since": start.isoformat(), **account_argument(account)}
        found = when_free(
            lambda: ask(call, billing.RECONCILE, **wanted),
            ReconciliationRunning,
            account or "own account",
        )
    text = (
        f"{found.seen} events seen at Stripe, {found.new} of them new to us, "
        f"{found.swept} unpaid invoices that nobody was told about; "
        f"{found.older} older ones that were unpaid before Portico ran here, told to nobody."
    )
    answer(found, text, as_json=as_json)


OUTCOMES = {
    "paid": "paid",
    "already_paid": "paid already",
    "processing": "on its way; the outcome takes days",
    "declined": "declined",
    "authentication_required": "not paid: the customer has to confirm it with their bank",
}
SETTLED = ("paid", "already_paid", "processing")


@invoices.command("collect")
def collect(
    ctx: typer.Context,
    invoice_id: Annotated[
        str, typer.Argument(metavar="INVOICE", help="Stripe's id, in_…, or acct_…/in_….")
    ],
    as_json: TableAsJson = False,
) -> None:
    """Charge an invoice now, with the payment method that Stripe would choose.

    Also one that is collected no more: marked as uncollectible, of a subscription that has ended, or with automatic
    collection turned off. Portico never does that by itself. The customer gets no email when it fails; they and the business
    hear when it is paid, if they were told that it was not. Refused while the business observes.

    Example: portico invoices collect in_1Nabc
    """
    with context_of(ctx).calling(timeout=60) as call:
        done = ask(
            call,
            billing.COLLECT_INVOICE,
            **arguments_of(invoice_id=invoice_id),
            request_id=secrets.token_urlsafe(12),
        )
    from shared.l10n.locales import ENGLISH
    from shared.l10n.money import money

    amount = money(done.amount, done.currency, ENGLISH)
    why = f" ({done.detail})" if done.detail else ""
    text = f"{invoice_id}: {amount} {OUTCOMES.get(done.outcome, done.outcome)}{why}"
    answer(done, text, as_json=as_json)
    raise typer.Exit(OK if done.outcome in SETTLED else FINDING)
