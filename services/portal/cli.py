"""The portal's part of `portico`: customers and their links."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from services.portal.spreadsheets import guarded
from shared.cli import (
    FINDING,
    OK,
    complain,
    data_stream,
    desk_of,
    print_json,
    progress_bar,
    say,
)

customers = typer.Typer(help="Customers: import and export many, erase one.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Business = Annotated[
    str | None,
    typer.Option(
        "--business", metavar="ID", help="Your id of the business, where there are several."
    ),
]
EXPORT_PAGE = 1000
EXPORTED = (
    "external_id",
    "name",
    "email",
    "locale",
    "timezone",
    "platform_stripe_customer_id",
    "customer_id",
)


@customers.command("import")
def import_file(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False, readable=True)
    ],
    business: Annotated[
        str, typer.Option("--business", metavar="ID", help="Your id of the business.")
    ],
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Customers in one call.")] = 1000,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="Calls under way at a time.")] = 3,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin at the top though an earlier run got further.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make or change customers from a CSV file of any length.

    The first line names the columns: external_id, name, email, and if you like locale, timezone and
    platform_stripe_customer_id; others are ignored. Customers are known by external_id, so importing again changes and
    never doubles. A column that is missing keeps what is there, an empty cell clears it (not so the Stripe id).

    Every line that can't be taken is told with its number in FILE.csv.errors.csv. A run that was stopped goes on
    where it was: FILE.csv.import.json remembers. Ends with 1 when lines were left out.

    Example: portico customers import customers.csv --business sunrise-cleaning
    """
    from services.portal.importing import BadFile, Import

    desk = desk_of(ctx)
    try:
        run = Import(file, business, restart=restart)
    except BadFile as error:
        raise typer.BadParameter(str(error), param_hint="FILE.csv") from None
    if run.resumed_at:
        complain(f"going on after line {run.resumed_at}")
    with desk.calling(timeout=60) as call, progress_bar("rate", "bad") as bar:
        task = bar.add_task(
            "customers", total=run.size, completed=run.offset, rate="", bad="0 bad lines"
        )
        for _ in run.work(call, batch, at_once):
            bar.update(
                task,
                completed=run.offset,
                rate=f"{run.rate:,.0f}/s",
                bad=f"{run.counts['errors']} bad lines",
            )
    summary = run.summary()
    if as_json:
        print_json(summary)
    else:
        say(
            f"{summary['lines']:,} customers in {summary['seconds']:,.1f} s ({run.rate:,.0f}/s): "
            f"{summary['created']:,} made, {summary['updated']:,} changed, {summary['unchanged']:,} as they were, "
            f"{summary['errors']:,} bad lines"
            + (f" (see {run.errors_file})" if summary["errors"] else "")
        )
    raise typer.Exit(FINDING if summary["errors"] else OK)


@customers.command("export")
def export_file(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A new file, or - for stdout.")],
    business: Annotated[
        str, typer.Option("--business", metavar="ID", help="Your id of the business.")
    ],
) -> None:
    """Write a business's customers as CSV, with Portico's ids; `import` takes the file again.

    Holds names and addresses: the file is made readable for you alone. A cell that a spreadsheet would run as a formula (it
    begins with =, +, - or @) has an apostrophe before it, which `import` takes away.

    Example: portico customers export backup.csv --business sunrise-cleaning
    """
    import os

    to_stdout = str(file) == "-"
    try:
        stream = (
            data_stream()
            if to_stdout
            else os.fdopen(
                os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
                "w",
                encoding="utf-8",
                newline="",
            )
        )
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE.csv") from None
    done = 0
    try:
        writer = csv.DictWriter(stream, EXPORTED, lineterminator="\n")
        writer.writeheader()
        with desk_of(ctx).calling(timeout=30) as call, progress_bar("count") as bar:
            task = bar.add_task("customers", total=None, count="")
            after: int | None = 0
            while after is not None:
                page = call.call(
                    "portal",
                    "export_customers",
                    business_id=business,
                    after=after,
                    limit=EXPORT_PAGE,
                )
                if page["total"] is not None:
                    bar.update(task, total=page["total"])
                writer.writerows(
                    {name: guarded(value or "") for name, value in customer.items()}
                    for customer in page["customers"]
                )
                done += len(page["customers"])
                bar.update(task, completed=done, count=f"{done:,}")
                after = page["next"]
    finally:
        if not to_stdout:
            stream.close()
    complain(f"{done:,} customers written")


def find(call: Any, reference: str, business: str | None) -> dict[str, Any]:
    """The customer that a person means. Raises Fault (NotFound), Unavailable."""
    found: dict[str, Any] = call.call(
        "portal", "find_customer", reference=reference, business_id=business
    )
    return found


def link(
    ctx: typer.Context,
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="Portico's id, cus_…, or your own id.")
    ],
    business: Business = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new link; all earlier ones stop working.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a customer's own link. Whoever has it sees this customer's page: give it to nobody else.

    Example: portico link 1001 --business sunrise-cleaning
    """
    with desk_of(ctx).calling() as call:
        found = find(call, customer, business)
        method = "rotate_link" if rotate else "link"
        made = call.call("portal", method, customer_id=found["customer_id"])
    if as_json:
        print_json({name: made[name] for name in ("customer_id", "url", "generation")})
    else:
        say(made["url"])
