"""`make bench` and its siblings start, and each of their plans is answered. Nothing is timed: that is theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from local.servers import PostgreSQL, RabbitMQ
from tests.bench import __main__ as bench
from tests.bench import alone, report, stalls, storm
from tests.bench.system import System
from tests.bench.yardsticks import EVENT_BYTES, HAS_FASTAPI, Yardsticks, beside
from tests.fixtures.story import eventually

SECONDS = 0.8
JOBS = (
    *("hello", "healthz", "page", "fastapi page", "asyncpg page"),
    *("webhook", "fastapi webhook", "asyncpg webhook"),
    *("lookup", "plain lookup"),
)


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: RabbitMQ,
    postgres: PostgreSQL,
    migrated: Callable[[str], str],
) -> Iterator[System]:
    """The system of the bench with a handful of customers and two notifiers, on the run's servers."""
    made = System(
        tmp_path_factory.mktemp("bench"),
        100,
        name="bench",
        notifiers=2,
        rabbitmq=rabbitmq,
        postgres=postgres,
    )
    made.stack.migrated = migrated
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def yardsticks(system: System) -> Iterator[Yardsticks]:
    """What stands beside it."""
    with beside(system) as made:
        yield made


@pytest.mark.parametrize("name", JOBS)
def test_each_job_of_a_round_is_answered(system: System, yardsticks: Yardsticks, name: str) -> None:
    """Whatever is sent in a round is answered 200, however long the first answer of a cold process takes."""
    if name.startswith(("fastapi", "asyncpg")) and not HAS_FASTAPI:
        pytest.skip("FastAPI is installed by `make bench` alone")
    made = bench.jobs(system, yardsticks, SECONDS)
    assert made.keys() <= {*JOBS, "disk"}
    found = made[name]()
    assert found["statuses"] == {"200": found["sent"]}


def test_the_disk_is_asked_to_keep_what_an_event_takes(
    system: System, yardsticks: Yardsticks
) -> None:
    """The yardstick of the disk leaves rows; where others keep the disk busy, not in its first second."""

    def kept() -> bool:
        yardsticks.commits_a_second(1)
        return bool(system.row(system.scratch, "SELECT count(*) FROM disk")[0])

    eventually(kept, within=60, what="a row of the disk's")
    assert system.row(system.scratch, "SELECT min(length(body)) FROM disk") == (EVENT_BYTES,)


@pytest.mark.skipif(not HAS_FASTAPI, reason="FastAPI is installed by `make bench` alone")
def test_fastapi_writes_what_billing_writes(system: System, yardsticks: Yardsticks) -> None:
    """All sides of the comparison leave a row of the inbox and one of the outbox for each webhook."""
    jobs = bench.jobs(system, yardsticks, SECONDS)
    for name in ("webhook", "fastapi webhook", "asyncpg webhook"):
        before = _written(system)
        sent = jobs[name]()["sent"]
        assert [now - was for now, was in zip(_written(system), before, strict=True)] == [sent] * 2


def _written(system: System) -> tuple[int, ...]:
    both = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)"
    return system.row("bench_bare_billing", both)


def test_a_failure_alone_becomes_a_mail_beside_its_parts(
    system: System, yardsticks: Yardsticks
) -> None:
    """Each part is done once a turn, and each turn's failure has its mail."""
    turns: list[int] = []
    found = alone.measure(system, 2, lambda: turns.append(1))
    assert len(turns) == len(found.whole) == 2
    assert all(len(took) == 2 and took[0] > 0 for took in found.parts.values())


def test_a_storm_is_mailed_once_by_both_notifiers(system: System) -> None:
    """Every failure is one mail, and the table has what its targets are made of."""
    found = storm.whole(system, 40, {"used plainly": (2, 1), "as a fair pool": (4, 2)}, SECONDS)
    assert found["mails sent twice"] == 0
    assert sum(value for name, value in found.items() if name.startswith("sent by")) == 100
    assert len(storm.targets(found)) == 8
    durable = "SELECT count(*) FROM mails WHERE status = 'sent' AND message_id = 'stub'"
    assert system.row(system.scratch, durable) == (8,)


@pytest.mark.parametrize(
    "attack", stalls.attacks(), ids=lambda each: f"{each.name}, {each.service}"
)
def test_each_stalling_input_is_sent_and_probed(system: System, attack: stalls.Attack) -> None:
    """An attack reaches its service, and the probe is answered beside it."""
    found = stalls.under(system, attack, SECONDS)
    assert found.probe["answered"] > 0
    assert bool(found.sent) == bool(attack.pieces)
    assert len(found.cells()) == len(stalls.COLUMNS)


def test_the_page_has_a_place_for_each_part() -> None:
    """What a run of minutes measures is not lost at its end because the page has no marks for it."""
    page = report.PAGE.read_text()
    more = ("stalls", "fairness", "accounts", "hooks", "host api")
    for name in ("measured", *more, *(f"storm with {number}" for number in storm.PAGE_HAS)):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1
