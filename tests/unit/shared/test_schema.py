"""Whose a schema is: refused where it is another service's, waited for where it is not there yet, taken where it is newer."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from portico.checks.databases import check_database
from shared.database import DatabaseUnavailable, Transactions, make_engine
from shared.migrations import _config, upgrade, wait_migrated
from shared.nameko_ext.database import Database
from shared.nameko_ext.runtime import command_line
from shared.schema import FIRST_TABLES, Schema, Standing, WrongOwner, look, revisions
from shared.settings import Secret

pytestmark = pytest.mark.whole

SERVICES = tuple(FIRST_TABLES)
BEFORE_THE_MARK = {"portal": "0010", "billing": "0006", "notifier": "0011"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/some.sqlite3"


def run(url: str, *statements: str) -> None:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def seen(service: str, url: str) -> Schema:
    engine = make_engine(url)
    with engine.connect() as connection:
        found = look(connection, service)
    engine.dispose()
    return found


def command(service: str, url: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", url)
    module = importlib.import_module(f"services.{service}.service")
    cls = getattr(module, f"{service.title()}Service")
    return command_line(cls, lambda environ: pytest.fail("not needed"), argv=words)


@pytest.mark.parametrize("service", SERVICES)
def test_the_files_names_are_the_history(service: str) -> None:
    """Revisions are read from the names of the files, oldest first: the same that alembic finds, in one line."""
    walked = ScriptDirectory.from_config(_config(service)).walk_revisions()
    assert tuple(reversed([script.revision for script in walked])) == revisions(service)


@pytest.mark.parametrize("service", SERVICES)
def test_the_table_that_proves_an_owner_is_the_owners_alone(service: str, url: str) -> None:
    """It is there since the first migration and to this day, and no other service has one of its name."""
    models = {
        name: importlib.import_module(f"services.{name}.models").Base.metadata.tables
        for name in SERVICES
    }
    assert [name for name in SERVICES if FIRST_TABLES[service] in models[name]] == [service]
    upgrade(service, url, "0001")
    assert seen(service, url).owner == service


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("service", SERVICES)
def test_nobody_migrates_anothers_schema(
    service: str,
    mark: bool,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the mark, or of a release without one, and whatever its revision: refused with the owner's name, and left as it
    was; `wait-migrated` does not wait for what never comes."""
    owner = SERVICES[SERVICES.index(service) - 1]
    upgrade(owner, url, "head" if mark else BEFORE_THE_MARK[owner])
    before = seen(owner, url)
    run(url, f"UPDATE alembic_version SET version_num = '{revisions(service)[-1]}'")
    for word in ("migrate", "wait-migrated"):
        assert command(service, url, monkeypatch, word) == 2
        told = capsys.readouterr().err
        assert f"{service.upper()}_DATABASE_URL is {owner}'s, not {service}'s" in told
        assert "Traceback" not in told
    assert seen(owner, url).owner == before.owner == owner
    (found,) = check_database(service, url)
    assert (found.code, found.level.value) == ("database-owner", "finding")


def test_another_programs_schema_is_nobodys_of_ours(url: str) -> None:
    """One with migrations of its own, none of which is ours."""
    run(
        url,
        "CREATE TABLE alembic_version (version_num varchar)",
        "INSERT INTO alembic_version VALUES ('0003')",
    )
    with pytest.raises(WrongOwner, match="another program's"):
        upgrade("billing", url)


@pytest.mark.parametrize("service", SERVICES)
def test_a_schema_without_a_mark_gets_one(service: str, url: str) -> None:
    """One row, which no other name can take the place of or stand beside."""
    upgrade(service, url, BEFORE_THE_MARK[service])
    upgrade(service, url)
    found = seen(service, url)
    assert (found.standing, found.owner) == (Standing.CURRENT, service)
    for statement in (
        "INSERT INTO schema_owner VALUES ('other')",
        f"INSERT INTO schema_owner VALUES ('{service}')",
        "UPDATE schema_owner SET service = 'other'",
    ):
        with pytest.raises(Exception, match="constraint"):
            run(url, statement)


@pytest.mark.parametrize("service", SERVICES)
def test_a_newer_releases_schema_is_left_and_well(
    service: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old release that is started, or migrated, again while its successor is rolled out goes on."""
    upgrade(service, url)
    run(url, "UPDATE alembic_version SET version_num = '9999'")
    assert command(service, url, monkeypatch, "migrate") == 0
    assert seen(service, url).revision == "9999"
    assert wait_migrated(service, url, seconds=0) is True
    (found,) = check_database(service, url)
    assert (found.level.value, "9999" in found.text) == ("ok", True)


def provider(url: str, service: str = "portal") -> Database:
    database = Database()
    settings = type("Settings", (), {"database_url": Secret(url)})
    database.container = type(  # type: ignore[assignment]
        "Container",
        (),
        {"config": {"settings": settings}, "max_workers": 1, "service_name": service},
    )
    return database


def test_a_service_does_not_start_on_anothers_schema(url: str) -> None:
    """It would publish the other's events, and delete its rows."""
    upgrade("billing", url)
    database = provider(url)
    with pytest.raises(WrongOwner, match="is billing's, not portal's"):
        database.setup()
    database.stop()


@pytest.mark.parametrize(
    ("revision", "told"), [(None, "the database is empty"), ("0003", "is at migration 0003")]
)
def test_a_service_waits_for_its_migrations(url: str, revision: str | None, told: str) -> None:
    """On an empty or an older schema it starts, says at `/readyz` what is missing and what to run, does no work, and works as
    soon as somebody has migrated."""
    if revision:
        upgrade("portal", url, revision)
    database = provider(url)
    database.setup()
    problem = database.readiness() or ""
    assert told in problem
    assert "run `python -m services.portal migrate`" in problem
    with pytest.raises(DatabaseUnavailable, match=told), database.transactions.transaction():
        pytest.fail("no work on such a schema")
    upgrade("portal", url)
    with database.transactions.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM businesses")) == 0
    assert database.readiness() is None
    database.stop()


def test_a_schema_that_changes_under_a_service_is_seen(url: str) -> None:
    """A restore of another's dump into a database in use: `/readyz` tells, and work ends."""
    upgrade("portal", url)
    database = provider(url)
    database.setup()
    assert database.readiness() is None
    run(
        url,
        "DROP TABLE schema_owner",
        "CREATE TABLE schema_owner (service varchar)",
        "INSERT INTO schema_owner VALUES ('notifier')",
    )
    assert "is notifier's" in (database.readiness() or "")
    with pytest.raises(DatabaseUnavailable), database.transactions.transaction():
        pytest.fail("no work on such a schema")
    database.stop()


def test_a_schema_is_looked_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work pays for the proof with its first transaction alone."""
    upgrade("portal", url)
    looks: list[Any] = []
    monkeypatch.setattr("shared.database.look", lambda *each: looks.append(each) or look(*each))
    engine = make_engine(url)
    transactions = Transactions(engine, "portal")
    for _ in range(3):
        with transactions.transaction():
            pass
    assert len(looks) == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("service", "before"), [("billing", "0008"), ("portal", "0011"), ("notifier", "0012")]
)
def test_what_was_there_and_what_old_replicas_write_is_of_the_own_account(
    service: str, before: str, tmp_path: Path
) -> None:
    """By the column's default; and a migration that was cut off between two tables goes on where it was."""
    url = f"sqlite:///{tmp_path}/{service}.sqlite3"
    upgrade(service, url, before)
    engine = make_engine(url)
    table, values = {
        "billing": ("recovery_leases", "('cus_{}', 'me', '2026-11-01 00:00:00')"),
        "portal": ("deleted_stripe_customers", "('cus_{}', '2026-11-01 00:00:00')"),
        "notifier": ("deleted_customers", "('cus_{}', '2026-11-01 00:00:00')"),
    }[service]
    with engine.begin() as connection:
        names = ", ".join(column["name"] for column in inspect(connection).get_columns(table))
        old = f"INSERT INTO {table} ({names}) VALUES "
        connection.execute(text(old + values.format("before")))
        connection.execute(
            text(f"ALTER TABLE {table} ADD COLUMN account VARCHAR(255) NOT NULL DEFAULT ''")
        )
    upgrade(service, url)
    with engine.begin() as connection:
        connection.execute(text(old + values.format("after")))
        assert connection.scalars(text(f"SELECT account FROM {table}")).all() == ["", ""]
    engine.dispose()
