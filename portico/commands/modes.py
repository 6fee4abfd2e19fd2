"""`portico observe` and `portico go-live`: a business that only looks, and the line from which on everything counts."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import typer

from portico.cli.context import FINDING, USAGE, Stop, context_of
from portico.cli.options import AsJson, Yes
from portico.cli.output import answer, as_moment, confirm, print_json, progress_bar
from portico.cli.rpc import Caller, ask
from portico.commands.preview import Shown, show_rows, show_totals
from portico.figures import few, number_of
from portico.observing.accepting import PORTION, BadList, Chosen, accept, choose, read_ids
from portico.observing.reading import Charge, Mail, Reading
from portico.observing.totals import Totals
from shared.contracts.rpc import notifier, portal
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.modes import BusinessMode
from shared.mode import LIVE, OBSERVE
from shared.terminal import complain, one_line, say

EVERYWHERE: Final = "at portal, billing and notifier, and start them anew"
ALL: Final = "all"
MOST_NAMED: Final = 20
"""Businesses that a message names."""

Business = Annotated[
    str | None, typer.Option("--business", metavar="ID", help="Your id of the business.")
]


def observe(ctx: typer.Context, business: Business = None, as_json: AsJson = False) -> None:
    """Let a business observe: everything is taken in and decided as ever, and nothing is mailed, charged or sent to hosts for it.

    A link that a customer asks for is mailed, and their click still opens Stripe's page. What would have gone is kept: `portico preview`
    shows it. `portico go-live` ends it. MODE=observe does the same for the whole installation.

    Example: portico observe --business sunrise-cleaning
    """
    if business is None:
        raise Stop(
            USAGE,
            "name a --business; for the whole installation set MODE=observe " + EVERYWHERE,
        )
    with context_of(ctx).calling() as call:
        before = _mode(call, business)
        now = ask(call, portal.SET_MODE, business_id=business, mode=OBSERVE)
    text = f"{now.name} observes already: portico preview --business {business}"
    if before.mode != OBSERVE:
        text = f"{now.name} observes: nothing is mailed or charged for it. What would have been: portico preview --business {business}"
    answer(now, text, as_json=as_json)


def go_live(
    ctx: typer.Context,
    business: Business = None,
    accept_: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="all|FILE",
            help="Send what was observed: all of it, or the emails of a file that `preview --json` wrote, or that has an id a line.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Draw a business's line: what happens from now on is mailed and charged. Nothing that was observed goes out by that.

    What is older is offered: how much, about whom, and what became of it. With --accept it is sent, exactly what is named and each email
    once; each is looked at again just before, so nothing goes about an invoice that is paid or voided by now. When a single id is wrong
    nothing is done; what was accepted before is left out, so a run that was cut can be repeated. Charges that were not made are made by
    nobody but Stripe's own retries. A business that is live already keeps its line.

    Example: portico go-live --business sunrise-cleaning --accept all
    """
    wanted = _wanted(accept_)
    with context_of(ctx).calling(timeout=60) as call:
        if business is None:
            raise Stop(USAGE, _which(call))
        mode = _mode(call, business)
        if accept_ is not None and mode.installation_observes:
            raise Stop(
                USAGE,
                f"the whole installation observes: set MODE=live {EVERYWHERE}, then accept; nothing was done",
            )
        totals, shown, offered = _offer(call, business)
        chosen = choose(call, offered, wanted) if accept_ is not None else Chosen(offered, [])
        _refuse_wrong(chosen)
        drawn = mode.mode != LIVE or mode.live_since is None or mode.installation_observes
        unwelcomed = ask(call, notifier.WELCOMES, business_id=business).waiting if drawn else 0
        if not as_json:
            _show_offer(mode, totals, shown)
            if drawn and not mode.observed:
                say(
                    f"{mode.name} is live as it is, and never observed. A line drawn now leaves unsent what happened before and still waits to be mailed."
                )
            _show_unwelcomed(mode, unwelcomed)
            _show_chosen(chosen, asked=accept_ is not None)
        if not yes and (drawn or chosen.ids):
            confirm(_question(mode, chosen, drawn=drawn))
        if drawn:
            mode = ask(call, portal.SET_MODE, business_id=business, mode=LIVE)
        accepted = _accept(call, chosen)
    if as_json:
        print_json(
            {
                **plain(mode),
                "drawn": drawn,
                "offered": totals.view(),
                "accepted": accepted,
                "not_owed_any_more": chosen.over,
                "accepted_before": list(chosen.before),
                "welcomes_taken_off": unwelcomed,
            }
        )
        return
    _conclude(
        mode, business, accepted, left=len(offered) - len(chosen.ids), asked=accept_ is not None
    )


def _wanted(accept_: str | None) -> list[str] | None:
    if accept_ is None or accept_ == ALL:
        return None
    try:
        return read_ids(Path(accept_))
    except BadList as error:
        raise typer.BadParameter(str(error), param_hint="--accept") from None


def _mode(call: Caller, business: str) -> BusinessMode:
    return ask(call, portal.BUSINESSES_MODES, business_id=business)[0]


def _which(call: Caller) -> str:
    """What to do where no business is named."""
    found = ask(call, portal.BUSINESSES_MODES)
    if any(one.installation_observes for one in found):
        return (
            "the whole installation observes, by MODE=observe. Let each business observe by itself (portico observe --business ID), set "
            f"MODE=live {EVERYWHERE}, then let one after the other go live: portico go-live --business ID"
        )
    observing = [one.business_id for one in found if one.mode == OBSERVE]
    shown = few(observing, MOST_NAMED)
    return f"name a --business; {f'these observe: {shown}' if observing else 'none observes'}"


def _offer(call: Caller, business: str) -> tuple[Totals, Shown, dict[str, bool]]:
    """What was observed of a business: counted, the first rows, and every email's id with whether nothing is owed any more."""
    reading, totals, shown = Reading(call, business=business), Totals(), Shown()
    offered: dict[str, bool] = {}
    with progress_bar("count") as bar:
        task = bar.add_task("observed", total=None, count="")
        for number, one in enumerate(chain[Mail | Charge](reading.mails(), reading.charges()), 1):
            totals.add(one)
            shown.keep(one)
            if isinstance(one, Mail):
                offered[one.id] = one.invoice is not None and one.invoice.over
            bar.update(task, completed=number, count=f"{number:,}")
    return totals, shown, offered


def _refuse_wrong(chosen: Chosen) -> None:
    """Raises Stop with every id that can't be sent, and why."""
    if chosen.wrong:
        lines = [f"{one_line(id)}: {reason}" for id, reason in chosen.wrong.items()]
        raise Stop(FINDING, "\n".join([*lines, "nothing was done: take these out, and try again"]))


def _show_offer(mode: BusinessMode, totals: Totals, shown: Shown) -> None:
    if not totals.mails and not totals.charges:
        say(f"{mode.name} has nothing that was observed and not sent.")
        return
    say(f"Observed of {mode.name}, and not sent:")
    show_totals(totals)
    show_rows(shown, totals)


def _show_unwelcomed(mode: BusinessMode, waiting: int) -> None:
    if waiting:
        say(
            f"{number_of(waiting, 'customer')} of {mode.name} {'wait' if waiting > 1 else 'waits'} to be welcomed, asked for before it observed. "
            f"The line takes them off the queue; to ask for them again then: portico customers welcome --business {mode.business_id}"
        )


def _show_chosen(chosen: Chosen, *, asked: bool) -> None:
    for id in chosen.before:
        complain(f"{one_line(id)}: accepted before, left out")
    if asked and chosen.over:
        say(
            f"{number_of(chosen.over, 'email')} of the chosen ones: paid or voided meanwhile, not to be sent"
        )


def _question(mode: BusinessMode, chosen: Chosen, *, drawn: bool) -> str:
    send = f"send {number_of(len(chosen.ids), 'email')}" if chosen.ids else ""
    live = f"let {mode.name} go live now" if drawn else ""
    question = " and ".join(one for one in (live, send) if one)
    return f"{question[0].upper()}{question[1:]}?"


def _accept(call: Caller, chosen: Chosen) -> int:
    done = 0
    if not chosen.ids:
        return done
    with progress_bar("count") as bar:
        task = bar.add_task("accepted", total=len(chosen.ids), count="")
        for number in accept(call, chosen.ids):
            done += number
            bar.update(task, advance=PORTION, count=f"{done:,}")
    return done


def _conclude(mode: BusinessMode, business: str, accepted: int, *, left: int, asked: bool) -> None:
    line = as_moment(mode.live_since)
    if mode.observed:
        say(
            f"The line of {mode.name} is drawn at {line} (UTC), and it observes on: the whole installation does, by MODE=observe. Set "
            f"MODE=live {EVERYWHERE}. What happens until then is observed, and stays so: to leave nothing out, let {mode.name} observe by itself "
            f"first (portico observe --business {business}), and go live once MODE=live is set."
        )
    else:
        say(
            f"{mode.name} has been live since {line} (UTC): what happens from then on is mailed and charged."
        )
    if asked and not accepted:
        say("No email was left to send: nothing goes out.")
    elif asked:
        say(f"{number_of(accepted, 'email')} accepted: each is looked at again, and goes out now.")
    if left:
        say(
            f"{number_of(left, 'email')} from before {'stay' if left > 1 else 'stays'} unsent. All: portico go-live --business {business} --accept all; "
            f"some: portico preview --business {business} --json"
        )
