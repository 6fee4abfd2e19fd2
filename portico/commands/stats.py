"""`portico stats`: what became of failed charges, in the terminal and as a page of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from portico.charts import AMOUNTS, page
from portico.cli.context import context_of
from portico.cli.durations import since
from portico.cli.options import OneBusiness
from portico.cli.output import (
    check_file,
    console,
    literal,
    print_json,
    print_table,
    private_file,
)
from portico.cli.rpc import ask
from portico.figures import BAR, bar, duration, money
from shared.clock import utc_now
from shared.contracts.rpc import notifier, portal
from shared.contracts.rpc.notifier import Stats
from shared.terminal import complain

BESIDE_BAR: Final = 29
"""The columns before a bar."""


def stats(
    ctx: typer.Context,
    since_: Annotated[
        str,
        typer.Option("--since", help="From when on: 30d, 12w, or an ISO time; up to two years."),
    ] = "30d",
    business: OneBusiness = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with charts to this file; it needs nothing else, light and dark."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document instead of bars.")
    ] = False,
) -> None:
    """Failed autopay invoices and what became of them: mailed, delivered, recovered, lost; money; time to recover.

    Each invoice counts once, from its first failure on. Forgiven is let go by a credit note, lost is void or uncollectible. Money that was
    refunded later still counts as recovered: Stripe's reports tell of refunds. Money is not added up over currencies, nor converted: a --business's own currency stands first. A --business has figures of its own where it has a Stripe
    account, or its on_behalf_of, to itself.

    Example: portico stats --since 90d --html report.html
    """
    start = since(since_, utc_now())
    check_file(html, "--html")
    with context_of(ctx).calling(timeout=30) as call:
        whose: dict[str, str] = {}
        currency: str | None = None
        if business is not None:
            merchant = ask(call, portal.BUSINESS_ACCOUNTS, business_id=business)[0]
            whose = {"account": merchant.account, "on_behalf_of": merchant.on_behalf_of}
            currency = merchant.currency
            if not any(whose.values()):
                complain(
                    f"{business} is on the installation's own account: these are the figures of all businesses there"
                )
        found = in_first(ask(call, notifier.STATS, since=start.isoformat(), **whose), currency)
    if html is not None:
        try:
            with private_file(html) as stream:
                stream.write(page(found))
        except OSError as error:
            raise typer.BadParameter(f"{html}: {error.strerror}", param_hint="--html") from None
    if as_json:
        print_json(found)
        return
    show(found, currency)
    if html is not None:
        complain(f"written: {html}")


def in_first(found: Stats, currency: str | None) -> Stats:
    """The figures with those of a business's own currency before the others, which keep their order."""
    ordered = sorted(found.currencies, key=lambda row: row.currency != currency)
    return replace(found, currencies=ordered)


def show(found: Stats, currency: str | None = None) -> None:
    """The numbers for people, with what came in in `currency` by itself."""
    out = console()
    out.print(
        f"[bold]Failed autopay invoices[/bold] from {f'{found.since:%Y-%m-%d}'} to {f'{found.until:%Y-%m-%d}'} (UTC)\n"
    )
    if not found.failed:
        out.print("None failed.")
        return
    widest = max(1, min(BAR, out.width - BESIDE_BAR))
    came_in = {row.currency: row.recovered_amount for row in found.currencies}
    own = [] if currency is None else [money(came_in.pop(currency, 0), currency)]
    others = [money(amount, name) for name, amount in came_in.items() if amount]
    beside = f" and beside it, not converted: {', '.join(others)}" if own and others else ""
    out.print(
        f"money recovered: [bold]{literal(', '.join(own or others) or '–')}[/bold]{literal(beside)}\n"
    )
    for name, colour in (
        ("failed", "red"),
        ("mailed", "cyan"),
        ("delivered", "blue"),
        ("recovered", "green"),
        ("forgiven", "white"),
        ("open", "yellow"),
        ("lost", "magenta"),
    ):
        value = getattr(found, name)
        share = f"{100 * value / found.failed:.0f} %"
        out.print(
            f"{name:<10} {value:>9,} {share:>6}  [{colour}]{bar(value, found.failed, widest)}[/{colour}]"
        )
    out.print(f"\nmedian time to recover: [bold]{duration(found.median_seconds_to_recover)}[/bold]")
    most = max(one.count for one in found.times_to_recover)
    for one in found.times_to_recover:
        if most:
            out.print(
                f"  {literal(one.within):<14} {one.count:>7,}  [green]{bar(one.count, most, widest)}[/green]"
            )
    print_table(
        ("currency", *AMOUNTS),
        (
            (
                row.currency.upper(),
                *(money(getattr(row, f"{name}_amount"), row.currency) for name in AMOUNTS),
            )
            for row in found.currencies
        ),
    )
    suppressed = [row for row in found.mails if row.status in ("suppressed", "observed")][:8]
    if suppressed:
        out.print("no email, because")
        for row in suppressed:
            out.print(f"  {row.count:>9,}  {literal(row.reason)}")
