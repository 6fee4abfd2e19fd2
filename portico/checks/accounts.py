"""`portico doctor`: the Stripe accounts beside the installation's own, their keys, and the reads that all of them share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from portico.checks.endpoints import AREA, PATH, Door, EndpointAccount, check_door
from portico.cli.findings import Finding, ask, finding, ok, unknown
from services.billing.adapters.stripe.account import KeyOwner
from services.billing.domain.accounts import AccountState, KnownAccount, Way
from services.billing.domain.errors import StripeKeyRefused, StripePermissionMissing
from services.billing.domain.reads import WINDOW_DAYS, ReadPool
from services.billing.own_keys import OwnKey
from services.portal.queries.businesses import ChargedAs
from shared.contracts.accounts import Account
from shared.contracts.payments import other_name
from shared.contracts.rpc.errors import BillingError, StripeUnavailable

MOST_NAMED: Final = 20
"""How many accounts are named one by one."""
MOST_KEYS: Final = 50
"""How many accounts with keys of their own are looked at: each is some eight reads of its own."""
MUCH: Final = 0.9
"""Of the pool."""


class KeyedAccount(EndpointAccount, Protocol):
    """A Stripe account, as far as its key is looked at."""

    def key_owner(self) -> KeyOwner | None: ...
    def lacking_rights(self) -> list[str]: ...


def check_reads(
    pool: ReadPool, most: Mapping[Account, int], *, connected: bool
) -> Iterator[Finding]:
    """How the platform's allowance is used, and by whom most. `connected`: whether there are accounts that share it."""
    named = ", ".join(
        f"{account or 'the own account'} {number:,}" for account, number in most.items()
    )
    text = (
        f"{pool.used:,} reads of Stripe in the last {WINDOW_DAYS} days, of {pool.size:,} (STRIPE_READ_POOL)"
        + (f"; most: {named}" if named else "")
    )
    if connected and pool.used >= pool.size * MUCH:
        left = "connected accounts are not reconciled by themselves until reads are left"
        yield (finding if pool.used >= pool.size else ask)(
            AREA,
            "stripe-reads",
            f"{text}: {left if pool.used >= pool.size else 'soon ' + left}",
            "set STRIPE_READ_POOL to what Stripe allows the platform: 500 a transaction, at least 10,000 a month "
            "(https://docs.stripe.com/rate-limits)",
        )
    else:
        yield ok(AREA, "stripe-reads", text)


def check_standing(
    accounts: Iterable[KnownAccount], customers: Callable[[list[Account]], Mapping[Account, int]]
) -> Iterator[Finding]:
    """Accounts on which nothing can be charged, and those that shut us out and have customers here, whom `customers` counts."""
    by_state: dict[AccountState, list[Account]] = {}
    ways: dict[Account, dict[AccountState, Way]] = {}
    for one in accounts:
        ways.setdefault(one.account, {})[one.state] = one.way
    for name, states in ways.items():  # with two ways, one that works is enough
        works = [state for state in states if state is not AccountState.DISCONNECTED]
        for state in works or states:
            by_state.setdefault(state, []).append(name)
    restricted = by_state.get(AccountState.RESTRICTED, [])
    for account in restricted[:MOST_NAMED]:
        yield ask(
            AREA,
            f"account-restricted-{account}",
            f"{account}: Stripe has restricted it, so nothing can be charged there",
            "its business sees in Stripe's dashboard what Stripe wants to know",
        )
    gone = customers(by_state.get(AccountState.DISCONNECTED, []))
    with_customers = sorted(gone.items(), key=lambda one: (-one[1], one[0]))
    for account, number in with_customers[:MOST_NAMED]:
        keyed = ways[account][AccountState.DISCONNECTED] is Way.OWN_KEY
        yield finding(
            AREA,
            f"account-disconnected-{account}",
            f"{account}: {'its key is gone from STRIPE_ACCOUNTS_FILE' if keyed else 'it is disconnected'}, and {number:,} "
            "customer(s) of its business are here: nothing is mailed or charged for them",
            ("put its key back" if keyed else "let the business connect it again")
            + " (`portico stripe connect --business ID`"
            + (" connects it instead" if keyed else "")
            + "), or give the business another account",
        )
    left = len(restricted[MOST_NAMED:]) + len(with_customers[MOST_NAMED:])
    if left:
        yield ask(
            AREA,
            "accounts-more",
            f"{left:,} more accounts are restricted, or disconnected with customers",
            "`portico stripe accounts` lists all",
        )


def check_own_keys(
    keys: Mapping[Account, OwnKey],
    own_id: Callable[[], str | None],
    look: Callable[[OwnKey], KeyedAccount],
    charged_as: Callable[[Account], Sequence[ChargedAs]] = lambda account: (),
    *,
    account: str | None = None,
) -> Iterator[Finding]:
    """Each account of STRIPE_ACCOUNTS_FILE: whose its key is, what that may do, where its webhooks go, and whether its businesses say what
    its customers' statements call their charges. `own_id` tells the id of the installation's own account, `charged_as` what an account's
    businesses say; `account` picks one."""
    if account is not None and account not in keys:
        yield finding(
            AREA,
            "own-key-unknown",
            f"{account} has no key of its own",
            "compare it with STRIPE_ACCOUNTS_FILE; `portico stripe accounts` lists all accounts",
        )
        return
    chosen = [one for name, one in keys.items() if account in (None, name)]
    platform = own_id() if chosen else None
    for key in chosen[:MOST_KEYS]:
        try:
            yield from _own_key(key, look(key), platform, charged_as)
        except BillingError as error:
            yield _cannot_ask(key.account, error)
    if len(chosen) > MOST_KEYS:
        yield unknown(
            AREA,
            "own-keys-more",
            f"{len(chosen) - MOST_KEYS:,} more accounts with keys of their own were not looked at",
            "`portico doctor --account acct_…` looks at one",
        )


def _own_key(
    key: OwnKey,
    found: KeyedAccount,
    platform: str | None,
    charged_as: Callable[[Account], Sequence[ChargedAs]],
) -> Iterator[Finding]:
    account, owner = key.account, found.key_owner()
    whose = owner.id if owner else None
    if whose is not None and whose != account:
        own = whose == platform
        yield finding(
            AREA,
            f"own-key-wrong-{account}",
            f"{account}: its key in STRIPE_ACCOUNTS_FILE is a key of "
            + ("the installation's own account" if own else f"another account, {whose}")
            + ": customers of one business would be looked for at another",
            f"put a key of {account} there"
            + (", or take the entry out: the own account needs none" if own else ""),
        )
        return
    if whose is not None and whose == platform:
        yield finding(
            AREA,
            f"own-key-own-{account}",
            f"{account} is the installation's own account: it would be known twice, under two names",
            "take its entry out of STRIPE_ACCOUNTS_FILE: STRIPE_API_KEY serves it",
        )
        return
    if whose is None:
        yield ask(
            AREA,
            f"own-key-unsure-{account}",
            f"{account}: its restricted key may not say whose it is",
            "compare it with the account's keys in Stripe's dashboard, or give it the right to read the account",
        )
    lacking = found.lacking_rights()
    if lacking:
        yield finding(
            AREA,
            f"own-key-rights-{account}",
            f"{account}: its restricted key may not read: {', '.join(lacking)}",
            "give the key these rights in the account's dashboard (Developers, API keys)",
        )
    if "webhook_endpoints" not in lacking:
        door = Door(
            f"{PATH}/{account}",
            key.webhook_secrets,
            "STRIPE_ACCOUNTS_FILE",
            code=f"webhook-{account}",
        )
        yield from check_door(door, found, found.webhook_endpoints(), None)
    if owner is not None and owner.statement:
        yield from _statements(account, owner.statement, charged_as(account))
    if whose is not None and not lacking:
        yield ok(
            AREA, f"own-key-{account}", f"{account}: its key is its own, with the rights to read"
        )


def _statements(
    account: Account, statement: str, businesses: Iterable[ChargedAs]
) -> Iterator[Finding]:
    for one in businesses:
        wanted, told = (other_name(one.name, said) for said in (statement, one.charged_as))
        if (wanted or "").strip().casefold() == (told or "").strip().casefold():
            continue
        says = f"says “{told}”" if told else "does not say so"
        wish = {"business_id": one.business_id, "name": one.name, "charged_as": wanted}
        yield ask(
            AREA,
            f"charged-as-{one.business_id}",
            f"{account}: on its customers' statements its charges are called “{statement}”, as Stripe says; the business {one.business_id} {says}, "
            "and so page and emails tell customers another name than they will read there",
            'if Stripe is right: curl …/api/v1/businesses -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d '
            + shlex.quote(json.dumps(wish, ensure_ascii=False))
            + " (docs/integration.md, charged_as)",
        )


def _cannot_ask(account: Account, error: BillingError) -> Finding:
    if isinstance(error, StripeKeyRefused) and not isinstance(error, StripePermissionMissing):
        return finding(
            AREA,
            f"own-key-refused-{account}",
            f"{account}: Stripe does not take its key, it may be expired or revoked: {error}",
            "let its business make another, and put it into STRIPE_ACCOUNTS_FILE: it is read again within seconds",
        )
    if isinstance(error, StripeUnavailable):
        return unknown(
            AREA,
            f"own-key-unreachable-{account}",
            f"{account}: Stripe can't be asked: {error}",
            f"run `portico doctor --account {account}` later",
        )
    return finding(
        AREA,
        f"own-key-refuses-{account}",
        f"{account}: Stripe takes its key, and not the question: {error}",
        "give the key the rights to read in the account's dashboard (Developers, API keys)",
    )
