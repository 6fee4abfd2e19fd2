"""An account's own key comes and goes: the others hear of it once, whichever replica sees it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import select

from services.billing.domain.accounts import AccountState, Way
from services.billing.models import KeyedAccount
from services.billing.own_keys import AccountsFile
from services.billing.queries import accounts
from services.billing.workflows.accounts import COMPARED_EVERY, AccountHolder
from shared.database import Transactions
from tests.unit.billing.test_account_queries import LATER, NOW, OTHER, THIRD, keyed, told

GONE, THERE = (str(OTHER), "disconnected"), (str(OTHER), "connected")
SOON = NOW + dt.timedelta(seconds=5)


def replica(database: Transactions, file: AccountsFile | None) -> AccountHolder:
    return AccountHolder(livemode=False, database=database, file=file)


def round_of(*replicas: AccountHolder, at: dt.datetime = NOW) -> int:
    """What the loop of each does; how many accounts the others were told of."""
    number = 0
    for one in replicas:
        one.refresh(at)
        number += one.tell_own_keys(at)
    return number


def all_told(database: Transactions) -> list[tuple[str, str]]:
    with database.reading() as session:
        return told(session)


def test_a_key_that_is_taken_out_is_told_once(database: Transactions, tmp_path: Path) -> None:
    """By whichever replica, and so is its return; the account is known as disconnected meanwhile."""
    first, second = (replica(database, keyed(tmp_path, OTHER, THIRD)) for _ in range(2))
    assert round_of(first, second) == 2
    keyed(tmp_path, THIRD)
    assert round_of(second, first, at=SOON) == 1
    assert all_told(database)[-1] == GONE
    round_of(first, second, at=SOON)
    for one in (first, second):
        known = one.directory.known(OTHER)
        assert known is not None
        assert (known.way, known.state) == (Way.OWN_KEY, AccountState.DISCONNECTED)
        assert "no longer in STRIPE_ACCOUNTS_FILE" in str(one.directory.why_not_served(OTHER))
        assert one.directory.why_not_served(THIRD) is None
    keyed(tmp_path, OTHER, THIRD)
    assert round_of(first, second, at=LATER) == 1
    assert all_told(database)[2:] == [GONE, THERE]
    assert first.directory.why_not_served(OTHER) is None


def test_a_replica_with_an_older_file_does_not_contradict(
    database: Transactions, tmp_path: Path
) -> None:
    """A new file reaches replicas minutes apart: who has not seen the change says nothing, but for once in a long while."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = replica(database, keyed(tmp_path / "old", OTHER, THIRD))
    new = replica(database, keyed(tmp_path / "new", OTHER, THIRD))
    round_of(old, new)
    keyed(tmp_path / "new", THIRD)
    assert round_of(new, at=SOON) == 1
    assert round_of(old, new, old, at=SOON) == 0
    assert round_of(old, at=NOW + COMPARED_EVERY) == 0, "told minutes ago"
    assert round_of(old, at=NOW + 3 * COMPARED_EVERY) == 1, (
        "its file is what counts, if it stays so"
    )


def test_what_changed_while_nobody_ran_is_told_at_the_start(
    database: Transactions, tmp_path: Path
) -> None:
    """A file that is not named any more is one without keys."""
    round_of(replica(database, keyed(tmp_path, OTHER)))
    assert round_of(replica(database, None), at=SOON) == 1
    assert all_told(database) == [THERE, GONE]
    assert round_of(replica(database, keyed(tmp_path, OTHER)), at=LATER) == 1
    assert all_told(database)[-1] == THERE


def test_an_account_that_is_connected_loses_nothing_with_its_key(
    database: Transactions, tmp_path: Path
) -> None:
    """The connection counts; disconnected, it works with the key that is still there, and that is told last."""
    one = replica(database, keyed(tmp_path, OTHER, THIRD))
    round_of(one)
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=SOON)
    assert round_of(one, at=SOON) == 0
    with database.transaction() as session:
        assert session.scalars(select(KeyedAccount.account)).all() == [THIRD]
        accounts.disconnect(session, OTHER, LATER)
    assert round_of(one, at=LATER) == 1
    assert [name for name in all_told(database) if name[0] == OTHER] == [THERE, THERE, GONE, THERE]


def test_the_only_key_that_works_again_is_told_at_once(
    database: Transactions, tmp_path: Path
) -> None:
    """A process that told of no key knows that there was none: it need not compare to see that one came."""
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=NOW)
    one = replica(database, keyed(tmp_path, OTHER))
    assert round_of(one) == 0
    with database.transaction() as session:
        accounts.disconnect(session, OTHER, SOON)
    assert round_of(one, at=SOON) == 1
    assert one.directory.why_not_served(OTHER) is None
    assert all_told(database)[-1] == THERE


def test_nothing_is_told_by_who_could_not_read_yet(tmp_path: Path) -> None:
    """A process that knows no account may not say that they are gone."""
    one = replica(Transactions(None), keyed(tmp_path, OTHER))  # type: ignore[arg-type]
    assert one.tell_own_keys(NOW) == 0


@pytest.mark.whole
@pytest.mark.parametrize("number", [1001])
def test_thousands_are_told_in_one_transaction(database: Transactions, number: int) -> None:
    """More than one statement holds."""
    many = [accounts.Account(f"acct_{at}") for at in range(number)]
    with database.transaction() as session:
        assert accounts.own_keys_back(session, many, NOW, livemode=False) == number
        assert accounts.own_keys_back(session, many, NOW, livemode=False) == 0
        assert accounts.own_keys_gone(session, many, LATER) == number
        assert len(told(session)) == 2 * number
