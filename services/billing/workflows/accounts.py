"""The accounts that this process works on, kept up with what the database and the file of own keys say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.own_keys import AccountsFile, OwnKey, first_of
from services.billing.queries import accounts as queries
from shared.clock import utc_now
from shared.contracts.accounts import Account
from shared.database import DatabaseUnavailable, Transactions
from shared.schema import keys_name_accounts
from shared.settings import Secret
from shared.telemetry import get_logger

log = get_logger(__name__)

COMPARED_EVERY: Final = dt.timedelta(minutes=10)
"""How often all that was told of own keys is compared with this process's file: replicas whose files differ for long contradict each
other no more often than that."""
SETTLED: Final = dt.timedelta(minutes=5)
"""Rows become visible in the order of their commits, not of their times, and clocks differ: so far each look reaches back."""


class AccountHolder:
    """Has the present `Directory`, and the keys of those who have one of their own. `refresh` it every few seconds, and at once
    after a change in this process."""

    def __init__(
        self, *, livemode: bool, database: Transactions, file: AccountsFile | None = None
    ) -> None:
        """`livemode`: the mode of the installation's own key. `file`: the accounts with own keys, read."""
        self._livemode = livemode
        self._database = database
        self._file = file
        self._connected: dict[Account, KnownAccount] = {}
        self._keys: dict[Account, OwnKey] = {}
        self._keyed: dict[Account, KnownAccount] = {}
        self._keys_told: frozenset[Account] | None = None
        self._compared: dt.datetime | None = None
        self._may_have_keys = False
        self._looked: dt.datetime | None = None
        self._told: list[str] = []
        self._directory = Directory(livemode=livemode, read=False)

    def __repr__(self) -> str:
        return f"AccountHolder(accounts={len(self._directory)})"

    @property
    def directory(self) -> Directory:
        """The accounts as they were last seen. Before they were seen at all, the database is asked; where that is away, the
        directory says so (`read`)."""
        if not self._directory.read:
            try:
                self.refresh(utc_now())
            except DatabaseUnavailable:
                return self._directory
        return self._directory

    @property
    def problems(self) -> list[str]:
        """What is wrong with the file as it is now; what was good in it last is kept."""
        return list(self._told)

    def own_key(self, account: Account) -> Secret | None:
        """The key of an account that has one of its own."""
        found = self._keys.get(account)
        return found.key if found else None

    def webhook_secrets(self, account: Account) -> tuple[Secret, ...]:
        """The signing secrets of such an account's own endpoint; none for another account."""
        found = self._keys.get(account)
        return found.webhook_secrets if found else ()

    def refresh(self, now: dt.datetime) -> None:
        """Look at what has changed. Raises DatabaseUnavailable: then what was seen last stays."""
        if self._file is not None:
            self._file.look()
        since = None if self._looked is None else self._looked - SETTLED
        with self._database.reading() as session:
            seen = queries.all_accounts(session, since)
            keyed = queries.keyed_accounts(session, since)
            if self._file is not None and not self._may_have_keys:
                self._may_have_keys = keys_name_accounts(session.connection(), "billing")
        self._looked = now
        changed = [one for one in seen if self._connected.get(one.account) != one]
        self._connected |= {one.account: one for one in changed}
        new = [one for one, _ in keyed if one.account not in self._keyed]
        self._keyed |= {one.account: replace(one, state=AccountState.DISCONNECTED) for one in new}
        keys = {
            account: key
            for account, key in (self._file.keys if self._file else {}).items()
            if self._may_have_keys and not self._is_connected(account)
        }
        # One whose key is gone is still known: it is disconnected, as far as this process can tell.
        known = [one for one in (self._keyed | self._connected).values() if one.account not in keys]
        known += (
            KnownAccount(account, Way.OWN_KEY, AccountState.CONNECTED, self._livemode)
            for account in keys
        )
        if not self._directory.read or keys != self._keys or changed or new:
            self._keys = keys
            self._directory = Directory(livemode=self._livemode, accounts=known)
        self._tell(list(self._problems()))

    def tell_own_keys(self, now: dt.datetime) -> int:
        """Have the others hear which accounts' own keys came and went since this process last told them; of how many.

        What changed in this process's own file is told at once, and once, whoever sees it first: a replica whose file is older
        or younger has not seen that change, and says nothing. At the start, and from time to time, all is compared.
        """
        if not self._directory.read:
            return 0
        keys, before = frozenset(self._keys), self._keys_told
        compares = self._compared is None or now >= self._compared + COMPARED_EVERY
        if before == keys and not compares:
            return 0
        known = keys if before is None else before
        gone, back = set(known - keys), set(keys - known)
        with self._database.transaction() as session:
            if compares:
                rows = queries.keyed_accounts(session)
                settled = now if before is None else now - COMPARED_EVERY
                states = {one.account: one.state for one, _ in rows}
                old = {one.account for one, changed_at in rows if changed_at <= settled}
                there = {one for one in old if states[one] is AccountState.CONNECTED}
                gone |= there - keys
                back |= {one for one in keys if one not in states or one in old - there}
            told = queries.own_keys_gone(session, gone, now)
            told += queries.own_keys_back(session, back, now, livemode=self._livemode)
        self._keys_told = keys
        self._compared = now if compares else self._compared
        return told

    def _is_connected(self, account: Account) -> bool:
        known = self._connected.get(account)
        return known is not None and known.state is not AccountState.DISCONNECTED

    def _problems(self) -> Iterator[str]:
        if self._file is None:
            return
        if self._file.problem:
            yield from self._file.problem.splitlines()
        if self._file.keys and not self._may_have_keys:
            yield f"none of its accounts is served yet: {queries.STILL_EXPANDED}"
        yield from first_of(
            [
                f"{account} is connected, too, and its key is not used: `portico stripe disconnect {account}`, or take "
                "its entry out"
                for account in self._file.keys
                if self._is_connected(account)
            ]
        )

    def _tell(self, problems: list[str]) -> None:
        """Each once, for as long as it lasts."""
        for one in problems:
            if one not in self._told:
                log.error("STRIPE_ACCOUNTS_FILE is not taken as it is", problem=one)
        self._told = problems
