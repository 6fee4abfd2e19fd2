"""Which Stripe account a thing belongs to: part of the name of every Stripe object (docs/adr/0025-an-account-is-part-of-a-name.md).

The installation's own account is the empty one: in tables, events, RPC and keys that are older than accounts, and in those
that leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, NewType, TypeVar

Account = NewType("Account", str)
"""Stripe's id of a connected account, `acct_…`; `OWN` is the installation's own."""
OWN: Final = Account("")


Found = TypeVar("Found")


class StripeId(NamedTuple):
    """The whole name of a Stripe object: two accounts may have the same id. Sorted, they are in the order for locks."""

    account: Account
    id: str


class Merchant(NamedTuple):
    """Whose customers, invoices and subscriptions at Stripe are: those of an account, or, where that is a platform's, those that it
    makes on behalf of one of its connected accounts (Stripe's `on_behalf_of`; empty: of none)."""

    account: Account
    on_behalf_of: str = ""


class StripeCustomer(NamedTuple):
    """A Stripe customer as the customer of one merchant: on a platform's account it may be one of several."""

    account: Account
    id: str
    on_behalf_of: str = ""

    @property
    def name(self) -> StripeId:
        """Its name at Stripe, whoever's customer it is."""
        return StripeId(self.account, self.id)

    @property
    def merchant(self) -> Merchant:
        """Whose customer it is."""
        return Merchant(self.account, self.on_behalf_of)


def stripe_customer(account: str, id: str | None, on_behalf_of: str) -> StripeCustomer | None:
    """A Stripe customer that may be missing."""
    return StripeCustomer(Account(account), id, on_behalf_of) if id else None


def stripe_id(account: str, id: str | None) -> StripeId | None:
    """The name of an object that may be missing."""
    return StripeId(Account(account), id) if id else None


def in_account(account: str, key: str) -> str:
    """A key of ours (idempotency, dedupe, event, lock) as it is in an account: unchanged in the own one, else behind its name.
    Every such key passes through here once."""
    return f"{account}/{key}" if account else key


def outside_account(account: str, key: str) -> str:
    """What `in_account` made a key of; the text as it is where it was not made for this account."""
    return key.removeprefix(f"{account}/") if account else key


def read_name(text: str) -> StripeId:
    """What `in_account` made of an id, as people write it: `acct_1Nabc/evt_1Nabc`, or the id alone in the own account."""
    account, slash, id = text.partition("/")
    if slash and account.startswith("acct_"):
        return StripeId(Account(account), id)
    return StripeId(OWN, text)


def our_event_id(account: str, stripe_event_id: str, type: str) -> str:
    """The id of the event of ours, of this type, that a Stripe event becomes."""
    return in_account(account, f"{stripe_event_id}/{type}")


def look_up(found: Mapping[StripeId, Found], name: StripeId | None) -> Found | None:
    """What was found of an object that may be missing."""
    return None if name is None else found.get(name)


def by_account(objects: Iterable[StripeId]) -> dict[Account, list[str]]:
    """The ids of each account, sorted and without doubles: of one account nearly always."""
    found: dict[Account, set[str]] = {}
    for one in objects:
        found.setdefault(one.account, set()).add(one.id)
    return {account: sorted(ids) for account, ids in sorted(found.items())}


def by_merchant(customers: Iterable[StripeCustomer]) -> dict[Merchant, list[str]]:
    """The ids of each merchant's, sorted and without doubles: of one merchant nearly always."""
    found: dict[Merchant, set[str]] = {}
    for one in customers:
        found.setdefault(Merchant(one.account, one.on_behalf_of), set()).add(one.id)
    return {merchant: sorted(ids) for merchant, ids in sorted(found.items())}


def account_argument(account: str) -> dict[str, str]:
    """The argument `account` of a call, left out for the own account: a service of the release before doesn't know it."""
    return {"account": account} if account else {}


def merchant_arguments(account: str, on_behalf_of: str) -> dict[str, str]:
    """The arguments of a call that says whose a Stripe object is, left out where they are empty, as in `account_argument`."""
    return account_argument(account) | ({"on_behalf_of": on_behalf_of} if on_behalf_of else {})


def account_shown(account: str) -> dict[str, str]:
    """The account as a field of a log line: told only where it isn't the own one."""
    return {"account": account} if account else {}
