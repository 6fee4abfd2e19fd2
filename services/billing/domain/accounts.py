"""Which Stripe accounts billing works on."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shared.contracts.accounts import OWN, Account

ACCOUNT: Final = re.compile(r"acct_[A-Za-z0-9]{1,64}")
"""Stripe's id of an account."""


class Way(enum.StrEnum):
    """How we act on an account beside the installation's own."""

    CONNECTED = "connected"
    """With the platform's key, in the name of the account (`Stripe-Account`)."""
    OWN_KEY = "own_key"
    """With a key of the account's own, from `STRIPE_ACCOUNTS_FILE`."""


class AccountState(enum.StrEnum):
    """How an account beside the installation's own stands to us."""

    CONNECTED = "connected"
    """Its business let us in."""
    RESTRICTED = "restricted"
    """Stripe has restricted it: nothing can be charged there. It is served all the same, since that is Stripe's to say, call by
    call."""
    DISCONNECTED = "disconnected"
    """Its business has shut us out, or was taken off; or its own key is gone."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account beside the installation's own."""

    account: Account
    way: Way
    state: AccountState
    livemode: bool
    """The mode in which we were let in."""


class Directory:
    """The accounts that billing knows, as they stood at one moment. The installation's own is always served.

    `read` is False for a directory that stands for one which nobody could read yet: it knows the own account alone, and what it says
    of others is no verdict.
    """

    def __init__(
        self, *, livemode: bool, accounts: Iterable[KnownAccount] = (), read: bool = True
    ) -> None:
        """`livemode`: the mode of the installation's own key."""
        self.read = read
        self._livemode = livemode
        self._accounts = {one.account: one for one in accounts}

    def __iter__(self) -> Iterator[KnownAccount]:
        """The accounts beside the own one, by their ids."""
        return (self._accounts[account] for account in sorted(self._accounts))

    def __len__(self) -> int:
        return len(self._accounts)

    def known(self, account: Account) -> KnownAccount | None:
        """An account beside the own one, whatever its state; None: nobody has let us in there."""
        return self._accounts.get(account)

    def livemode(self, account: Account) -> bool:
        """The mode in which an account is worked on: of the installation's own key where nothing else is known of it."""
        known = self._accounts.get(account)
        return known.livemode if known else self._livemode

    def why_not_served(self, account: Account) -> str | None:
        """Why nothing is done on an account, as what is said of it (`is disconnected`); None: it is served. The one place that says so
        (docs/adr/0027-accounts-beside-the-own-one.md)."""
        if account == OWN:
            return None
        known = self._accounts.get(account)
        if known is None:
            return "is not connected here"
        if known.state is AccountState.DISCONNECTED and known.way is Way.OWN_KEY:
            return "has its key no longer in STRIPE_ACCOUNTS_FILE"
        if known.state is AccountState.DISCONNECTED:
            return "is disconnected"
        if known.livemode != self._livemode:
            return (
                f"was connected in {mode_name(known.livemode)} mode; "
                f"our key is of {mode_name(self._livemode)} mode"
            )
        return None


def mode_name(livemode: bool) -> str:
    """As people call Stripe's modes."""
    return "live" if livemode else "test"
