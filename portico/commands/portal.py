"""The portal's part of `portico`: customers and their links."""

from __future__ import annotations

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from portico.cli.context import FINDING, OK, context_of
from portico.cli.names import arguments_of
from portico.cli.options import AsJson, Business
from portico.cli.output import answer, data_stream, new_private_file, print_json, progress_bar
from portico.cli.rpc import Caller, ask, pages
from portico.figures import number_of
from portico.spreadsheets import guarded
from services.portal.domain.people import COLUMNS, COLUMNS_NEEDED
from shared.contracts.accounts import read_name
from shared.contracts.rpc import portal
from shared.contracts.rpc.base import plain
from shared.terminal import complain, say

customers = typer.Typer(
    help="Customers: import and export many, erase one; which Stripe customer is whose.",
    no_args_is_help=True,
)

SomeBusiness = Annotated[
    str | None,
    typer.Option(
        "--business", metavar="ID", help="Your id of the business, where there are several."
    ),
]
Customer = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="Portico's id, cus_…, or your own id.")
]
EXPORT_PAGE = 1000
UNKNOWN_PAGE = 1000
IMPORT_HELP = f"""Make or change customers from a CSV file of any length.

The first line names the columns: {", ".join(COLUMNS_NEEDED)}, and if you like
{", ".join(COLUMNS[len(COLUMNS_NEEDED) : -1])} and {COLUMNS[-1]}; others are ignored. Customers are known by external_id, so
importing again changes and never doubles. A column that is missing keeps what is there, an empty cell clears it (not so the
Stripe id). A Stripe id is your word on who is whose, as `link` is.

Every line that can't be taken is told with its number in FILE.csv.errors.csv, and so is a line whose external_id stands further
up: the later one counts. A run that was stopped goes on where it was: FILE.csv.import.json remembers. Ends with 1 when lines
were left out, or an id stands there twice.

Example: portico customers import customers.csv --business sunrise-cleaning
"""


@customers.command("import", help=IMPORT_HELP)
def import_file(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", exists=True, dir_okay=False, readable=True, help="What to import."
        ),
    ],
    business: Business,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Customers in one call.")] = 1000,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="Calls under way at a time.")] = 3,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin at the top though an earlier run got further.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    # Its text is IMPORT_HELP, which names the columns.
    from portico.importing import BadFile, Import

    desk = context_of(ctx)
    try:
        run = Import(file, business, restart=restart)
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
    except BadFile as error:
        raise typer.BadParameter(str(error), param_hint="FILE.csv") from None
    summary = run.summary()
    wrong = summary["errors"] or summary["doubled"]
    if as_json:
        print_json(summary)
    else:
        say(
            f"{number_of(summary['lines'], 'line')} in {summary['seconds']:,.1f} s ({run.rate:,.0f}/s): "
            f"{number_of(summary['created'], 'customer')} made, {summary['updated']:,} changed, {summary['unchanged']:,} unchanged, "
            f"{number_of(summary['errors'], 'bad line')}"
            + (f", {number_of(summary['doubled'], 'id')} twice" if summary["doubled"] else "")
            + (f" (see {run.errors_file})" if wrong else "")
        )
    raise typer.Exit(FINDING if wrong else OK)


@customers.command("export")
def export_file(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A new file, or - for stdout.")],
    business: Business,
) -> None:
    """Write a business's customers as CSV, with Portico's ids; `import` takes the file again, and then the Stripe ids in it
    are your word: look through `evidence --unknown` first.

    Holds names and addresses: the file is made readable for you alone. A cell that a spreadsheet would run as a formula (it
    begins with =, +, - or @) has an apostrophe before it, which `import` takes away.

    Example: portico customers export backup.csv --business sunrise-cleaning
    """
    output = nullcontext(data_stream()) if str(file) == "-" else new_private_file(file, "FILE.csv")
    done = 0
    with output as stream:
        # A portal of another release may answer with fewer columns, or more.
        writer = csv.DictWriter(
            stream, (*COLUMNS, "customer_id"), extrasaction="ignore", lineterminator="\n"
        )
        with context_of(ctx).calling(timeout=30) as call, progress_bar("count") as bar:
            task = bar.add_task("customers", total=None, count="")
            whole = pages(call, portal.EXPORT_CUSTOMERS, 0, business_id=business, limit=EXPORT_PAGE)
            for number, page in enumerate(whole):
                if page.total is not None:
                    bar.update(task, total=page.total)
                if number == 0:  # who asks for an unknown business gets no file, and no first line
                    writer.writeheader()
                writer.writerows(
                    {name: guarded(value or "") for name, value in plain(customer).items()}
                    for customer in page.customers
                )
                done += len(page.customers)
                bar.update(task, completed=done, count=f"{done:,}")
    complain(f"{done:,} customers written")


def find(call: Caller, reference: str, business: str | None) -> portal.FoundCustomer:
    """The customer that a person means. Raises Fault (NotFound), Unavailable."""
    return ask(call, portal.FIND_CUSTOMER, reference=reference, business_id=business)


@customers.command("link")
def link_customer(
    ctx: typer.Context,
    customer: Customer,
    stripe_customer: Annotated[
        str, typer.Argument(metavar="cus_…", help="Stripe's id of the customer, or acct_…/cus_….")
    ],
    business: SomeBusiness = None,
    as_json: AsJson = False,
) -> None:
    """Say which Stripe customer a customer is. Your word overrules what Stripe's metadata and references say.

    It is refused while you have given that Stripe customer to somebody else: `unlink` them first.

    Example: portico customers link 1001 cus_Nabc --business sunrise-cleaning
    """
    with context_of(ctx).calling() as call:
        found = find(call, customer, business)
        done = ask(
            call,
            portal.LINK_CUSTOMER,
            customer_id=found.customer_id,
            stripe_customer_id=_theirs(found, stripe_customer),
        )
    _show_link(done, as_json=as_json)


@customers.command("unlink")
def unlink_customer(
    ctx: typer.Context,
    customer: Customer,
    stripe_customer: Annotated[
        str | None,
        typer.Argument(
            metavar="[cus_…]",
            help="Which one is not theirs, or acct_…/cus_…; else the present one.",
        ),
    ] = None,
    business: SomeBusiness = None,
    let_stripe_decide: Annotated[
        bool,
        typer.Option(
            "--let-stripe-decide",
            help="Only take back what you said of them: metadata and references decide again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say that a customer is *not* a Stripe customer. No metadata and no reference links the two again, until you do.

    Example: portico customers unlink 1001 --business sunrise-cleaning
    """
    with context_of(ctx).calling() as call:
        found = find(call, customer, business)
        done = ask(
            call,
            portal.UNLINK_CUSTOMER,
            customer_id=found.customer_id,
            stripe_customer_id=None if stripe_customer is None else _theirs(found, stripe_customer),
            withdraw_only=let_stripe_decide,
        )
    _show_link(done, as_json=as_json)


def _theirs(customer: portal.FoundCustomer, stripe_customer: str) -> str:
    """Stripe's id of whoever is named, in the Stripe account of the customer's business. Raises BadParameter for another one."""
    named = read_name(stripe_customer)
    if named.account and named.account != customer.account:
        whose = (
            f"in {customer.account}" if customer.account else "in the installation's own account"
        )
        raise typer.BadParameter(
            f"{stripe_customer}: the customers of {customer.business_id} are {whose}",
            param_hint="cus_…",
        )
    return named.id


def _show_link(done: portal.LinkedCustomer, *, as_json: bool) -> None:
    whom = done.platform_stripe_customer_id or "no Stripe customer"
    answer(done, f"{done.customer_id} is linked with {whom}", as_json=as_json)


@customers.command("evidence")
def evidence(
    ctx: typer.Context,
    customer: Annotated[
        str | None,
        typer.Argument(
            metavar="CUSTOMER", help="Portico's id, cus_…, acct_…/cus_…, or your own id."
        ),
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown", help="List the links that nobody has spoken for since evidence is kept."
        ),
    ] = False,
    business: SomeBusiness = None,
    as_json: AsJson = False,
) -> None:
    """Why a customer is linked with a Stripe customer, or not: who said what, when, and what it does.

    Ends with 1 when evidence is in conflict, and with --unknown when there are such links.

    Example: portico customers evidence cus_Nabc
    """
    if (customer is None) != unknown:
        raise typer.BadParameter("name a customer, or give --unknown", param_hint="CUSTOMER")
    with context_of(ctx).calling(timeout=30) as call:
        if customer is None:
            _list_unknown(call, business, as_json=as_json)
        told = ask(call, portal.LINK_EVIDENCE, **_whose(call, customer, business))
    if as_json:
        print_json(told)
    else:
        _show_evidence(told)
    raise typer.Exit(FINDING if told.conflicts else OK)


def _whose(call: Caller, reference: str | None, business: str | None) -> dict[str, Any]:
    """By Stripe's id also a Stripe customer who is nobody's."""
    if reference is not None and read_name(reference).id.startswith("cus_"):
        return arguments_of(stripe_customer_id=reference)
    return {"customer_id": find(call, reference or "", business).customer_id}


def _show_evidence(told: portal.LinkEvidence) -> None:
    for one in told.evidence:
        whom = one.customer_id or one.names or "nobody"
        if one.business_id:
            whom += f" of {one.business_id}"
        says = f"{one.stripe_customer_id} is {'not ' if one.denies else ''}{whom}"
        reason = f" ({one.reason})" if one.reason else ""
        say(f"{one.said_at}  {one.effect:<9}  {one.source:<9}  {one.object_id}: {says}{reason}")
    for link in told.links:
        say(f"\n{link.customer_id} is linked with {link.stripe_customer_id} ({link.source})")
    for conflict in told.conflicts:
        say(
            f"\nConflict: {conflict.stripe_customer_id} is not linked with {conflict.customer_id}: {conflict.reason}"
        )
    if not told.evidence:
        say("nobody has said anything")


def _list_unknown(call: Caller, business: str | None, *, as_json: bool) -> NoReturn:
    whole = pages(call, portal.UNKNOWN_LINKS, 0, business_id=business, limit=UNKNOWN_PAGE)
    found = [one for page in whole for one in page.links]
    if as_json:
        print_json(found)
    elif not found:
        say("no link is of unknown source")
    for one in () if as_json else found:
        say(f"{one.customer_id}  {one.business_id}/{one.external_id}  {one.stripe_customer_id}")
    raise typer.Exit(FINDING if found else OK)


def link(
    ctx: typer.Context,
    customer: Customer,
    business: SomeBusiness = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new link; all earlier ones stop working.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a customer's own link. Whoever has it sees this customer's page: give it to nobody else.

    Example: portico link 1001 --business sunrise-cleaning
    """
    with context_of(ctx).calling() as call:
        found = find(call, customer, business)
        method = portal.ROTATE_LINK if rotate else portal.LINK
        made = ask(call, method, customer_id=found.customer_id)
    told = {"customer_id": made.customer_id, "url": made.url, "generation": made.generation}
    answer(told, made.url, as_json=as_json)
