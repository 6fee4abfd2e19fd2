"""`portico deadletters`: what a consumer gave up, and what a person does about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from portico.cli.context import FINDING, UNAVAILABLE, USAGE, Stop, context_of
from portico.cli.options import TableAsJson, Yes
from portico.cli.output import as_moment, confirm, print_json, print_table
from portico.cli.rpc import Fault, Unavailable, broker_trouble
from shared.messaging.amqp import BROKER_ERRORS, Unroutable
from shared.messaging.deadletters import DeadLetter, DeadLetters, queues
from shared.settings import Reader
from shared.terminal import complain, one_line, say

app = typer.Typer(
    help="Messages that a consumer gave up: look, replay, discard.", no_args_is_help=True
)

Queue = Annotated[
    str | None,
    typer.Option(
        metavar="QUEUE",
        help="Only of this queue, such as notifier.billing-events.",
        autocompletion=queues,
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY...", help="As `list` shows them: the events' ids, or body:…."),
]
Everything = Annotated[bool, typer.Option("--all", help="All of the queue, or of every queue.")]


@contextmanager
def broker(ctx: typer.Context) -> Iterator[DeadLetters]:
    """The dead letters of the broker that AMQP_URI names. Raises SettingsError, Unavailable."""
    reader = Reader(context_of(ctx).environ)
    uri = reader.amqp_uri()
    reader.done()
    if uri.reveal().startswith("embedded"):
        raise Unavailable("AMQP_URI is embedded://: that broker lives inside `make run`'s process")
    try:
        yield DeadLetters(uri.reveal())
    except BROKER_ERRORS as error:
        raise Unavailable(broker_trouble(uri.reveal(), error)) from None


def names(letter: DeadLetter) -> set[str]:
    """What people may call a letter: its key, also as `list` shows it where the key itself could command a terminal."""
    return {letter.key, one_line(letter.key)}


def _check_queue(queue: str | None) -> list[str]:
    if queue is not None and queue not in queues():
        raise typer.BadParameter(
            f"no such queue; there are {', '.join(queues())}", param_hint="--queue"
        )
    return [queue] if queue else queues()


@app.command("list")
def list_letters(
    ctx: typer.Context,
    queue: Queue = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, oldest first.")] = 100,
    as_json: TableAsJson = False,
) -> None:
    """Dead letters with their time, the reason, the tries and where they came from. Looking changes nothing. Ends with 1 when
    there are any.

    Example: portico deadletters list --queue notifier.billing-events
    """
    _check_queue(queue)
    with broker(ctx) as letters:
        found = letters.look(queue, limit)
    if as_json:
        print_json([letter.view() for letter in found])
    else:
        print_table(
            (
                "given up (UTC)",
                "queue",
                "key",
                "x-attempt",
                "replays",
                "original routing key",
                "x-error",
            ),
            (
                (
                    as_moment(one.given_up_at),
                    one.queue,
                    one.key,
                    one.attempts,
                    one.replays,
                    one.routing_key,
                    one.reason,
                )
                for one in found
            ),
            empty="No dead letters.",
            under=4,
        )
    if found:
        raise typer.Exit(FINDING)


@app.command("show")
def show_letter(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `list` shows it.")],
    queue: Queue = None,
    as_json: TableAsJson = False,
) -> None:
    """One dead letter with its headers and its body.

    Example: portico deadletters show evt_1Nabc/invoice.payment_failed
    """
    _check_queue(queue)
    with broker(ctx) as letters:
        found = [letter for letter in letters.look(queue, 10_000) if key in names(letter)]
    if not found:
        raise Stop(FINDING, "there is no such dead letter")
    if as_json:
        print_json([letter.view(body=True) for letter in found])
        return
    for letter in found:
        fields = letter.view() | {"given_up_at": as_moment(letter.given_up_at)}
        print_table(("field", "value"), fields.items())
        say(letter.body.decode("utf-8", "replace"))


@app.command("replay")
def replay(
    ctx: typer.Context,
    keys: Keys = None,
    queue: Queue = None,
    everything: Everything = False,
    as_json: TableAsJson = False,
) -> None:
    """Give dead letters back to their queue. The broker confirms each before its dead letter goes, so none is lost;
    consumers know an event by its id, so none acts twice. Ends with 1 when a key is not found or its letter is too large to be
    replayed, with 3 when its queue is gone.

    Example: portico deadletters replay --queue notifier.billing-events --all
    """
    _move(ctx, keys, queue, everything, as_json, "replayed")


@app.command("discard")
def discard(
    ctx: typer.Context,
    keys: Keys = None,
    queue: Queue = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: TableAsJson = False,
) -> None:
    """Throw dead letters away for good.

    Example: portico deadletters discard body:4f0c2a9d11e0aa37 --yes
    """
    _check(keys, queue, everything)
    if not yes:
        confirm("Throw them away for good?")
    _move(ctx, keys, queue, everything, as_json, "discarded")


def _move(
    ctx: typer.Context,
    keys: list[str] | None,
    queue: str | None,
    everything: bool,
    as_json: bool,
    action: str,
) -> None:
    wanted = set(keys or [])
    chosen = _check(keys, queue, everything)
    met: list[DeadLetter] = []
    moved: list[DeadLetter] = []
    gone: list[str] = []

    def is_wanted(letter: DeadLetter) -> bool:
        hit = everything or bool(names(letter) & wanted)
        if hit:
            met.append(letter)
        return hit

    with broker(ctx) as letters:
        for name in chosen:
            try:
                moved += (letters.replay if action == "replayed" else letters.discard)(
                    name, is_wanted
                )
            except Unroutable:
                gone.append(name)
    note(ctx, moved, action)
    if as_json:
        print_json([letter.view() for letter in moved])
    for letter in () if as_json else moved:
        say(f"{action}: {one_line(letter.key)} ({letter.queue})")
    if everything and not met:
        complain(f"No dead letters: nothing was {action}.")
    problems = [
        f"too large to be replayed, its body is not whole: {one_line(letter.key)} ({letter.queue})"
        for letter in met
        if action == "replayed" and not letter.whole
    ]
    if lacking := wanted.difference(*map(names, met)):
        problems.append(f"not found: {one_line(', '.join(sorted(lacking)))}")
    problems += [
        f"there is no queue {name}: start {name.partition('.')[0]}, which makes it, then replay again; its dead letters stay"
        for name in gone
    ]
    if problems:
        raise Stop(UNAVAILABLE if gone else FINDING, "\n".join(problems))


def _check(keys: list[str] | None, queue: str | None, everything: bool) -> list[str]:
    """The queues that are meant. Raises Stop, typer.BadParameter."""
    if bool(keys) == everything:
        raise Stop(USAGE, "name keys, or say --all")
    return _check_queue(queue)


def note(ctx: typer.Context, moved: list[DeadLetter], action: str) -> None:
    """Tell billing what was done, for the events' stories; the work itself is done whether it answers or not."""
    if not moved:
        return
    try:
        with context_of(ctx).calling() as call:
            for letter in moved:
                call.call(
                    "billing",
                    "note_dead_letter",
                    queue=letter.queue,
                    event_id=letter.key,
                    action=action,
                    reason=letter.reason,
                    attempts=letter.attempts,
                )
    except (Fault, Unavailable) as error:
        complain(f"done, but not noted for `portico explain`: {one_line(str(error))}")
