"""Reads are a budget: counted by account and day, and spent on connected accounts only where there is cause, or some is left."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select
from urllib3 import HTTPResponse

from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.domain.errors import StripePermissionMissing
from services.billing.domain.reads import WINDOW_DAYS, ReadKey, ReadPool, ReadTally
from services.billing.models import (
    InboxEvent,
    PaymentMethodChange,
    Reconciliation,
    StripeAccount,
    StripeRead,
)
from services.billing.queries import accounts, reads, reconciliation, turns
from services.billing.workflows import connected, reconciling
from services.billing.workflows.reconciling import EVERY_WHILE_THIN, OVERLAP, Report, catch_up
from shared.contracts.accounts import OWN, Account
from shared.database import Transactions
from shared.settings import Secret
from tests.fixtures.unpublished import made_key
from tests.unit.billing.conftest import NOW, Clock
from tests.unit.billing.fakes import FakePaymentGateway
from tests.unit.billing.test_reconciling import happened

TODAY = NOW.date()
ONE, TWO, KEYED = Account("acct_1"), Account("acct_2"), Account("acct_9")
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
POOL = 10_000


def directory(*named: Account, keyed: tuple[Account, ...] = ()) -> Directory:
    ways = [(one, Way.CONNECTED) for one in named] + [(one, Way.OWN_KEY) for one in keyed]
    return Directory(
        livemode=False,
        accounts=[KnownAccount(one, way, AccountState.CONNECTED, False) for one, way in ways],
    )


def connect(database: Transactions, *named: Account, at: dt.datetime = NOW) -> None:
    with database.transaction() as session:
        for one in named:
            accounts.connect(session, one, livemode=False, now=at)


def used(database: Transactions, number: int, day: dt.date = TODAY, own_key: bool = False) -> None:
    with database.transaction() as session:
        reads.add_reads(session, {ReadKey(KEYED if own_key else OWN, day, own_key): number})


def due(
    database: Transactions, known: Directory, clock: Clock, pool: int = POOL, seconds: float = 45
) -> list[Account]:
    turn = connected.due(database, known, pool=pool, clock=clock, most_seconds=seconds)
    return [account for account, _ in turn]


# --- counting --------------------------------------------------------------------------------------------------------


def test_a_read_is_the_accounts_that_it_was_done_for() -> None:
    """By the header of a connected one, by the key of one that has its own; what is written is free."""
    platform_key, their_key = made_key("sk_test_", 1), made_key("rk_test_", 1)
    keys = {KEYED: Secret(their_key)}
    gateways = StripeGateways(platform_key, "http://127.0.0.1:9", keys.get)
    gateways.at(KEYED)
    platform, theirs = f"Bearer {platform_key}", f"Bearer {their_key}"
    for method, headers in (
        ("get", {"Authorization": platform}),
        ("get", {"Authorization": platform, "Stripe-Account": "acct_1"}),
        ("post", {"Authorization": platform, "Stripe-Account": "acct_1"}),
        ("get", {"Authorization": theirs}),
        ("get", {"Authorization": theirs}),
    ):
        gateways._count_read(method, headers, HTTPResponse())
    counted = gateways.reads.take(10)
    assert {(key.account, key.own_key): number for key, number in counted.items()} == {
        (OWN, False): 1,
        (ONE, False): 1,
        (KEYED, True): 2,
    }
    gateways.close()


def test_a_tally_gives_out_each_read_once() -> None:
    """In batches; what could not be stored is counted again."""
    tally = ReadTally()
    for number in range(5):
        tally.count(ReadKey(Account(f"acct_{number % 3}"), TODAY, False))
    first = tally.take(2)
    for key, number in first.items():
        tally.count(key, number)
    assert sum(tally.take(10).values()) == 5
    assert tally.take(10) == {}


def test_reads_are_added_up_by_account_and_day(database: Transactions) -> None:
    """What is older than the allowance's month counts no more; own keys have allowances of their own."""
    long_ago = TODAY - dt.timedelta(days=WINDOW_DAYS)
    with database.transaction() as session:
        for _ in range(2):
            reads.add_reads(
                session,
                {
                    ReadKey(ONE, TODAY, False): 3,
                    ReadKey(OWN, TODAY, False): 4,
                    ReadKey(KEYED, TODAY, True): 50,
                    ReadKey(ONE, TODAY - DAY, False): 5,
                    ReadKey(ONE, long_ago, False): 1000,
                },
            )
        assert reads.pool_of(session, POOL, TODAY) == ReadPool(POOL, used=24, today=14)
        assert reads.reads_of(session, [ONE, KEYED, TWO], TODAY) == {ONE: 16, KEYED: 100}
        assert list(reads.most_read(session, TODAY, 5).items()) == [(ONE, 16), (OWN, 8)]
        assert len(session.scalars(select(StripeRead)).all()) == 5


@pytest.mark.parametrize(
    ("pool", "cause", "allowed"),
    [
        (ReadPool(3000, used=0, today=0), False, True),
        (ReadPool(3000, used=2000, today=99), False, True),
        (ReadPool(3000, used=2000, today=100), False, False),
        (ReadPool(3000, used=2999, today=500), True, True),
        (ReadPool(3000, used=3000, today=0), True, False),
        (ReadPool(0, used=0, today=0), True, False),
    ],
)
def test_quiet_accounts_get_what_is_left_of_a_days_share(
    pool: ReadPool, cause: bool, allowed: bool
) -> None:
    """A cause may use the pool up."""
    assert pool.allows(cause=cause) is allowed


# --- whose turn it is ------------------------------------------------------------------------------------------------


def test_a_quiet_account_is_read_once_in_some_days(database: Transactions, clock: Clock) -> None:
    """Not when it is connected, and each time by one process alone."""
    connect(database, ONE, TWO)
    known = directory(ONE, TWO)
    assert due(database, known, clock) == []
    clock.forward(days=4, hours=23)
    assert due(database, known, clock) == []
    clock.forward(hours=1)
    assert due(database, known, clock) == [ONE, TWO]
    assert due(database, known, clock) == []
    clock.forward(days=5)
    used(database, POOL // WINDOW_DAYS + 1, clock.now.date())
    assert due(database, known, clock) == [], "customers have used the day's share"


def _reconnected(database: Transactions, now: dt.datetime) -> None:
    with database.transaction() as session:
        accounts.disconnect(session, ONE, now)
        accounts.connect(session, ONE, livemode=False, now=now)


def _all_missed(database: Transactions, now: dt.datetime) -> None:
    with database.transaction() as session:
        turns.all_missed(session, now)


def _failed(database: Transactions, now: dt.datetime) -> None:
    row: dict[str, Any] = {"type": "invoice.payment_failed", "status": "translated", "payload": ""}
    with database.transaction() as session:
        session.add(InboxEvent(id="evt_1", account=ONE, received_at=now, **row))
        session.flush()
        turns.watch_failures(session, now)


def _card_waits(database: Transactions, now: dt.datetime) -> None:
    ids = {"id": "evt_1", "stripe_customer_id": "cus_1", "payment_method_id": "pm_1"}
    moments = {"set_at": now, "opened_at": now, "due_at": now}
    with database.transaction() as session:
        session.add(PaymentMethodChange(account=ONE, **ids, **moments))


@pytest.mark.parametrize("happens", [_reconnected, _all_missed, _failed, _card_waits])
def test_a_cause_is_a_reason_to_read(database: Transactions, clock: Clock, happens: Any) -> None:
    """Of that account alone, or of all that may have missed something; not again and again, and not beyond the pool."""
    connect(database, ONE, TWO)
    known = directory(ONE, TWO)
    clock.forward(hours=30)
    happens(database, clock.now)
    both = [ONE, TWO] if happens is _all_missed else [ONE]
    assert due(database, known, clock, pool=0) == []
    used(database, POOL // WINDOW_DAYS + 1, clock.now.date())
    assert due(database, known, clock) == both
    clock.forward(minutes=59)
    assert due(database, known, clock) == []
    clock.forward(hours=25)
    lasts = happens in (_failed, _card_waits)
    assert due(database, known, clock) == ([ONE] if lasts else [])


def test_an_account_over_which_its_reader_was_killed_is_read_again(
    database: Transactions, clock: Clock
) -> None:
    """Within the hour, and not when its next quiet turn comes; one that was read to its end, or is being read, is not."""
    connect(database, ONE, TWO)
    known = directory(ONE, TWO)
    clock.forward(days=5)
    assert due(database, known, clock) == [ONE, TWO]
    with database.transaction() as session:
        for account in (ONE, TWO):
            until = clock.now + reconciling.LEASE
            assert reconciliation.take_reconciliation(session, account, "it", clock.now, until)
        reconciliation.release_reconciliation(session, TWO, "it")
    clock.forward(minutes=59)
    assert due(database, known, clock) == []
    clock.forward(minutes=1)
    assert due(database, known, clock) == [ONE]


def test_an_account_that_is_being_read_takes_no_other_turn(
    database: Transactions, clock: Clock
) -> None:
    """Its Stripe is slow: it stays among the due, also where its reading began after the round did."""
    connect(database, ONE, TWO)
    clock.forward(hours=30)
    _all_missed(database, clock.now)
    in_hand = {ONE}
    round_ = connected.due(database, directory(ONE, TWO), pool=POOL, clock=clock, beside=in_hand)
    assert [account for account, _ in round_] == [TWO]
    in_hand.clear()
    assert due(database, directory(ONE, TWO), clock) == [ONE]


def test_a_disconnected_account_is_not_read(database: Transactions, clock: Clock) -> None:
    """However long it is ago."""
    connect(database, ONE)
    with database.transaction() as session:
        accounts.disconnect(session, ONE, NOW)
    clock.forward(days=30)
    assert due(database, directory(ONE), clock) == []


def _note_statement(asked: list[str], *told: Any) -> None:
    asked.append(told[2])


@pytest.mark.whole
def test_many_accounts_take_turns(database: Transactions, clock: Clock) -> None:
    """A round is a few statements and a transaction an account that it takes, and each account comes before any comes again; none is starved by one that fails."""
    named = [Account(f"acct_{number:05}") for number in range(10_000)]
    with database.transaction() as session:
        session.execute(
            StripeAccount.__table__.insert(),  # type: ignore[attr-defined]
            [
                {"account": one, "state": "connected", "livemode": False, "changed_at": NOW}
                for one in named
            ],
        )
        session.execute(
            Reconciliation.__table__.insert(),  # type: ignore[attr-defined]
            [{"account": one, "name": turns.TRIED, "until": NOW} for one in named],
        )
    known = directory(*named)
    clock.forward(days=5)
    asked: list[str] = []
    note = partial(_note_statement, asked)
    event.listen(database.engine, "before_cursor_execute", note)
    try:
        seen = [due(database, known, clock) for _ in range(3)]
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert [len(one) for one in seen] == [connected.MOST_A_ROUND] * 3
    assert len({account for one in seen for account in one}) == 3 * connected.MOST_A_ROUND
    assert len(asked) <= 3 * (2 * connected.MOST_A_ROUND + 10)


def test_a_round_ends_in_time(database: Transactions, clock: Clock) -> None:
    """Who was not reached is first in the next one."""
    connect(database, ONE, TWO)
    known = directory(ONE, TWO)
    clock.forward(days=6)
    walked = []
    for account, _ in connected.due(database, known, pool=POOL, clock=clock, most_seconds=10):
        walked.append(account)
        clock.forward(seconds=11)
    assert walked == [ONE]
    assert due(database, known, clock) == [TWO]


def test_an_account_with_its_own_key_is_read_out_of_its_own_allowance(
    database: Transactions, clock: Clock
) -> None:
    """However much of the platform's is left, as often as before."""
    known = directory(keyed=(KEYED,))
    assert due(database, known, clock, pool=0) == [KEYED]
    assert due(database, known, clock, pool=0) == []
    clock.now += EVERY_WHILE_THIN
    assert due(database, known, clock, pool=0) == [KEYED]


# --- causes ----------------------------------------------------------------------------------------------------------


def missed(database: Transactions) -> dt.datetime | None:
    with database.reading() as session:
        return reconciliation.moment_of(session, OWN, turns.ALL_MISSED)


def test_who_was_away_for_longer_than_stripe_repeats_has_missed_something(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """A shorter absence costs nothing: Stripe brings it all by itself."""
    known = directory(ONE)
    for away in (0, 71, 73):
        clock.forward(hours=away)
        connected.note_causes(database, gateway, known, clock.now)
        assert missed(database) == (clock.now if away == 73 else None)


def test_an_endpoint_that_is_switched_off_makes_all_miss_something(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Once a day while it is, and once more when it is on again; it is looked at a few times a day, whoever asks."""
    known = directory(ONE)
    looks: list[str] = []
    gateway.before = looks.append
    told: list[dt.datetime | None] = []
    for hours, off in ((0, False), (1, True), (6, True), (6, True), (24, True), (6, False), (6, 0)):
        clock.forward(hours=hours)
        gateway.switched_off = {connected.CONNECT_PATH} if off else set()
        connected.note_causes(database, gateway, known, clock.now)
        told.append(missed(database))
    off_at, again, on_again = NOW + 7 * HOUR, NOW + 37 * HOUR, NOW + 43 * HOUR
    assert told == [None, None, off_at, off_at, again, on_again, on_again]
    assert len(looks) == 6
    assert (
        connected.note_causes(database, gateway, directory(keyed=(KEYED,)), NOW + 9 * DAY) is None
    )
    assert len(looks) == 6, "nobody is connected"


@pytest.mark.parametrize("refusal", [StripePermissionMissing("no right"), None])
def test_an_endpoint_that_cannot_be_seen_says_nothing(
    database: Transactions,
    gateway: FakePaymentGateway,
    clock: Clock,
    refusal: StripePermissionMissing | None,
) -> None:
    """The key may lack the right, or Stripe be away."""
    gateway.refusal, gateway.down = refusal, refusal is None
    connected.note_causes(database, gateway, directory(ONE), clock.now)
    assert missed(database) is None


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_connected_account_is_read_from_where_it_was(
    database: Transactions, clock: Clock
) -> None:
    """Webhooks that came since are no reason not to; unpaid invoices are left alone, since Stripe's log has all."""
    connect(database, ONE, at=NOW - 2 * DAY)
    gateway = FakePaymentGateway(account=ONE, way=Way.CONNECTED)
    asked: list[str] = []
    gateway.before = asked.append
    happened(gateway, "invoice.payment_failed", 1)
    assert catch_up(database, gateway, holder="me", clock=clock) == Report(seen=1, new=1, swept=0)
    assert set(asked) == {"events_since", "unpaid_invoices"}, "a webhook was missed"
    asked.clear()
    clock.forward(days=3)
    assert catch_up(database, gateway, holder="me", clock=clock) is not None
    assert set(asked) == {"events_since"}
    with database.reading() as session:
        assert reconciliation.moment_of(session, ONE, reconciliation.STRIPE_LOG) == clock.now


def test_an_absence_longer_than_stripes_log_ends(database: Transactions, clock: Clock) -> None:
    """What the log has is read, unpaid invoices are looked through, and the next walk begins where this one ended."""
    connect(database, ONE, at=NOW - 60 * DAY)
    gateway = FakePaymentGateway(account=ONE, way=Way.CONNECTED)
    asked: list[str] = []
    gateway.before = asked.append
    assert catch_up(database, gateway, holder="me", clock=clock) is not None
    assert set(asked) == {"events_since", "unpaid_invoices"}
    with database.reading() as session:
        assert reconciliation.moment_of(session, ONE, reconciliation.STRIPE_LOG) == NOW
    assert OVERLAP < DAY
