"""`portico preview`: what would have gone to whom, and why, while a business observes."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from portico.cli.context import context_of
from portico.cli.durations import since
from portico.cli.options import OneBusiness
from portico.cli.output import (
    JsonDocument,
    as_moment,
    check_file,
    console,
    literal,
    print_table,
    progress_bar,
)
from portico.cli.rpc import ask
from portico.figures import money, number_of
from portico.observing.page import Page
from portico.observing.reading import Charge, Mail, Observed, Reading
from portico.observing.totals import ENDS, Sums, Totals
from shared.clock import utc_now
from shared.contracts.rpc import portal
from shared.terminal import complain

MOST_SHOWN: Final = 30
"""Rows of a table for people."""
One = TypeVar("One", Mail, Charge)


@dataclass
class Shown:
    """What people see: the totals, and the first rows."""

    mails: list[Mail] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)

    def keep(self, one: Mail | Charge) -> None:
        """Keep it while there are few."""
        if isinstance(one, Mail) and len(self.mails) < MOST_SHOWN:
            self.mails.append(one)
        elif isinstance(one, Charge) and len(self.charges) < MOST_SHOWN:
            self.charges.append(one)


def preview(
    ctx: typer.Context,
    since_: Annotated[
        str,
        typer.Option("--since", help="What would have gone from then on: 7d, 12h, or an ISO time."),
    ] = "7d",
    business: OneBusiness = None,
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Show customers' addresses whole; else masked.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page to this file; it needs nothing else, and prints well."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON document with every row, which `go-live --accept` takes."
        ),
    ] = False,
) -> None:
    """What would have gone to whom, and why, while a business observes: emails, charges, money, and what Stripe did meanwhile.

    Nothing is sent or charged by looking. An email of which the invoice is paid or voided by now would not go any more. Money of an
    invoice counts once, however many emails were about it, and is not added up over currencies. File and output name customers: keep
    them as you keep your customers' data.

    Example: portico preview --since 7d --html preview.html
    """
    now = utc_now()
    start = since(since_, now)
    check_file(html, "--html")
    with context_of(ctx).calling(timeout=60) as call:
        title = "What would have gone out"
        if business is not None:
            (found,) = ask(call, portal.BUSINESSES_MODES, business_id=business)
            title = f"{found.name}: what would have gone out"
        reading = Reading(call, start, business, addresses)
        with Page(title, start, now) if html else nullcontext() as page:
            totals, shown = _read(reading, page, as_json=as_json, until=now)
            if page is not None and html is not None:
                try:
                    page.write(html, totals)
                except OSError as error:
                    raise typer.BadParameter(
                        f"{html}: {error.strerror}", param_hint="--html"
                    ) from None
    if not as_json:
        show(shown, totals, start)
    if html is not None:
        complain(f"written: {html}")


def _read(
    reading: Reading, page: Page | None, *, as_json: bool, until: dt.datetime
) -> tuple[Totals, Shown]:
    """Read everything once, for all that is made of it."""
    totals, shown = Totals(), Shown()
    document = JsonDocument() if as_json else None
    with progress_bar("count") as bar:

        def each(name: str, found: Iterable[One]) -> Iterator[One]:
            task = bar.add_task(name, total=None, count="")
            for number, one in enumerate(found, 1):
                totals.add(one)
                shown.keep(one)
                if page is not None:
                    page.add(one)
                bar.update(task, completed=number, count=f"{number:,}")
                yield one

        mails, charges = each("emails", reading.mails()), each("charges", reading.charges())
        if document is not None:
            document.put("since", reading.since)
            document.put("until", until)
            document.put("business_id", reading.business)
            document.put_each("notifications", (one.view() for one in mails))
            document.put_each("charges", (one.view() for one in charges))
            document.put("totals", totals.view())
            document.close()
        else:
            deque(chain[Mail | Charge](mails, charges), maxlen=0)
    return totals, shown


def show(shown: Shown, totals: Totals, start: dt.datetime) -> None:
    """The totals and the first rows, for people."""
    out = console()
    out.print(f"[bold]What would have gone out[/bold] since {as_moment(start)} (UTC)\n")
    if not totals.mails and not totals.charges:
        out.print("Nothing: nobody was observed, or nothing happened.")
        return
    show_totals(totals)
    show_rows(shown, totals)


def show_rows(shown: Shown, totals: Totals) -> None:
    """The first rows, for people, and how many there are besides."""
    if shown.mails:
        print_table(
            ("would have gone (UTC)", "to", "why", "amount", "meanwhile", "invoice"),
            ((as_moment(one.at), one.to, one.why, *_about(one)) for one in shown.mails),
        )
    if shown.charges:
        print_table(
            ("would have been charged (UTC)", "customer", "amount", "meanwhile", "invoice"),
            ((as_moment(one.at), one.to, *_about(one)) for one in shown.charges),
        )
    left = totals.mails + totals.charges - len(shown.mails) - len(shown.charges)
    if left:
        console().print(f"and {left:,} more: --html or --json shows all")


def show_totals(totals: Totals) -> None:
    """How many, about how much, and what became of it."""
    out = console()
    out.print(
        f"{number_of(totals.mails, 'email')} about {number_of(totals.customers, 'customer')}: {_sums(totals.owed)}"
    )
    for why, count in totals.kinds.most_common():
        out.print(f"  {count:>9,}  {literal(why)}")
    if totals.charges:
        out.print(
            f"{number_of(totals.charges, 'charge')} to a new payment method: {_sums(totals.charged)}"
        )
    for sums in (totals.owed, totals.charged):
        ends = [
            f"{sums.invoices[end]:,} {end} ({', '.join(sums.of(end)) or '–'})"
            for end in ENDS
            if sums.invoices[end]
        ]
        if ends:
            name = "invoices" if sums is totals.owed else "charged invoices"
            out.print(literal(f"meanwhile, of the {name}: {', '.join(ends)}"))


def _sums(sums: Sums) -> str:
    return literal(", ".join(sums.of()) or "no money")


def _about(one: Observed) -> tuple[str, str, str]:
    invoice = one.invoice
    if invoice is None:
        return "", "", ""
    return money(invoice.amount, invoice.currency), invoice.end, invoice.number or invoice.id
