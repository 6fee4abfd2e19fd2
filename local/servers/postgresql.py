"""A PostgreSQL cluster of our own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from local.servers.children import Child, Owner, ServerMissing, StartError, free_port, kept_secret
from sandbox.private import open_private, private_folder

PROGRAM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
OLDEST = 13


class PostgreSQL:
    """A PostgreSQL cluster of our own, with one superuser and a password."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` holds its data, log and password. Without `durable` it forgoes fsync: fast, and lost in a power cut.
        `settings` are more of postgresql.conf.

        Raises ServerMissing.
        """
        self.port = port or free_port()
        self.durable = durable
        self._settings = dict(settings or {})
        self.programs = self._find_programs()
        self._child: Child | None = None
        # PostgreSQL refuses to run as root; a user with no rights of its own does.
        self._owner = self._unprivileged() if os.geteuid() == 0 else None
        self.folder = self._reachable(folder) if self._owner else folder
        private_folder(self.folder)
        if self.folder.stat().st_uid != os.geteuid():
            raise StartError(f"{self.folder} belongs to another user")
        if self._owner:
            os.chown(self.folder, -1, self._owner.gid)
            self.folder.chmod(0o710)  # the cluster's owner must get through to its data
        self._data = self.folder / "data"
        self.password = kept_secret(self.folder / "password")
        self._env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    @staticmethod
    def _find_programs() -> Path:
        folders = [path for pattern in PROGRAM_FOLDERS for path in Path("/").glob(pattern[1:])]
        if on_path := shutil.which("initdb"):
            folders.append(Path(on_path).resolve().parent)
        found: list[tuple[int, Path]] = []
        for folder in folders:
            if not (folder / "initdb").exists() or not (folder / "postgres").exists():
                continue
            said = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, check=False
            ).stdout
            if version := re.search(r"PostgreSQL\) (\d+)", said):
                found.append((int(version[1]), folder))
        if not found or max(found)[0] < OLDEST:
            raise ServerMissing(
                f"PostgreSQL {OLDEST} or newer is not installed (package postgresql)"
            )
        return max(found)[1]

    @staticmethod
    def _unprivileged() -> Owner:
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                account = pwd.getpwnam(name)
                return Owner(account.pw_uid, account.pw_gid)
        raise ServerMissing(
            "PostgreSQL does not run as root, and there is no user postgres or nobody"
        )

    @staticmethod
    def _reachable(folder: Path) -> Path:
        """`folder`, or its stand-in below the system's temporary folder where another user can't get to it."""
        folder = folder.absolute()
        if all(parent.stat().st_mode & 0o001 for parent in folder.parents if parent.exists()):
            return folder
        mark = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        elsewhere = Path(tempfile.gettempdir()) / f"portico-data-{mark}"
        # The data lives as long as the folder it stands in for: `make clean` removes that one.
        pointer = folder / "data-is-elsewhere"
        if not pointer.exists():
            shutil.rmtree(elsewhere, ignore_errors=True)
            private_folder(folder)
            with open_private(pointer, "w") as stream:
                stream.write(f"{elsewhere}\n")
        return elsewhere

    def start(self, within: float = 60.0) -> None:
        """Make the cluster if there is none, start it, wait until it answers. Raises StartError."""
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        settings: dict[str, Any] = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings |= self._settings
        self._child = self._run(
            "postgres", "-D", self._data, *(f"--{name}={value}" for name, value in settings.items())
        )
        self._child.wait_until(self._is_ready, name="PostgreSQL", within=within)

    def copy(self, original: PostgreSQL) -> None:
        """Begin with all that `original` has, its password included, which must not run now. Call it before start()."""
        self.password = original.password
        shutil.rmtree(self._data, ignore_errors=True)
        subprocess.run(["cp", "-a", original._data, self._data], check=True)

    def follow(self, primary: PostgreSQL) -> None:
        """Become a standby of `primary`, which runs: a copy of its data, then what it writes. Call it before start()."""
        self.password = primary.password
        self._make_folder()
        whose = f"host=127.0.0.1 port={primary.port} user=portico password={self.password}"
        copying = self._run(
            "pg_basebackup", "-D", self._data, "-d", whose, "-R", "-X", "stream", "-c", "fast"
        )
        if code := copying.wait(120):
            raise StartError(f"pg_basebackup ended with code {code}:\n{copying.tail()}")

    def promote(self) -> None:
        """Make the standby a primary."""
        self.execute("SELECT pg_promote()")

    def _make_folder(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        if self._owner:
            os.chown(self._data, *self._owner)

    def _make_cluster(self) -> None:
        self._make_folder()
        # initdb runs as the cluster's owner, who may read neither our folder's list nor our password file.
        given = self._data.with_name("password.initdb")
        shutil.copy(self.folder / "password", given)
        if self._owner:
            os.chown(given, *self._owner)
        making = self._run(
            "initdb", "-D", self._data, "--username=portico", f"--pwfile={given}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip
        code = making.wait(120)
        given.unlink()
        if code:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StartError(f"initdb ended with code {code}:\n{making.tail()}")

    def _run(self, program: str, *arguments: str | Path) -> Child:
        return Child(
            [self.programs / program, *arguments],
            env=self._env,
            log=self.folder / "postgresql.log",
            cwd=self._data,
            owner=self._owner,
            # An immediate shutdown: like a crash for the data, but the shared memory is given back.
            death_signal=signal.SIGQUIT,
        )

    def _is_ready(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError), self.connection("postgres"):
            return True
        return False

    def stop(self) -> None:
        """End it in order, open connections notwithstanding. Data and port stay for the next start()."""
        if self._child:
            self._child.stop(signal.SIGINT, within=15)

    def kill(self) -> None:
        """End it as a crash would, at once (an immediate shutdown; the next start recovers)."""
        if self._child:
            self._child.stop(signal.SIGQUIT, within=5)

    def close(self) -> None:
        """End it without ceremony and remove the data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, with its password."""
        return f"postgresql+psycopg2://portico:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def connection(self, database: str) -> Iterator[psycopg2.extensions.connection]:
        """A plain autocommit connection, closed at the end."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="portico",
            password=self.password,
            dbname=database,
            connect_timeout=5,
        )
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def execute(
        self, statement: sql.Composable | str, values: Mapping[str, Any] | None = None
    ) -> None:
        """Run one administrative statement in the database `postgres`."""
        with self.connection("postgres") as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def take_writes(self, taken: bool) -> None:
        """Refuse writes on every connection, as a failover's first seconds do, or take them again."""
        state = "off" if taken else "on"
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
        self.execute("SELECT pg_reload_conf()")

    def end_connections(self, database: str = "") -> None:
        """End the connections of Portico's services, or those to one database alone (57P01)."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'portico' "
            "AND (%(name)s = '' OR datname = %(name)s)",
            {"name": database},
        )

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, a copy of `template` when given (nobody may be connected to that); return its URL."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the connections to it."""
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def databases(self) -> list[str]:
        """The names of the databases that are not PostgreSQL's own."""
        with self.connection("postgres") as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
            )
            return [name for (name,) in cursor.fetchall()]
