"""`portico stripe import`: who bills already comes in with all that Stripe has."""

from __future__ import annotations

import csv
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from portico.cli.context import FINDING, Stop, context_of
from portico.cli.faults import worded
from portico.cli.options import AsJson, Yes
from portico.cli.output import check_file, confirm, print_json, progress_bar
from portico.cli.rpc import Caller, Fault, ask
from portico.cli.waiting import when_free
from portico.commands.connect import account_pages
from portico.figures import number_of
from shared.contracts.accounts import OWN, account_argument
from shared.contracts.rpc import imports
from shared.contracts.rpc.errors import ImportRunning
from shared.terminal import complain, one_line, say

PAGE: Final = 500
HELD: Final = {
    imports.LIVE_WORK: "live work has taken what may be read of Stripe (STRIPE_LOOK_RATE); a quarter of that is the import's in any case",
    imports.OUTBOX: "events wait in billing's outbox, and go first",
    imports.STRIPE: "Stripe says that there are too many requests",
}
"""What an import waits for."""
HELD_SECONDS: Final = 30.0
"""An import that has read no page for so long says why."""
TIMEOUT: Final = 120.0
TOLD: Final = {
    "no_email": "without an email address: they can't be written to",
    "same_email": "share an email address with another: look at them before you accept one",
    "deleted": "deleted at Stripe",
    "long_name": "with a name of over 200 characters, which is cut",
    "unknown_locale": "with a language that nothing is written in",
    "unreadable": "with something that Portico can't read, which is left out",
}


def import_accounts(
    ctx: typer.Context,
    account: Annotated[
        str,
        typer.Option(
            metavar="acct_…", help="This account; else the installation's own.", show_default=False
        ),
    ] = OWN,
    all_: Annotated[
        bool, typer.Option("--all", help="Every account that is served, one after another.")
    ] = False,
    yes: Yes = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write each customer of whom there is something to tell, as CSV."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take in the customers, subscriptions and open invoices that Stripe has already. Nobody is mailed for it, and nothing is charged.

    It tells first how many reads of the month's allowance that takes, about, and asks. Live work goes first: it reads with what is left of
    STRIPE_LOOK_RATE, a quarter of that at least, and waits when Stripe says so. Where it waits for long it says for what. Stopped or killed it goes on where it was when it is run again, after some seconds, for
    which it waits; run after its end, it takes all in anew, and nothing is there twice. What is worth telling of single customers comes last.

    Ends with 1 where another import of the account is under way, or the key may not read what is needed: nothing was read then. With --all
    such an account is told and left out, and the others are imported.

    Example: portico stripe import --yes --report import.csv
    """
    if all_ and account:
        raise typer.BadParameter("give --account or --all, one of them", param_hint="--account")
    check_file(report, "--report")
    left: list[str] | None = [] if all_ else None
    with context_of(ctx).calling(timeout=TIMEOUT) as call:
        plans = _plans(call, list(_served(call)) if all_ else [account], left)
        if plans and not yes:
            confirm("Import?")
        done = _import_each(call, plans, left)
        counts = _report(call, [each["account"] for each in done], report)
    for each in done:
        each["findings"] = dict(counts[each["account"]])
    if as_json:
        print_json(done)
    else:
        _show(done, report)
    if left:
        complain(
            f"left out: {', '.join(map(_shown, left))}; what was wrong with each is told above"
        )
        raise typer.Exit(FINDING)


def _plans(
    call: Caller, accounts: list[str], left: list[str] | None
) -> list[tuple[str, imports.ImportPlan]]:
    plans = []
    for name in accounts:
        with _left_out(name, left):
            plans.append((name, _plan(call, name)))
    return plans


def _import_each(
    call: Caller, plans: list[tuple[str, imports.ImportPlan]], left: list[str] | None
) -> list[dict[str, Any]]:
    done = []
    with progress_bar("count") as bar:
        for name, plan in plans:
            with _left_out(name, left):
                done.append(_import(call, name, plan, bar))
    return done


@contextmanager
def _left_out(account: str, left: list[str] | None) -> Iterator[None]:
    """Where there are others (`left` is a list), what stops this account's import stops none of theirs: it is told, and the account
    noted there."""
    try:
        yield
    except (Stop, Fault) as error:
        if left is None:
            raise
        told = (
            str(error)
            if isinstance(error, Stop)
            else f"{_shown(account)}: {one_line(worded(error))}"
        )
        complain(told)
        left.append(account)


def _objects(customers: int, subscriptions: int, invoices: int) -> str:
    counts = ((customers, "customer"), (subscriptions, "subscription"), (invoices, "open invoice"))
    return ", ".join(number_of(count, thing) for count, thing in counts)


def _show(done: list[dict[str, Any]], report: Path | None) -> None:
    for each in done:
        say(
            f"{_shown(each['account'])}: {_objects(each['customers'], each['subscriptions'], each['invoices'])}, "
            f"with {number_of(each['reads'], 'read')}"
        )
        for word, number in sorted(each["findings"].items()):
            say(f"  {number:,} {TOLD.get(word, word)}")
    if report is not None:
        complain(f"each of them is in {report}")


def _served(call: Caller) -> Iterator[str]:
    yield OWN
    for page in account_pages(call):
        yield from (one.account for one in page.accounts if one.served)


def _shown(account: str) -> str:
    return account or "own account"


def _plan(call: Caller, account: str) -> imports.ImportPlan:
    """What an import will read, told. Raises Stop where the key may not."""
    plan = ask(call, imports.IMPORT_PLAN, **account_argument(account))
    if plan.lacking:
        raise Stop(
            FINDING,
            f"{_shown(account)}: the key may not read {', '.join(plan.lacking)}: give it these rights in Stripe's dashboard "
            "(Developers, API keys), and import again. Nothing was imported.",
        )
    mode = "live" if plan.livemode else "test"
    owner = "its own key's" if plan.own_key else "the month's"
    allowance = "" if plan.own_key else f" of {plan.pool:,}, of which {plan.pool_used:,} are used"
    complain(
        f"{_shown(account)} ({mode} mode), by how fast they came: about "
        f"{_objects(plan.customers, plan.subscriptions, plan.invoices)}. To import them takes about {number_of(plan.reads, 'read')} of {owner} allowance{allowance}; "
        f"Portico then looks once at each open invoice, within STRIPE_LOOK_RATE."
    )
    if not plan.own_key and plan.reads + plan.invoices > plan.pool - plan.pool_used:
        complain("That is more than is left of the allowance: Stripe may refuse further reads.")
    if plan.unfinished is not None:
        complain(
            f"It goes on where it was, after {number_of(plan.unfinished.customers, 'customer')}."
        )
    return plan


def _import(
    call: Caller,
    account: str,
    plan: imports.ImportPlan,
    bar: Progress,
) -> dict[str, Any]:
    """Take in all pages; the counts of the whole import, earlier runs of it included. Raises Stop where another one is at it."""
    holder = secrets.token_urlsafe(12)
    before = plan.unfinished.reads if plan.unfinished else 0
    task = bar.add_task(_shown(account), total=before + plan.reads, completed=before, count="")

    def next_page() -> imports.ImportProgress:
        return ask(call, imports.IMPORT_PAGE, holder=holder, **account_argument(account))

    page = when_free(next_page, ImportRunning, _shown(account))
    patience = _Patience(_shown(account))
    while True:
        patience.look(page)
        total = max(before + plan.reads, page.reads + (page.what != "done"))
        number = page.customers + page.subscriptions + page.invoices
        bar.update(task, total=total, completed=page.reads, count=f"{number:,}")
        if page.what == "done":
            bar.update(task, total=page.reads)
            return {
                "account": account,
                "customers": page.customers,
                "subscriptions": page.subscriptions,
                "invoices": page.invoices,
                "events": page.events,
                "reads": page.reads,
            }
        if page.wait:
            time.sleep(page.wait)
        try:
            page = next_page()
        except Fault as fault:
            if fault.means(ImportRunning):  # it was taken over, while this one stood still
                raise Stop(FINDING, f"{_shown(account)}: {fault.message}") from None
            raise


class _Patience:
    """Says what an import waits for, once it has waited long, and once in such a time."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._since = time.monotonic()
        self._told = False

    def look(self, page: imports.ImportProgress) -> None:
        """Look at what a call came to."""
        if page.held is None:
            self._since, self._told = time.monotonic(), False
        elif not self._told and time.monotonic() - self._since >= HELD_SECONDS:
            self._told = True
            complain(
                f"{self._shown}: no page for {HELD_SECONDS:.0f} s: {HELD.get(page.held, page.held)}"
            )


def _report(call: Caller, accounts: list[str], file: Path | None) -> dict[str, Counter[str]]:
    """What is worth telling of each account's customers, counted; each of them a line of the file. A page at a time."""
    counts: dict[str, Counter[str]] = {account: Counter() for account in accounts}
    try:
        stream = file.open("w", encoding="utf-8", newline="") if file else None
    except OSError as error:
        raise Stop(
            FINDING, f"{file} can't be written ({error.strerror}); all is imported"
        ) from None
    try:
        writer = csv.writer(stream) if stream else None
        if writer:
            writer.writerow(("account", "stripe_customer_id", "finding"))
        for account in accounts:
            for one in _findings(call, account):
                counts[account].update(one.findings)
                if writer:
                    writer.writerows(
                        (account, one.stripe_customer_id, word) for word in one.findings
                    )
    finally:
        if stream:
            stream.close()
    return counts


def _findings(call: Caller, account: str) -> Iterator[imports.ImportFinding]:
    after = ""
    while True:
        page = ask(
            call, imports.IMPORT_FINDINGS, after=after, limit=PAGE, **account_argument(account)
        )
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].stripe_customer_id
