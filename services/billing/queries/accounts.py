"""The accounts beside the installation's own that let the platform in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from services.billing.domain.accounts import ACCOUNT, AccountState, KnownAccount, Way
from services.billing.domain.errors import AccountRefused
from services.billing.models import KeyedAccount, StripeAccount
from services.billing.queries.outbox import OUTBOX
from services.billing.queries.payment_method_changes import wake_accounts
from services.billing.queries.reconciliation import keep_moment, reconciled_until
from services.billing.queries.turns import TRIED
from shared import events
from shared.contracts.accounts import Account, in_account
from shared.outbox import Outgoing
from shared.schema import keys_name_accounts
from shared.statements import insert_new, table_of

LET_IN_AGAIN: Final = dt.timedelta(seconds=5)
"""Less than it takes to be let in again by OAuth, and what is forgiven Stripe's clock here. By `CLOCKS_APART` the late word of somebody who has
shut us out would still count once they have thought better of it; while it is no harm to pass over one of theirs who shut us out as soon as
they had let us in, by clocks that are further apart: Stripe refuses us what we ask for."""
MOST_IN: Final = 1000
STILL_EXPANDED: Final = (
    "billing's tables are still those of one account. Once every replica is of this release, run "
    "`python -m services.billing migrate --after-roll` (docs/upgrading.md)"
)
"""Why there can be no second account yet, and what to do."""


def connect(session: Session, account: Account, *, livemode: bool, now: dt.datetime) -> bool:
    """Let an account in, and tell the others. False: it was connected already, and nothing is told.

    Raises AccountRefused for what is no account of Stripe's, and while the tables are not made for a second account.
    """
    if not ACCOUNT.fullmatch(account):
        raise AccountRefused("account: expected Stripe's id of an account, acct_…")
    refuse_while_expanding(session)
    row = {
        "account": account,
        "state": AccountState.CONNECTED.value,
        "livemode": livemode,
        "changed_at": now,
    }
    new = insert_new(
        session, table_of(StripeAccount), [row], conflict=["account"], returning="account"
    )
    was_out = (StripeAccount.state == AccountState.DISCONNECTED) | (
        StripeAccount.livemode != livemode
    )
    if new:
        if (
            reconciled_until(session, account, now) is None
        ):  # nothing of it can have been missed yet
            keep_moment(session, account, TRIED, now)
        _tell(session, [account], AccountState.CONNECTED, livemode, now)
        return True
    return _change(session, account, AccountState.CONNECTED, now, was_out, livemode=livemode)


def disconnect(
    session: Session, account: Account, now: dt.datetime, *, happened_at: dt.datetime | None = None
) -> bool:
    """Do nothing more on an account, and tell the others. `happened_at`: when its business shut us out, by Stripe's clock, where
    Stripe told us so. False: it was not connected, or has let us in again since."""
    was_in = StripeAccount.state != AccountState.DISCONNECTED
    return _change(
        session, account, AccountState.DISCONNECTED, now, was_in, happened_at=happened_at
    )


def restrict(
    session: Session,
    account: Account,
    restricted: bool,
    now: dt.datetime,
    *,
    happened_at: dt.datetime | None = None,
) -> bool:
    """Note what Stripe says of an account that is connected, and tell the others. False: that was known, or something newer is."""
    before, after = AccountState.RESTRICTED, AccountState.CONNECTED
    if restricted:
        before, after = after, before
    was_so = StripeAccount.state == before
    changed = _change(session, account, after, now, was_so, happened_at=happened_at)
    if not changed and happened_at is not None:  # what happened before, and comes later, is over
        session.execute(
            update(StripeAccount)
            .where(
                StripeAccount.account == account,
                StripeAccount.state == after,
                _not_since(happened_at),
            )
            .values(said_at=happened_at)
            .execution_options(synchronize_session=False)
        )
    return changed


def _not_since(happened_at: dt.datetime) -> ColumnElement[bool]:
    """Stripe repeats a webhook for days, and brings several in any order: what it told of may be over."""
    return or_(
        StripeAccount.said_at <= happened_at,
        and_(
            StripeAccount.said_at.is_(None), StripeAccount.changed_at <= happened_at + LET_IN_AGAIN
        ),
    )


def all_accounts(session: Session, since: dt.datetime | None = None) -> list[KnownAccount]:
    """The accounts that were ever connected, in whatever state; with `since` those whose state changed at that moment or later."""
    # Columns, since ten thousand entities are a fifth of a second of CPU.
    wanted = select(StripeAccount.account, StripeAccount.state, StripeAccount.livemode)
    if since is not None:
        wanted = wanted.where(StripeAccount.changed_at >= since)
    return [
        KnownAccount(Account(row.account), Way.CONNECTED, AccountState(row.state), row.livemode)
        for row in session.execute(wanted)
    ]


def keyed_accounts(
    session: Session, since: dt.datetime | None = None
) -> list[tuple[KnownAccount, dt.datetime]]:
    """The accounts with keys of their own as the others were last told of them, each with when that changed; with `since` those
    of which it did at that moment or later."""
    wanted = select(
        KeyedAccount.account, KeyedAccount.state, KeyedAccount.livemode, KeyedAccount.changed_at
    )
    if since is not None:
        wanted = wanted.where(KeyedAccount.changed_at >= since)
    return [
        (KnownAccount(Account(account), Way.OWN_KEY, AccountState(state), livemode), changed_at)
        for account, state, livemode, changed_at in session.execute(wanted)
    ]


def is_let_in(session: Session, account: Account, *, livemode: bool) -> bool:
    """Whether some replica serves the account, or will in seconds, as far as the rows say. Nobody changes what they say before this
    transaction has ended: what it writes down to wait is seen by whoever lets the account in."""
    rows = (
        session.execute(
            select(table.state, table.livemode)
            .where(table.account == account)
            .with_for_update(read=True)
        ).one_or_none()
        for table in (StripeAccount, KeyedAccount)
    )
    return any(
        row is not None and row.state != AccountState.DISCONNECTED and row.livemode == livemode
        for row in list(rows)
    )


def own_keys_gone(session: Session, gone: Collection[Account], now: dt.datetime) -> int:
    """Tell the others of accounts whose own key was taken away, each once, whoever has told it; how many were told.

    Nothing is told of one that is connected, and goes on so: what was told of its key is forgotten.
    """
    connected = exists().where(
        StripeAccount.account == KeyedAccount.account,
        StripeAccount.state != AccountState.DISCONNECTED.value,
    )
    told = 0
    for some in _slices(gone):
        session.execute(
            delete(KeyedAccount)
            .where(KeyedAccount.account.in_(some), connected)
            .execution_options(synchronize_session=False)
        )
        told += _told_of_keys(session, some, AccountState.DISCONNECTED, now)
    return told


def own_keys_back(
    session: Session, back: Collection[Account], now: dt.datetime, *, livemode: bool
) -> int:
    """Tell the others of accounts that work with a key of their own from now on, each once; how many were told."""
    told = 0
    for some in _slices(back):
        row = {"state": AccountState.CONNECTED.value, "livemode": livemode, "changed_at": now}
        new = insert_new(
            session,
            table_of(KeyedAccount),
            [row | {"account": account} for account in some],
            conflict=["account"],
            returning="account",
        )
        _tell(session, map(Account, sorted(new)), AccountState.CONNECTED, livemode, now)
        told += len(new) + _told_of_keys(session, some, AccountState.CONNECTED, now)
    return told


def _told_of_keys(
    session: Session, accounts: Sequence[Account], state: AccountState, now: dt.datetime
) -> int:
    changed = session.execute(
        update(KeyedAccount)
        .where(KeyedAccount.account.in_(accounts), KeyedAccount.state != state.value)
        .values(state=state.value, changed_at=now)
        .returning(KeyedAccount.account, KeyedAccount.livemode)
        .execution_options(synchronize_session=False)
    ).all()
    for account, livemode in sorted(map(tuple, changed)):
        _tell(session, [Account(account)], state, livemode, now)
    return len(changed)


def _slices(accounts: Collection[Account]) -> Iterable[list[Account]]:
    # Sorted, so that two replicas lock the rows in one order.
    ordered = sorted(accounts)
    return (ordered[start : start + MOST_IN] for start in range(0, len(ordered), MOST_IN))


def refuse_while_expanding(session: Session) -> None:
    """Raise AccountRefused, which says what to do, where two accounts can't have a thing of the same id yet."""
    if not keys_name_accounts(session.connection(), "billing"):
        raise AccountRefused(f"account: {STILL_EXPANDED}")


def _change(
    session: Session,
    account: Account,
    state: AccountState,
    now: dt.datetime,
    *conditions: ColumnElement[bool],
    happened_at: dt.datetime | None = None,
    **values: Any,
) -> bool:
    if happened_at is not None:
        conditions = *conditions, _not_since(happened_at)
    changed = session.execute(
        update(StripeAccount)
        .where(StripeAccount.account == account, *conditions)
        .values(state=state.value, changed_at=now, said_at=happened_at, **values)
        .returning(StripeAccount.livemode)
        .execution_options(synchronize_session=False)
    ).all()
    for (livemode,) in changed:
        _tell(session, [account], state, livemode, now)
    return bool(changed)


def _tell(
    session: Session,
    accounts: Iterable[Account],
    state: AccountState,
    livemode: bool,
    now: dt.datetime,
) -> None:
    """Queue what the others hear of each, once for each change, however often a state comes back; where it is served from now on, the
    cards that waited for it have their turn."""
    accounts = list(accounts)
    if state is not AccountState.DISCONNECTED and accounts:
        wake_accounts(session, accounts, now)
    kind = events.StripeAccountChanged
    outgoing = []
    for account in accounts:
        name = in_account(account, f"{state}/{now.isoformat()}/{kind.type}")
        event = events.Event(
            id=name,
            occurred_at=now,
            correlation_id=name,
            data=kind(account=account, state=state.value, livemode=livemode),
        )
        outgoing.append(Outgoing(event, name))
    OUTBOX.add(session, outgoing, now)
