"""What each account has of its own in a process, so that one account's trouble leaves the others alone: within a bounded memory,
however many accounts there are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from shared.contracts.accounts import Account

MOST: Final = 1000
"""Accounts that are remembered; of more, those that were used last."""
Own = TypeVar("Own")


class PerAccount(Generic[Own]):
    """One `Own` an account, made when it is first used. One that was forgotten begins anew: a breaker closed, a budget full."""

    def __init__(self, make: Callable[[], Own], most: int = MOST) -> None:
        self._make = make
        self._most = most
        self._known: OrderedDict[Account, Own] = OrderedDict()

    def at(self, account: Account) -> Own:
        """This account's."""
        found = self._known.get(account)
        if found is None:
            found = self._known[account] = self._make()
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(account)
        return found

    def known(self) -> Iterable[Own]:
        """Those that are remembered."""
        return tuple(self._known.values())
