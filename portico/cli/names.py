"""Stripe objects as people name them: by the id, with the account in front where it isn't the installation's own."""

from __future__ import annotations

import typer

from shared.contracts.accounts import OWN, Account, account_argument, read_name


def arguments_of(**names: str | None) -> dict[str, str | None]:
    """The arguments of a call that name these objects, `acct_1Nabc/in_1Nabc` or the id alone, and their account. Raises
    BadParameter where they are of two accounts."""
    read = {argument: read_name(name) for argument, name in names.items() if name is not None}
    accounts = {one.account for one in read.values()}
    if len(accounts) > 1:
        raise typer.BadParameter("name objects of one account")
    account: Account = accounts.pop() if accounts else OWN
    ids = {argument: read[argument].id if argument in read else None for argument in names}
    return {**ids, **account_argument(account)}
