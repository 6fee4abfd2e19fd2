"""Senders of webhooks are shared by whose they are: no business fills them, however many endpoints it has and however late they answer."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest

from services.notifier.domain.hook_events import About, HostEvent
from services.notifier.domain.hook_shares import (
    SLOW_MILLISECONDS,
    SLOW_SECONDS,
    HookShares,
    Rotation,
)
from services.notifier.domain.hooks import PER_OWNER
from services.notifier.models import Base, HookEndpoint
from services.notifier.queries import hook_deliveries, hook_events
from services.notifier.queries.hook_deliveries import HookLease
from shared.database import Transactions
from tests.unit import tables

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
PLACES = 8
EVENTS = 12


@pytest.fixture
def db() -> Transactions:
    database = tables.empty(Base.metadata)
    with database.transaction() as session:
        heard = [
            HostEvent(
                hook_event_id=f"evh_{number}",
                event_id=f"evt_{number}",
                type="invoice.paid",
                occurred_at=NOW,
                object=About("invoice", "in_1"),
                version=1,
            )
            for number in range(EVENTS)
        ]
        hook_events.record(session, [(one, "") for one in heard], NOW, due=None)
    return database


def endpoints(db: Transactions, owner: str | None, number: int) -> None:
    """So many endpoints, at each of which all events are due."""
    with db.transaction() as session:
        for one in range(number):
            endpoint_id = f"whe_{owner}_{one}"
            session.add(
                HookEndpoint(
                    endpoint_id=endpoint_id,
                    business_id=owner,
                    url="https://a.example.com/",
                    event_types=[],
                    enabled=True,
                    generation=1,
                    failures=0,
                    created_at=NOW,
                )
            )
            session.flush()
            pairs = [(endpoint_id, f"evh_{event}") for event in range(EVENTS)]
            hook_events.deliver(session, pairs, NOW, NOW)


def begin(db: Transactions, shares: HookShares, clock: float = 0.0) -> list[HookLease]:
    """What a round of the process's senders begins with the places that are free."""
    free = PLACES - shares.under_way.total()
    with db.transaction() as session:
        leased = hook_deliveries.lease_due(session, NOW, free, shares.under_way, shares.slow(clock))
    for one in leased:
        shares.took(one.owner, more=one.more)
    return leased


def end(shares: HookShares, leased: list[HookLease], milliseconds: int, clock: float = 0.0) -> None:
    for one in leased:
        shares.gave_back(one.owner)
        shares.note(one.owner, milliseconds, clock)


def test_a_business_with_twenty_endpoints_has_one_share(db: Transactions) -> None:
    """They hang, each of them, and answer 200 at the last moment, so that none ever counts as failing."""
    endpoints(db, "mallory", 20)
    shares = HookShares(PLACES, 4)
    assert len(begin(db, shares)) == PER_OWNER
    assert begin(db, shares) == []
    endpoints(db, "sunrise", 1)
    assert {one.owner for one in begin(db, shares)} == {"sunrise"}


@pytest.mark.whole
def test_each_business_has_its_turn_before_anybodys_next(db: Transactions) -> None:
    """Whatever is due at the others, and however many endpoints they have; the installation's own have theirs among them."""
    names = [f"shop{number}" for number in range(5)]
    for name in names:
        endpoints(db, name, 3)
    rotation = Rotation()

    def turns(limit: int) -> list[str]:
        with db.transaction() as session:
            leased = hook_deliveries.lease_due(session, NOW, limit, {}, rotation=rotation)
        return [one.owner for one in leased]

    assert [turns(2) for _ in range(5)] == [
        ["shop0", "shop1"],
        ["shop2", "shop3"],
        ["shop4", "shop0"],
        ["shop1", "shop2"],
        ["shop3", "shop4"],
    ]
    endpoints(db, None, 4)
    seen = Counter(owner for _ in range(9) for owner in turns(1))
    assert max(seen[name] for name in names) - min(seen[name] for name in names) <= 1
    while not any(owner.startswith("whe_None_") for owner in turns(1)):
        pass


def test_a_business_with_one_endpoint_is_not_behind_one_with_twenty(db: Transactions) -> None:
    """Turns are the owners'."""
    endpoints(db, "mallory", 20)
    endpoints(db, "sunrise", 1)
    with db.transaction() as session:
        leased = hook_deliveries.lease_due(session, NOW, 2, {})
    assert sorted(one.owner for one in leased) == ["mallory", "sunrise"]


@pytest.mark.whole
def test_all_who_are_slow_share_half_of_the_senders(db: Transactions) -> None:
    """However many businesses answer late: those that don't have the other half."""
    slow = [f"slow{number}" for number in range(5)]
    for owner in slow:
        endpoints(db, owner, 2)
    shares = HookShares(PLACES, 4)
    while any(owner not in shares.slow(0.0).owners for owner in slow):
        leased = begin(db, shares)
        assert leased
        end(shares, leased, SLOW_MILLISECONDS + 1)
    assert len(begin(db, shares)) == PLACES // 2
    assert begin(db, shares) == []
    endpoints(db, "sunrise", 1)
    quick = begin(db, shares)
    assert Counter(one.owner for one in quick) == {"sunrise": PLACES // 2}


def test_who_was_slow_is_not_for_ever(db: Transactions) -> None:
    """A slow answer counts for five minutes."""
    shares = HookShares(PLACES, 4)
    shares.note("sunrise", SLOW_MILLISECONDS + 1, 0.0)
    shares.note("bright", SLOW_MILLISECONDS, 0.0)
    assert shares.slow(SLOW_SECONDS - 1).owners == {"sunrise"}
    assert shares.slow(SLOW_SECONDS).owners == frozenset()


def test_what_is_due_beyond_an_owners_share_is_looked_for_at_once() -> None:
    """When half of its places are free, once, and not at the next poll."""
    shares = HookShares(PLACES, 4)
    for _ in range(4):
        shares.took("sunrise", more=True)
    shares.took("alder", more=False)
    assert [shares.gave_back("sunrise") for _ in range(4)] == [False, True, False, False]
    assert shares.gave_back("alder") is False


def test_a_host_that_answers_before_the_next_lease_is_through_is_not_left_to_the_poll(
    db: Transactions,
) -> None:
    """Its attempts end while it is leased for, so that it never again has all that one may have under way: all goes on at once."""
    endpoints(db, "sunrise", 1)
    shares = HookShares(PLACES, PER_OWNER)
    under_way = begin(db, shares)
    assert [one.more for one in under_way] == [True] * 4
    sent = 0
    while under_way:
        sent += len(under_way)
        woken = [shares.gave_back(one.owner) for one in under_way[:2]]
        with db.transaction() as session:
            leased = hook_deliveries.lease_due(session, NOW, 4, dict(shares.under_way))
        woken += [shares.gave_back(one.owner) for one in under_way[2:]]
        for one in leased:
            shares.took(one.owner, more=one.more)
        assert woken.count(True) == 1
        under_way = leased
    assert sent == EVENTS
