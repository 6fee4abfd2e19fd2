"""Letting accounts in and shutting them out: once, told to the others in the same commit."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from services.billing.domain.accounts import AccountState, Way
from services.billing.domain.errors import AccountRefused
from services.billing.models import OutboxEvent
from services.billing.own_keys import AccountsFile, Installation
from services.billing.queries import accounts
from services.billing.workflows.accounts import AccountHolder
from shared import events
from shared.contracts.accounts import Account
from shared.database import Transactions, make_engine
from shared.migrations import upgrade
from shared.settings import Secret
from tests.fixtures.unpublished import made_key

NOW = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=20)
OTHER = Account("acct_1")
THIRD = Account("acct_2")


@pytest.fixture
def expanded(tmp_path: Path) -> Iterator[Transactions]:
    """The tables as they are between `migrate` and `migrate --after-roll`; `contract` takes that step."""
    url = expanded_url(tmp_path)
    upgrade("billing", url, "0005")
    upgrade("billing", url)
    engine = make_engine(url)
    yield Transactions(engine)
    engine.dispose()


def expanded_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/billing.sqlite3"


def told(session: Session) -> list[tuple[str, str]]:
    """The changes that the others hear of, in order."""
    found = []
    for body in session.scalars(select(OutboxEvent.body).order_by(OutboxEvent.id)):
        data = events.decode(body).data
        assert isinstance(data, events.StripeAccountChanged)
        found.append((data.account, data.state))
    return found


@pytest.mark.whole
def test_a_change_is_told_once(database: Transactions) -> None:
    """However often the same is said; an account that comes back is told anew."""
    with database.transaction() as session:
        said = [
            accounts.disconnect(session, OTHER, NOW),
            accounts.connect(session, OTHER, livemode=False, now=NOW),
            accounts.connect(session, OTHER, livemode=False, now=LATER),
            accounts.restrict(session, OTHER, True, NOW),
            accounts.restrict(session, OTHER, True, LATER),
            accounts.connect(session, OTHER, livemode=False, now=LATER),
            accounts.restrict(session, OTHER, False, LATER),
            accounts.disconnect(session, OTHER, LATER),
            accounts.disconnect(session, OTHER, LATER),
            accounts.restrict(session, OTHER, True, LATER),
            accounts.connect(session, OTHER, livemode=True, now=LATER),
        ]
        assert said == [0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1]
        (one,) = accounts.all_accounts(session)
        assert (one.account, one.state, one.livemode) == (OTHER, AccountState.CONNECTED, True)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("ends_restricted", [True, False])
def test_what_stripe_said_last_counts_however_late_and_in_whatever_order_it_comes(
    database: Transactions, in_order: bool, ends_restricted: bool
) -> None:
    """After hours in which our endpoint was away, all of it comes within a second."""
    words = [
        (not ends_restricted, NOW + dt.timedelta(minutes=10)),
        (ends_restricted, NOW + dt.timedelta(minutes=11)),
    ]
    came = NOW + dt.timedelta(hours=3)
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=NOW)
        for restricted, happened_at in words if in_order else words[::-1]:
            accounts.restrict(session, OTHER, restricted, came, happened_at=happened_at)
        (one,) = accounts.all_accounts(session, since=NOW)
        assert (one.state is AccountState.RESTRICTED) is ends_restricted
        accounts.disconnect(session, OTHER, came)
        accounts.connect(session, OTHER, livemode=False, now=came + dt.timedelta(minutes=1))
        late = came + dt.timedelta(minutes=2)
        for restricted, happened_at in words:
            accounts.restrict(session, OTHER, restricted, late, happened_at=happened_at)
        (one,) = accounts.all_accounts(session)
        assert one.state is AccountState.CONNECTED  # they were let in since


def test_what_changed_is_told_by_the_outbox(database: Transactions) -> None:
    """Of each account for itself."""
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=NOW)
        accounts.connect(session, THIRD, livemode=False, now=NOW)
        accounts.disconnect(session, OTHER, LATER)
        assert told(session) == [
            ("acct_1", "connected"),
            ("acct_2", "connected"),
            ("acct_1", "disconnected"),
        ]


def test_the_directory_follows_what_other_processes_do(database: Transactions) -> None:
    """Each look sees what changed since the one before, and keeps the rest."""
    holder = AccountHolder(livemode=False, database=database)
    holder.refresh(NOW)
    assert list(holder.directory) == []
    with database.transaction() as session:  # by a clock that is behind
        accounts.connect(session, OTHER, livemode=False, now=NOW - dt.timedelta(minutes=1))
        accounts.connect(session, THIRD, livemode=False, now=NOW)
    holder.refresh(LATER)
    assert [one.account for one in holder.directory] == [OTHER, THIRD]
    seen = holder.directory
    with database.transaction() as session:
        accounts.disconnect(session, OTHER, LATER)
    holder.refresh(LATER)
    assert "is disconnected" in str(holder.directory.why_not_served(OTHER))
    assert (holder.directory.why_not_served(THIRD), seen.why_not_served(OTHER)) == (None, None)


def test_the_first_look_sees_all(database: Transactions) -> None:
    """Whatever was changed long ago; and nobody has to wait for the first round."""
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=NOW - dt.timedelta(days=900))
    assert AccountHolder(livemode=False, database=database).directory.known(OTHER) is not None


@pytest.mark.whole
def test_a_second_account_waits_for_its_tables(expanded: Transactions, tmp_path: Path) -> None:
    """Two accounts may have a thing of the same id: whoever connects one too early is told what to run, and then can."""
    with expanded.transaction() as session:
        with pytest.raises(AccountRefused, match="migrate --after-roll"):
            accounts.connect(session, OTHER, livemode=False, now=NOW)
        assert accounts.all_accounts(session) == []
    upgrade("billing", expanded_url(tmp_path), after_roll=True)
    with expanded.transaction() as session:
        assert accounts.connect(session, OTHER, livemode=False, now=NOW)


def keyed(tmp_path: Path, *accounts: str) -> AccountsFile:
    """A file of accounts with keys of their own, read."""
    path = tmp_path / "accounts.json"
    entries = [
        {
            "account": one,
            "key": made_key("rk_test_", at),
            "webhook_secrets": [made_key("whsec_", at)],
        }
        for at, one in enumerate(accounts, 1)
    ]
    path.write_text(json.dumps(entries))
    file = AccountsFile(str(path), Installation(Secret(made_key("sk_test_", 0)), ()))
    assert file.look()
    return file


def test_an_account_is_served_with_the_key_that_is_in_the_file(
    database: Transactions, tmp_path: Path
) -> None:
    """As long as it is there, and as the file is read again."""
    holder = AccountHolder(livemode=False, database=database, file=keyed(tmp_path, OTHER))
    holder.refresh(NOW)
    (one,) = holder.directory
    assert (one.way, holder.directory.why_not_served(OTHER)) == (Way.OWN_KEY, None)
    key, secrets = holder.own_key(OTHER), holder.webhook_secrets(OTHER)
    assert key is not None
    assert (key.reveal(), len(secrets)) == (made_key("rk_test_", 1), 1)
    assert (holder.own_key(THIRD), holder.webhook_secrets(THIRD), holder.problems) == (None, (), [])
    keyed(tmp_path, THIRD)
    holder.refresh(NOW)
    assert [one.account for one in holder.directory] == [THIRD]
    assert holder.own_key(OTHER) is None
    (tmp_path / "accounts.json").write_text("[")
    with capture_logs() as lines:
        holder.refresh(NOW)
        holder.refresh(NOW)
    assert [line["log_level"] for line in lines] == ["error"]
    assert ([one.account for one in holder.directory], len(holder.problems)) == ([THIRD], 1)


def test_an_account_that_is_connected_does_not_use_the_key(
    database: Transactions, tmp_path: Path
) -> None:
    """Said once, with what to do; disconnected, it uses the key."""
    with database.transaction() as session:
        accounts.connect(session, OTHER, livemode=False, now=NOW)
    holder = AccountHolder(livemode=False, database=database, file=keyed(tmp_path, OTHER, THIRD))
    holder.refresh(NOW)
    assert {one.account: one.way for one in holder.directory} == {
        OTHER: Way.CONNECTED,
        THIRD: Way.OWN_KEY,
    }
    assert holder.own_key(OTHER) is None
    assert "acct_1 is connected, too" in holder.problems[0]
    with database.transaction() as session:
        accounts.disconnect(session, OTHER, LATER)
    holder.refresh(LATER)
    assert holder.directory.why_not_served(OTHER) is None
    assert (holder.own_key(OTHER) is not None, holder.problems) == (True, [])


@pytest.mark.whole
def test_a_key_waits_for_its_tables_too(expanded: Transactions, tmp_path: Path) -> None:
    """Until then the file's accounts are not served, and it is said what to run."""
    holder = AccountHolder(livemode=False, database=expanded, file=keyed(tmp_path, OTHER))
    holder.refresh(NOW)
    assert list(holder.directory) == []
    assert "migrate --after-roll" in holder.problems[0]
    upgrade("billing", expanded_url(tmp_path), after_roll=True)
    holder.refresh(NOW)
    assert [one.account for one in holder.directory] == [OTHER]
