"""The accounts that this process works on, kept up with what the database says."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.billing.domain.accounts import Directory, KnownAccount
from services.billing.queries import accounts as queries
from shared.contracts.accounts import Account
from shared.database import DatabaseUnavailable, Transactions

SETTLED: Final = dt.timedelta(minutes=5)
"""Rows become visible in the order of their commits, not of their times, and clocks differ: so far each look reaches back."""


class AccountHolder:
    """Has the present `Directory`. `refresh` it every few seconds, and at once after a change in this process."""

    def __init__(self, *, livemode: bool, database: Transactions | None = None) -> None:
        """`livemode`: the mode of the installation's own key. Without a database there is the own account alone."""
        self._livemode = livemode
        self._database = database
        self._connected: dict[Account, KnownAccount] = {}
        self._looked: dt.datetime | None = None
        self._directory = Directory(livemode=livemode, read=database is None)

    def __repr__(self) -> str:
        return f"AccountHolder(accounts={len(self._directory)})"

    @property
    def directory(self) -> Directory:
        """The accounts as they were last seen. Before they were seen at all, the database is asked; where that is away, the
        directory says so (`read`)."""
        if not self._directory.read:
            try:
                self.refresh(dt.datetime.now(dt.UTC))
            except DatabaseUnavailable:
                return self._directory
        return self._directory

    def refresh(self, now: dt.datetime) -> None:
        """Look at what has changed. Raises DatabaseUnavailable: then what was seen last stays."""
        if self._database is None:
            return
        since = None if self._looked is None else self._looked - SETTLED
        with self._database.reading() as session:
            changed = queries.all_accounts(session, since)
        new = {one.account: one for one in changed if self._connected.get(one.account) != one}
        if new or not self._directory.read:
            self._connected = {**self._connected, **new}
            self._directory = Directory(livemode=self._livemode, accounts=self._connected.values())
        self._looked = now
