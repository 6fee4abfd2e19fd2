"""`portico stripe connect`, `accounts` and `disconnect`: Stripe accounts of businesses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from portico.cli.context import FINDING, ask_once, context_of
from portico.cli.options import AsJson, Business, Yes
from portico.cli.output import answer, as_moment, confirm, print_json, print_table
from portico.cli.rpc import Caller, Fault, ask
from shared.contracts.rpc import billing, portal
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import AccountControlled, AccountNotConnected
from shared.terminal import complain

PAGE = 500


def connect(
    ctx: typer.Context,
    business: Business,
    as_json: AsJson = False,
) -> None:
    """Print a link by which a business connects its own Stripe account: give it to somebody there who can sign in to Stripe.

    It works for three days and connects one account; earlier links of the business end with it. It is a secret. The platform's
    STRIPE_CLIENT_ID is needed at billing and at the portal, and PUBLIC_URL/connect/stripe/return among the redirect URIs of its
    Connect settings.

    Example: portico stripe connect --business sunrise-cleaning
    """
    made = ask_once(ctx, portal.BEGIN_CONNECTING, business_id=business)
    aside = f"it works until {as_moment(made.expires_at)} UTC, for whoever has it"
    answer(made, made.url, as_json=as_json, aside=aside)


def account_pages(call: Caller) -> Iterator[billing.StripeAccountPage]:
    """The Stripe accounts beside the installation's own, page by page."""
    after: str | None = None
    while True:
        page = ask(call, billing.STRIPE_ACCOUNTS, after=after, limit=PAGE)
        yield page
        if not page.has_more:
            return
        after = page.accounts[-1].account


def accounts(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the Stripe accounts beside the installation's own: how each stands, whose it is, and how often Stripe was read there in the
    last thirty days. A platform has one allowance of reads for its own and all connected accounts: how much of it is used comes last.

    Example: portico stripe accounts
    """
    rows: list[dict[str, object]] = []
    with context_of(ctx).calling() as call:
        for page in account_pages(call):
            names = [one.account for one in page.accounts]
            found = ask(call, portal.BUSINESS_ACCOUNTS, accounts=names) if names else []
            owners: dict[str, list[str]] = {}
            for each in found:
                owners.setdefault(each.account, []).append(each.business_id)
            rows += [
                {**plain(one), "businesses": owners.get(one.account, [])} for one in page.accounts
            ]
        pool = page.read_pool
    if as_json:
        print_json(rows)
        return
    print_table(
        ("account", "state", "way", "mode", "served", "reads", "business"),
        [
            (
                row["account"],
                row["state"] or "",
                row["way"] or "",
                {True: "live", False: "test"}.get(row["livemode"], ""),  # type: ignore[call-overload]
                "yes" if row["served"] else "no",
                "" if row["reads"] is None else f"{row['reads']:,}",
                ", ".join(row["businesses"]) or "none",  # type: ignore[arg-type]
            )
            for row in rows
        ],
        empty="No accounts beside the installation's own.",
    )
    if pool is not None:
        complain(
            f"{pool.used:,} of {pool.size:,} reads used in thirty days with the installation's key, {pool.own:,} of them on its own account"
        )


def disconnect(
    ctx: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="[ACCOUNT]", help="acct_…, as `accounts` shows it.")
    ] = None,
    business: Annotated[
        str | None,
        typer.Option(
            "--business", metavar="ID", help="Your id of the business whose account it is."
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let an account go, here and at Stripe. Within a minute nothing is mailed or charged for it any more; its customers' pages say whom to
    ask. Subscriptions go on at Stripe, and nothing that Portico knows is deleted. Connecting again goes on where it was.

    Ends with 1 where Stripe keeps the connection, which it says why.

    Example: portico stripe disconnect --business sunrise-cleaning --yes
    """
    if (account is None) == (business is None):
        raise typer.BadParameter("give an account or --business, one of them", param_hint="ACCOUNT")
    with context_of(ctx).calling() as call:
        name = account or _account_of(call, str(business))
        if not yes:
            confirm(f"Stop all emails and charges of {name}?")
        try:
            done = ask(call, billing.DISCONNECT_ACCOUNT, account=name)
        except Fault as fault:
            if not fault.means(AccountControlled, AccountNotConnected):
                raise
            complain(f"{name}: {fault.message}")
            raise typer.Exit(FINDING) from None
    text = f"{name} is disconnected" if done.fresh else f"{name} was disconnected already"
    answer(done, text, as_json=as_json)


def _account_of(call: Caller, business: str) -> str:
    found = ask(call, portal.BUSINESS_ACCOUNTS, business_id=business)[0]
    if not found.account:
        raise typer.BadParameter(
            f"{business} is on the installation's own account, which is not connected",
            param_hint="--business",
        )
    return found.account
