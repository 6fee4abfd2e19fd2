"""Welcoming on both databases, and by several replicas at the same moment."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from services.notifier.domain.vocabulary import Status
from services.notifier.domain.welcomes import Held, Pace, Standing
from services.notifier.handlers import delivery
from services.notifier.handlers import welcomes as handlers
from services.notifier.handlers.delivery import SendRequest
from services.notifier.handlers.results import Result
from services.notifier.models import Base, Notification, Welcome
from services.notifier.queries import erasure, welcome_emails
from services.notifier.queries import welcomes as queries
from services.notifier.queries.leases import Leased
from services.notifier.workflows import sending
from shared.database import Transactions, make_engine
from tests.fixtures.story import eventually
from tests.unit.notifier.conftest import House
from tests.unit.notifier.welcoming import SUNRISE, Welcoming

SECOND = dt.timedelta(seconds=1)
AT_ONCE = 4


@pytest.fixture
def postgresql(database: Callable[[str], str]) -> Iterator[House]:
    """The notifier on PostgreSQL, as its migrations make it."""
    engine = make_engine(database("notifier"))
    yield House(Transactions(engine))
    engine.dispose()


@pytest.fixture(params=["postgresql", "sqlite"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """The same on either database."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgresql")
        return
    engine = make_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield House(Transactions(engine))
    engine.dispose()


def test_it_is_the_same_on_both(house: House) -> None:
    """Asked for, released at the rate, asked for again, stopped, counted, erased."""
    town = Welcoming(house, 12)
    town.add("c2", email=None)
    town.add("c3", timezone="Asia/Tokyo")
    first = town.ask(per_hour=3600)
    assert Counter(first) == {"queued": 11, "no_address": 1}
    assert 3 <= town.go_on(4 * SECOND) <= 6
    assert Counter(town.ask(per_hour=3600))["queued"] == 0
    sent = len(town.welcomed())
    assert (town.look().waiting, town.look().sent) == (11 - sent, sent)
    assert town.stop() == 11 - sent
    assert Counter(town.ask(per_hour=3600)) == {
        "queued": 11 - sent,
        "welcomed": sent,
        "no_address": 1,
    }
    town.add("c2")
    assert town.ask("c2", per_hour=3600) == ["queued"]
    town.go_on(30 * SECOND)
    assert sorted(town.welcomed()) == sorted(f"c{number}@example.com" for number in range(1, 13))
    with house.db.transaction() as session:
        assert erasure.erase_customer(session, None, "c1") == 2
    assert len(town.rows()) == 11


def test_who_had_none_is_asked_for_again(house: House) -> None:
    """The same notification is made due, in the same transaction as the others are written."""
    town = Welcoming(house, 2)
    town.ask()
    town.add("c1", email=None)
    town.go_on(4 * SECOND)
    town.add("c1")
    assert town.ask() == ["queued", "welcomed"]
    town.go_on(10 * SECOND)
    assert sorted(town.welcomed()) == ["c1@example.com", "c2@example.com"]
    assert Counter(row.status for row in house.rows()) == {Status.SENT: 2}


def test_replicas_at_once_keep_the_rate(postgresql: House) -> None:
    """Whoever has the run releases it; the others leave it alone. Nobody twice, and no more than one of them alone would."""
    house, per_hour, rounds = postgresql, 72_000, 40
    town = Welcoming(house)
    for number in range(1500):
        town.add(f"c{number}")
    everybody = town.everybody()
    town.ask(*(id for id in everybody[:1000] if id != "cus_1"), per_hour=per_hour)
    town.ask(*everybody[1000:], per_hour=per_hour)
    start = house.clock()
    barrier = threading.Barrier(AT_ONCE)

    def replica(number: int) -> int:
        released = 0
        for step in range(rounds):
            barrier.wait(60)
            with house.db.transaction() as session:
                now = start + SECOND * step + dt.timedelta(milliseconds=number)
                released += handlers.release(session, SUNRISE, Standing(), now)
            if number == 0:
                with house.db.transaction() as session:  # sent, as far as the next round knows
                    session.execute(text("UPDATE notifications SET status = 'sent'"))
        return released

    with ThreadPoolExecutor(AT_ONCE) as pool:
        released = sum(pool.map(replica, range(AT_ONCE)))
    rows = house.rows()
    assert released == len(rows) == len({row.customer_id for row in rows})
    apart = Pace(per_hour).apart
    assert 0.8 * (rounds - 1) * SECOND / apart <= released <= rounds * SECOND / apart + 1
    with house.db.reading() as session:
        waiting = session.scalars(select(Welcome).where(Welcome.released_at.is_(None))).all()
        assert len(waiting) == 1500 - released


def test_a_run_in_hand_is_left_alone(postgresql: House) -> None:
    """The second replica does not wait for the first."""
    town = Welcoming(postgresql, 3)
    town.ask()
    now = postgresql.clock() + SECOND
    with postgresql.db.transaction() as mine:
        assert queries.take_run(mine, SUNRISE, now) is not None
        with postgresql.db.transaction() as other:
            other.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert handlers.release(other, SUNRISE, Standing(), now) == 0
    assert town.look().waiting == 3


def test_who_comes_while_the_last_goes_is_not_forgotten(postgresql: House) -> None:
    """Asking and finding nobody left, in turns: in the end everybody has had theirs."""
    house = postgresql
    town = Welcoming(house, 60)
    done = threading.Event()

    def ask() -> None:
        for number in range(1, 61):
            town.ask(f"c{number}")
        done.set()

    def release() -> None:
        at = house.clock()
        while True:
            last = done.is_set()
            at += SECOND
            with house.db.transaction() as session:
                handlers.release(session, SUNRISE, Standing(), at)
            with house.db.transaction() as session:
                session.execute(text("UPDATE notifications SET status = 'sent'"))
            if last and town.look().waiting == 0:
                return

    with ThreadPoolExecutor(2) as pool:
        for ended in (pool.submit(ask), pool.submit(release)):
            ended.result(120)
    assert len(house.rows()) == 60


def test_two_senders_with_the_two_ids_of_one_person(postgresql: House) -> None:
    """At the same moment, each in a transaction of its own: one posts, and the other finds that."""
    house = postgresql
    town = Welcoming(house)
    pairs = [(f"c{number}a", f"c{number}b") for number in range(12)]
    for pair in pairs:
        for id in pair:
            town.add(id)
    town.ask()
    house.clock.forward(seconds=8)
    assert town.release() == 2 * len(pairs)
    for old, kept in pairs:
        contact = replace(house.portal.people[kept], merged_ids=(old,))
        house.portal.people[old] = house.portal.people[kept] = contact
    leased = {one.customer_id: one for one in sending.lease_welcomes(house.desk, 100)}
    assert len(leased) == 2 * len(pairs)
    with ThreadPoolExecutor(2) as pool:
        for old, kept in pairs:
            barrier = threading.Barrier(2)

            def send(id: str, barrier: threading.Barrier = barrier) -> str:
                barrier.wait(60)
                return sending.send_one(house.desk, leased[id]).outcome

            assert sorted(pool.map(send, (old, kept))) == ["sent", "suppressed"]
    assert sorted(town.welcomed()) == sorted(f"{kept}@example.com" for _, kept in pairs)


def wants_to_go(house: House, leased: Leased) -> SendRequest:
    """The finished email, before it is asked whether it may."""
    taken: list[SendRequest] = []

    def begin(one: SendRequest) -> Result:
        taken.append(one)
        return Result(one.leased.kind, "put off")

    sending.send_one(replace(house.desk, begin=begin), leased)
    return taken[0]


def waiting_for_locks(house: House) -> int:
    with house.db.reading() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return session.scalar(text(query)) or 0


def test_two_batches_with_the_ids_of_the_same_two_persons(postgresql: House) -> None:
    """In different orders, at the same moment: neither waits for the other for ever."""
    house = postgresql
    town = Welcoming(house)
    for id in ("c1a", "c2a", "c1b", "c2b"):
        town.add(id)
    town.ask()
    house.clock.forward(seconds=8)
    assert town.release() == 4
    for old, kept in (("c1a", "c1b"), ("c2a", "c2b")):
        contact = replace(house.portal.people[kept], merged_ids=(old,))
        house.portal.people[old] = house.portal.people[kept] = contact
    leased = {one.customer_id: one for one in sending.lease_welcomes(house.desk, 100)}

    def post(*ids: str) -> list[str]:
        requests = [wants_to_go(house, leased[id]) for id in ids]
        with house.db.transaction() as session:
            results = delivery.begin_posts(session, requests, house.clock())
        return ["posted" if one is None else one.outcome for one in results]

    with ThreadPoolExecutor(2) as pool:
        with house.db.transaction() as mine:
            queries.lock_customers(mine, ["c2a", "c2b"])
            first = pool.submit(post, "c2b", "c1b")
            eventually(lambda: waiting_for_locks(house) == 1, what="the wait for a lock")
            second = pool.submit(post, "c1a", "c2a")
            eventually(lambda: waiting_for_locks(house) == 2, what="the wait for a lock")
        assert first.result(60) == ["posted", "posted"]
        assert second.result(60) == ["suppressed", "suppressed"]


@pytest.mark.parametrize("change", ["asked for again", "taken off"])
def test_many_customers_are_locked_in_one_order(postgresql: House, change: str) -> None:
    """Whoever changes many of a queue waits for the first of them that a sender has, and holds none that comes after it."""
    house = postgresql
    town = Welcoming(house, 200)
    town.ask()
    with house.db.transaction() as session:  # where the rows lie is not how the queue goes
        session.execute(text("UPDATE welcomes SET asked_at = asked_at WHERE welcome_id % 2 = 1"))

    def alter() -> None:
        with house.db.transaction() as session:
            if change == "taken off":
                queries.take_off(session, SUNRISE, house.clock())
            else:
                queries.ask_again(session, town.everybody(), house.clock())

    with ThreadPoolExecutor(1) as pool:
        with house.db.transaction() as mine:
            queries.lock_customers(mine, ["c1"])
            done = pool.submit(alter)
            eventually(lambda: waiting_for_locks(house) == 1, what="the wait for a lock")
            mine.execute(text("SET LOCAL lock_timeout = '20s'"))
            queries.lock_customers(mine, [f"c{number}" for number in range(2, 201)])
        done.result(60)


def test_erasing_and_releasing_at_once(postgresql: House) -> None:
    """Neither waits for the other for ever, and nothing of the erased is left."""
    house = postgresql
    town = Welcoming(house, 80)
    town.ask()
    gone = [f"c{number}" for number in range(1, 81, 2)]

    def erase() -> None:
        for id in gone:
            with house.db.transaction() as session:
                erasure.erase_customer(session, None, id)

    def release() -> None:
        for step in range(1, 40):
            with house.db.transaction() as session:
                handlers.release(session, SUNRISE, Standing(), house.clock() + SECOND * step)

    with ThreadPoolExecutor(2) as pool:
        for ended in (pool.submit(erase), pool.submit(release)):
            ended.result(120)
    erase()  # who was released in between; the second time is what an operator may do, too
    left = {row.customer_id for row in town.rows()} | {row.customer_id for row in house.rows()}
    assert left.isdisjoint(gone)


def plan_of(session: Session, look: Callable[[Session], object]) -> str:
    """The plan of the one statement that this makes."""
    from sqlalchemy import event

    seen: list[tuple[str, object]] = []
    engine = session.get_bind()

    def note(
        _conn: object, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    look(session)
    event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = seen
    found = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
    return "\n".join(row[0] for row in found)


def test_the_statements_of_the_loop_go_by_an_index(postgresql: House) -> None:
    """Over 100,000 emails and as many customers, a tenth of whom wait."""
    house = postgresql
    now = dt.datetime.now(dt.UTC)
    with house.db.transaction() as session:
        session.execute(
            text(
                "INSERT INTO notifications (notification_id, dedupe_key, kind, status, attempt, correlation_id, created_at, due_at, attempts, "
                "lookups, unconfirmed_posts, sent_at, business_id) SELECT 'ntf_' || n, 'k' || n, 'welcome', 'sent', 0, '', "
                "now() - n * interval '10 seconds', now(), 1, 0, 0, now(), 'sunrise' FROM generate_series(1, 100000) AS n"
            )
        )
        session.execute(
            text(
                "INSERT INTO welcomes (customer_id, business_id, asked_at, released_at) SELECT 'c' || n, CASE WHEN n % 3 = 0 THEN 'moon' ELSE "
                "'sunrise' END, now(), CASE WHEN n < 90000 THEN now() END FROM generate_series(1, 100000) AS n"
            )
        )
    with house.db.transaction() as session:
        session.execute(text("ANALYZE"))
    with house.db.reading() as session:
        looks: dict[str, Callable[[Session], object]] = {
            "ix_notifications_welcomes": lambda s: welcome_emails.under_way(s, SUNRISE),
            "ix_welcomes_waiting": lambda s: queries.next_customers(s, SUNRISE, 50, [None, "UTC"]),
            "ix_notifications_welcomes ": welcome_emails.any_under_way,
            "ix_notifications_created_at": lambda s: welcome_emails.lately(
                s, SUNRISE, now - SECOND * 3600, now, 60
            ),
        }
        for index, look in looks.items():
            assert index.strip() in plan_of(session, look)


def test_a_portal_that_is_away_holds_it(house: House) -> None:
    town = Welcoming(house, 2)
    town.ask()
    house.portal.down = True
    house.clock.forward(seconds=2)
    assert town.release() == 0
    assert town.look().held == Held.PORTAL_UNAVAILABLE
    with house.db.reading() as session:
        assert session.scalars(select(Notification)).all() == []
