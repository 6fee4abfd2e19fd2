"""docs/without-kubernetes.md: its commands, as they stand there, on a RabbitMQ and a PostgreSQL of the tests' own.

What needs systemd, nginx or packages is not run here; tests/unit/deploy/test_systemd.py looks at those files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from local.processes import SERVICES
from local.servers import PostgreSQL, RabbitMQ
from shared.messaging import rights
from tests.fixtures.server_page import blocks, superuser
from tests.fixtures.servers import REPOSITORY

USERS = (*SERVICES, "host")

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def run(folder: Path, rabbitmq: RabbitMQ, postgres: PostgreSQL) -> Iterator[Run]:
    """Run a block of the page with its places and ports replaced; what only a superuser may do, the tests' own does."""
    env = superuser(folder / "bin", rabbitmq, postgres, {})
    places = {
        "/opt/portico/current": str(REPOSITORY),
        "/etc/portico": str(folder / "etc"),
        "/var/backups/portico": str(folder / "backups"),
        "127.0.0.1:5432": f"127.0.0.1:{postgres.port}",
        "127.0.0.1:5672": f"127.0.0.1:{rabbitmq.port}",
    }

    def block(text: str) -> str:
        for place, here in places.items():
            text = text.replace(place, here)
        done = subprocess.run(
            ["sh", "-euc", text], env=env, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield block
    rabbitmq.delete_vhost("portico")
    for user in USERS:
        rabbitmq.ctl("delete_user", user)
    for service in SERVICES:
        postgres.drop_database(service)
        for role in (service, f"{service}_migrations"):
            postgres.execute(f'DROP ROLE "{role}"')


@pytest.fixture(scope="module")
def made(run: Run, folder: Path) -> None:
    """After *Databases and broker* and *Settings*, and the migrations as their unit runs them."""
    for text in (*blocks("Databases and broker"), *blocks("Settings")):
        run(text)
    for service in SERVICES:
        assert start(service, "migrate", folder / "etc" / "migrations" / service) == 0


def start(service: str, command: str, url: Path) -> int:
    """A command of a service with the database's URL from a file; its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}", command],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], f"{service.upper()}_DATABASE_URL_FILE": str(url)},
        timeout=100,
        check=False,
    )
    return done.returncode


def ask(url: Path, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement, as the role of the URL in this file."""
    connection = psycopg2.connect(url.read_text().strip())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return sorted(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def url_of(folder: Path, service: str) -> Path:
    return folder / "etc" / service / f"{service.upper()}_DATABASE_URL"


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_and_writes_rows_and_changes_no_table(folder: Path, service: str) -> None:
    """Its role has its own schema's rows, may make nothing, and does not get into another's database."""
    own = url_of(folder, service)
    assert start(service, "wait-migrated", own) == 0
    assert ask(own, "SELECT count(*) FROM outbox" if service != "notifier" else "SELECT 0")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(own, "CREATE TABLE mine (n int)")
    other = folder / "other"
    neighbour = SERVICES[SERVICES.index(service) - 1]
    other.write_text(own.read_text().replace(f"/{service}\n", f"/{neighbour}\n"))
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        ask(other, "SELECT 1")


@pytest.mark.usefixtures("made")
def test_secrets_are_for_root_alone(folder: Path) -> None:
    """Every file that holds one, and each folder."""
    private = [path for path in (folder / "etc").rglob("*") if path.suffix != ".env"]
    assert len(private) > 15
    assert [path for path in private if path.stat().st_mode & 0o077] == []


@pytest.mark.usefixtures("made")
def test_the_brokers_users_have_the_rights_of_the_code(rabbitmq: RabbitMQ) -> None:
    """As on Kubernetes: three expressions a user, and the routing keys of each topic exchange."""
    listed = rabbitmq.ctl("list_permissions", "-p", "portico", "--no-table-headers")
    given = {user: rest for user, *rest in (line.split("\t") for line in listed.splitlines())}
    keys = rabbitmq.ctl("list_topic_permissions", "-p", "portico", "--no-table-headers")
    topics = {tuple(line.split("\t")) for line in keys.splitlines()}
    expected = {user: one for user, one in rights.users().items() if user in USERS}
    for user, one in expected.items():
        assert given[user] == [one.configure, one.write, one.read]
    assert topics == {
        (user, exchange, topic.write, topic.read)
        for user, one in expected.items()
        for exchange, topic in one.topics.items()
    }
    assert "rpc-requests" in rabbitmq.ctl("list_policies", "-p", "portico")


RIGHTS = """
SELECT c.relname::text, c.relkind::text, pg_get_userbyid(c.relowner)::text, coalesce(c.relacl::text, '')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
"""
DATABASE_RIGHTS = "SELECT datname::text, pg_get_userbyid(datdba)::text, datacl::text FROM pg_database WHERE datname = current_database()"
DEFAULTS = "SELECT pg_get_userbyid(defaclrole)::text, defaclobjtype::text, defaclacl::text FROM pg_default_acl"
SCHEMA_RIGHTS = "SELECT nspname::text, nspacl::text FROM pg_namespace WHERE nspname = 'public'"


@pytest.mark.usefixtures("made")
def test_what_was_backed_up_comes_back_with_its_owners_and_rights(run: Run, folder: Path) -> None:
    """*Backup*'s dump and *Restore*'s commands: rows, owners and rights are as they were; what came later is gone."""

    def everything() -> list[Any]:
        found: list[Any] = []
        for service in SERVICES:
            owner = folder / "etc" / "migrations" / service
            found += [ask(owner, one) for one in (RIGHTS, DATABASE_RIGHTS, DEFAULTS, SCHEMA_RIGHTS)]
            found.append(ask(owner, "SELECT * FROM alembic_version"))
        return found

    (folder / "backups").mkdir()
    before = everything()
    script = REPOSITORY / "deploy/systemd/backup.sh"
    dump = Path(run(f"sh {script} {folder}/backups").strip())
    assert sorted(path.name for path in dump.iterdir()) == sorted(f"{one}.dump" for one in SERVICES)
    assert dump.stat().st_mode & 0o077 == 0
    for service in SERVICES:
        ask(folder / "etc" / "migrations" / service, "CREATE TABLE later (n int)")
    (restore,) = [text for text in blocks("Restore") if "pg_restore" in text]
    run(restore)
    assert everything() == before
    for service in SERVICES:
        assert start(service, "migrate", folder / "etc" / "migrations" / service) == 0
        assert start(service, "wait-migrated", url_of(folder, service)) == 0
