"""Migrations that wait for the end of a roll: which those are, when they run, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from shared import migrations, schema
from shared.database import make_engine
from shared.migrations import NotUpgraded, _config, upgrade, wait_migrated
from shared.schema import FIRST_TABLES, LAST_KEYS, Standing, needed, revisions
from tests.unit.shared.test_schema import command, seen

pytestmark = pytest.mark.whole

SERVICES = tuple(FIRST_TABLES)
services = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/some.sqlite3"


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a service's migrations, empty."""
    folder = tmp_path / "services" / "billing" / "migrations" / "versions"
    folder.mkdir(parents=True)
    monkeypatch.setattr(schema, "ROOT", tmp_path)
    for known in (needed, revisions):
        known.cache_clear()
    yield folder
    for known in (needed, revisions):
        known.cache_clear()


def key_of(service: str, url: str) -> list[str]:
    table = {"billing": "reconciliations", "portal": "invoices", "notifier": "incidents"}[service]
    engine = make_engine(url)
    columns: list[str] = inspect(engine).get_pk_constraint(table)["constrained_columns"]
    engine.dispose()
    return columns


@services
def test_the_mark_is_read_as_python_reads_it(service: str) -> None:
    """A serving process has no alembic, and finds the marks in the files' text: the same that are in the modules."""
    scripts = ScriptDirectory.from_config(_config(service)).walk_revisions()
    unmarked = [one.revision for one in scripts if not getattr(one.module, "AFTER_ROLL", False)]
    assert unmarked[0] == needed(service)


@pytest.mark.parametrize(
    ("marked", "wanted"),
    [("", "0003"), ("3", "0002"), ("2", "0003"), ("23", "0001"), ("13", "0002")],
)
def test_only_the_last_ones_wait(history: Path, marked: str, wanted: str) -> None:
    """What is marked and has an unmarked one after it was for the roll of a release before: it runs with the others."""
    for number in "123":
        mark = "AFTER_ROLL = True\n" if number in marked else "# not AFTER_ROLL = True\n"
        (history / f"000{number}_some.py").write_text(f'"""Some"""\n\n{mark}')
    assert needed("billing") == wanted


@services
def test_an_empty_database_gets_all(service: str, url: str) -> None:
    """Nobody works on it yet."""
    upgrade(service, url)
    found = seen(service, url)
    assert (found.standing, found.contracted, found.after_roll) == (Standing.CURRENT, True, None)
    assert found.revision == revisions(service)[-1]
    assert key_of(service, url)[0] == "account"


@services
def test_one_with_data_stops_before_the_last_step(service: str, url: str) -> None:
    """It is what this release needs: what waits for the migrations goes on, and old replicas do, too."""
    upgrade(service, url, "0001")
    for _ in range(2):
        upgrade(service, url)
        found = seen(service, url)
        assert (found.standing, found.contracted) == (Standing.CURRENT, False)
        assert f"services.{service} migrate --after-roll" in (found.after_roll or "")
        assert key_of(service, url)[0] != "account"
    assert wait_migrated(service, url, seconds=0) is True
    for _ in range(2):
        left = upgrade(service, url, after_roll=True).after
        assert (left.standing, left.contracted, left.after_roll) == (Standing.CURRENT, True, None)
        assert key_of(service, url)[0] == "account"
    upgrade(service, url)
    assert seen(service, url) == left


@pytest.mark.parametrize(
    ("service", "since"),
    [
        (
            "notifier",
            [
                "DROP TABLE welcomes",
                "DROP TABLE welcome_runs",
                "DROP INDEX ix_notifications_welcomes",
            ],
        ),
        ("billing", ["ALTER TABLE stripe_accounts DROP COLUMN said_at"]),
    ],
)
def test_a_service_whose_last_step_was_another_number_goes_on(
    service: str, since: list[str], url: str
) -> None:
    """It ran as 0017 once, and what has come since stands before it: a database that had it gets that, and finds the step done."""
    upgrade(service, url)
    as_made = _columns(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        for undo in since:
            connection.exec_driver_sql(undo)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0017'")
    engine.dispose()
    assert seen(service, url).standing is Standing.BEHIND
    found = upgrade(service, url).after
    assert (found.standing, found.contracted, found.after_roll) == (Standing.CURRENT, True, None)
    assert upgrade(service, url, after_roll=True).after.revision == revisions(service)[-1]
    assert _columns(url) == as_made


def _columns(url: str) -> dict[str, set[str]]:
    engine = make_engine(url)
    tables = inspect(engine)
    found = {
        table: {column["name"] for column in tables.get_columns(table)}
        for table in tables.get_table_names()
    }
    engine.dispose()
    return found


@services
@pytest.mark.parametrize("revision", [None, "0001"])
def test_the_last_step_does_not_come_first(service: str, url: str, revision: str | None) -> None:
    """Asked for before the roll began, it changes nothing and says what comes before it."""
    if revision:
        upgrade(service, url, revision)
    before = seen(service, url)
    with pytest.raises(NotUpgraded, match=f"run `python -m services.{service} migrate`"):
        upgrade(service, url, after_roll=True)
    assert seen(service, url) == before


def test_a_newer_release_has_done_it(url: str) -> None:
    """Its database is left as it is, and counts as one that has the new keys."""
    upgrade("billing", url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    found = upgrade("billing", url, after_roll=True).after
    assert (found.standing, found.contracted, found.revision) == (Standing.AHEAD, True, "9999")


@services
def test_the_key_tells_and_not_the_revision(service: str, url: str) -> None:
    """Of a release that is newer, whose last step is still to come, as of one whose revision was set by hand."""
    upgrade(service, url, "0001")
    upgrade(service, url)
    for revision in (revisions(service)[-1], "9999"):
        engine = make_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
        engine.dispose()
        assert seen(service, url).contracted is False


@pytest.mark.parametrize(
    ("service", "revision"), [("billing", "0013"), ("portal", "0019"), ("notifier", "0015")]
)
def test_one_on_which_the_step_was_run_goes_on(service: str, revision: str, url: str) -> None:
    """A later release brings revisions after the step; and before 1.1 the step had the number after these, which another one has now:
    set back to them, the database gets all that it lacks (docs/upgrading.md)."""
    upgrade(service, url, revision)
    engine = make_engine(url)
    step = ScriptDirectory.from_config(_config(service)).get_revision("head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            step.module.upgrade()
        connection.commit()
    assert (seen(service, url).standing, seen(service, url).contracted) == (Standing.BEHIND, True)
    left = upgrade(service, url).after
    assert (left.standing, left.contracted) == (Standing.CURRENT, True)
    upgrade(service, f"{url}.new")
    new = make_engine(f"{url}.new")
    for table in inspect(new).get_table_names():
        columns, wanted = (
            {column["name"] for column in inspect(each).get_columns(table)}
            for each in (engine, new)
        )
        assert columns == wanted
    engine.dispose()
    new.dispose()


@services
def test_the_step_is_over_with_its_last_key(
    service: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off before that, it counts as not begun: two accounts could still meet in the key that is left."""
    upgrade(service, url, "0001")
    upgrade(service, url)
    replace, done = migrations.replace_key, 0

    def cut_off(table: str, *rest: Any, **more: Any) -> None:
        nonlocal done
        if table == LAST_KEYS[service][0]:
            raise RuntimeError("cut off")
        done += 1
        replace(table, *rest, **more)

    monkeypatch.setattr(migrations, "replace_key", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        upgrade(service, url, after_roll=True)
    assert (done > 0, seen(service, url).contracted) == (True, False)
    monkeypatch.undo()
    assert upgrade(service, url, after_roll=True).after.contracted is True


def test_each_run_says_in_a_sentence_what_it_did(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And `migrate` names the command that is still to come."""

    def told(*words: str, code: int = 0) -> str:
        assert command("billing", url, monkeypatch, "migrate", *words) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert "run `python -m services.billing migrate`" in told("--after-roll", code=2)
    upgrade("billing", url, "0008")
    first = told()
    assert '"since": "0008"' in first
    assert "migrate --after-roll" in first
    again = told()
    assert "nothing to migrate" in again
    assert "migrate --after-roll" in again
    last = told("--after-roll")
    assert f'"revision": "{revisions("billing")[-1]}"' in last
    assert "--after-roll" not in last
    assert "nothing to migrate" in told("--after-roll")
    assert "usage: python -m services.billing migrate --after-roll" in told("--after", code=2)
