"""`portico customers proposals`: Stripe customers with a customer's address, and what a person says of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Final

import typer

from portico.cli.context import FINDING, OK, context_of
from portico.cli.options import AsJson, Business
from portico.cli.output import new_private_file, print_json, progress_bar
from portico.cli.rpc import ask, caller, pages
from portico.figures import number_of
from portico.spreadsheets import guarded, unguarded
from shared.contracts.rpc import portal
from shared.contracts.rpc.base import Method
from shared.contracts.rpc.enrolment import DecidedProposals, LinkProposal, UndecidedProposal
from shared.terminal import complain, say

PAGE: Final = 500
AT_ONCE: Final = 100
"""Proposals in one call."""
COLUMNS: Final = (
    "proposal_id",
    "standing",
    "doubt",
    "stripe_customer_id",
    "stripe_name",
    "email_not_verified_by_stripe",
    "customer_id",
    "external_id",
    "name",
    "enrolled_as",
)
UNVERIFIED: Final = "address not verified by Stripe"
MEANINGS: Final = {
    "proposed": "proposed: one customer has the same address",
    "ambiguous": "ambiguous: several could be meant",
    "refused": "refused before",
    "no_email": "without an email address at Stripe",
    "bad_email": "with an email address at Stripe that is none",
    "email_not_ascii": "with letters beyond A–Z in the email address, which may be a customer's already: if it is not, make them one yourself (upsert_customer)",
    "not_paying": "without a payment, a saved payment method or a subscription",
    "id_taken": "whose id stripe:cus_… one of your customers has",
    "new": "not looked at since they could be enrolled: import again",
}
"""What each standing says, the ones for a person first."""
DOUBTS: Final = {
    "several_customers": "several customers have the address",
    "several_stripe_customers": "several Stripe customers have the address",
    "customer_has_another": "the customer is linked with another Stripe customer",
}
MOST_NAMED: Final = 20
"""Stripe customers of one standing that the terminal names."""

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID…]", help="Proposals, as the list names them: cus_…:…"),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Proposals in a file: the one of --csv with the lines that you mean, or an id a line.",
    ),
]


def proposals(
    ctx: typer.Context,
    business: Business,
    file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write all of them to a new file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Stripe customers who may be customers of yours, since both have one address; and those who can't be enrolled, with why.

    Anybody can pay with somebody else's address, and Stripe verifies none: look at each, then `accept` or `refuse` it. What is
    ambiguous can't be accepted: say who is who with `link`. Ends with 1 when there are proposals to decide.

    Example: portico customers proposals --business sunrise-cleaning --csv proposals.csv
    """
    with context_of(ctx).calling(timeout=60) as call:
        whole = pages(call, portal.LINK_PROPOSALS, "", business_id=business, limit=PAGE)
        found = [one for page in whole for one in page.proposals]
    if file is not None:
        _write(file, found)
    if as_json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(FINDING if any(one.proposal_id for one in found) else OK)


def _show(found: list[LinkProposal]) -> None:
    for one in found:
        if one.proposal_id is not None:
            whom = one.candidates[0]
            say(f"{one.proposal_id}")
            say(f"  {one.name or one.stripe_customer_id}, {one.email} ({UNVERIFIED})")
            say(f"  is {whom.external_id}, {whom.name}?")
    for one in found:
        if one.doubt is not None:
            whom_all = ", ".join(each.external_id for each in one.candidates)
            why = DOUBTS.get(one.doubt, one.doubt)
            say(f"{one.stripe_customer_id}  ambiguous, {why}: {whom_all}")
    for standing, meaning in MEANINGS.items():
        those = [one for one in found if one.standing == standing]
        if those:
            say(f"{number_of(len(those), 'Stripe customer')} {meaning}")
        _name([one for one in those if one.proposal_id is None and one.doubt is None])
    if not found:
        say("no Stripe customer is proposed, or waits to be enrolled")


def _name(those: list[LinkProposal]) -> None:
    """Those who are not listed with what is asked about them."""
    for one in those[:MOST_NAMED]:
        say(f"  {one.stripe_customer_id}" + (f", {one.name}" if one.name else ""))
    if len(those) > MOST_NAMED:
        say(f"  and {len(those) - MOST_NAMED:,} more: --csv or --json names all")


def _write(file: Path, found: list[LinkProposal]) -> None:
    """Holds names and addresses: readable for whoever runs the command alone."""
    with new_private_file(file, "--csv") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in found:
            for whom in one.candidates or (None,):
                cells = (
                    one.proposal_id,
                    one.standing,
                    one.doubt,
                    one.stripe_customer_id,
                    one.name,
                    one.email,
                    whom and whom.customer_id,
                    whom and whom.external_id,
                    whom and whom.name,
                    one.enrolled_as,
                )
                writer.writerow([guarded(cell or "") for cell in cells])
    complain(f"{number_of(len(found), 'Stripe customer')} written")


def accept(ctx: typer.Context, ids: Ids = None, file: File = None, as_json: AsJson = False) -> None:
    """Say that these Stripe customers are the customers that they are proposed to be: your word, as `link` is.

    Each is looked at again first; one that is not open any more is left, and told. Said again, nothing changes. Ends with 1 when
    any was left.

    Example: portico customers accept --file proposals.csv
    """
    _decide(ctx, portal.ACCEPT_PROPOSALS, ids, file, as_json=as_json)


def refuse(ctx: typer.Context, ids: Ids = None, file: File = None, as_json: AsJson = False) -> None:
    """Say that an equal address means nothing here: these are proposed no more, and nobody is linked or unlinked by it.

    Ends with 1 when any was left, since it is not proposed any more.

    Example: portico customers refuse cus_Nabc:q3Jp9Sx6c1hGvBt7LfQe2M
    """
    _decide(ctx, portal.REFUSE_PROPOSALS, ids, file, as_json=as_json)


def _decide(
    ctx: typer.Context,
    method: Method[DecidedProposals],
    ids: list[str] | None,
    file: Path | None,
    *,
    as_json: bool,
) -> None:
    wanted = list(dict.fromkeys([*(ids or ()), *_read(file)]))
    if not wanted:
        raise typer.BadParameter("name proposals, or a --file with some", param_hint="[ID…]")
    decided: list[str] = []
    left: list[UndecidedProposal] = []
    with context_of(ctx).calling(timeout=60) as call, progress_bar() as bar:
        task = bar.add_task("proposals", total=len(wanted))
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            done = ask(call, method, proposal_ids=part, decided_by=caller())
            decided += done.decided
            left += done.left
            bar.update(task, completed=start + len(part))
    if as_json:
        print_json(DecidedProposals(decided=decided, left=left))
    else:
        for one in left:
            say(f"{one.proposal_id}: {one.error}")
        say(f"{len(decided):,} decided, {len(left):,} left")
    raise typer.Exit(FINDING if left else OK)


def _read(file: Path | None) -> list[str]:
    """The proposals that a file names, in whichever of its two forms. Raises BadParameter."""
    if file is None:
        return []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="--file") from None
    column = 0
    if rows and COLUMNS[0] in rows[0]:
        column = rows[0].index(COLUMNS[0])
        rows = rows[1:]
    cells = (unguarded(row[column]).strip() for row in rows if len(row) > column)
    return [cell for cell in cells if cell]
