"""The state file: what every place's store holds, so that a stopped sandbox starts again."""

from __future__ import annotations

import sqlite3
from typing import Any

from sandbox.stripe_api.store import Changes, Store, decode, encode

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects
    (account TEXT, id TEXT, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (account, id));
CREATE TABLE IF NOT EXISTS answers (account TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (account, key));
CREATE TABLE IF NOT EXISTS settings (account TEXT, name TEXT, body BLOB NOT NULL, PRIMARY KEY (account, name));
"""
_COLUMNS = {"objects": "id, seq, body", "answers": "key, body", "settings": "name, body"}


class Database:
    """All stores, and the SQLite file they are written to; with `path` None they are in memory only."""

    def __init__(self, path: str | None) -> None:
        self.stores: dict[str, Store] = {}
        self._changed: dict[Store, None] = {}
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            self._connection = self._open(path)
            self._load(self._connection)

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        known = [row[1] for row in connection.execute("PRAGMA table_info(objects)")]
        if known and "account" not in known:
            _widen(connection)
        connection.executescript(SCHEMA)
        return connection

    def _load(self, connection: sqlite3.Connection) -> None:
        found: Any = connection.execute("SELECT account, seq, body FROM objects ORDER BY seq")
        for namespace, seq, body in found:
            self.store(namespace).read(decode(body), seq)
        found = connection.execute("SELECT account, key, body FROM answers ORDER BY rowid")
        for namespace, key, body in found:
            self.store(namespace).read_answer(key, decode(body))
        for namespace, name, body in connection.execute("SELECT account, name, body FROM settings"):
            self.store(namespace).read_setting(name, decode(body))

    def store(self, namespace: str) -> Store:
        """The store of a namespace, empty if it is new."""
        found = self.stores.get(namespace)
        if found is None:
            found = self.stores[namespace] = Store(namespace, self)
        return found

    def changed(self, store: Store) -> None:
        """A store has something to write."""
        self._changed[store] = None

    def commit(self) -> None:
        """Write everything that changed since the last commit, in one transaction."""
        changed, self._changed = self._changed, {}
        if not changed:
            return
        written = [(store.namespace, store.changes()) for store in changed]
        if self._connection is None:
            return
        with self._connection as connection:
            for namespace, changes in written:
                _write(connection, namespace, changes)

    def close(self) -> None:
        """Write what is left and let the file go."""
        self.commit()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write(connection: sqlite3.Connection, namespace: str, changes: Changes) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
        [(namespace, id, seq, encode(obj)) for id, (seq, obj) in changes.objects.items()],
    )
    connection.executemany(
        "DELETE FROM objects WHERE account = ? AND id = ?", [(namespace, id) for id in changes.gone]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
        [(namespace, key, encode(answer)) for key, answer in changes.answers.items()],
    )
    connection.executemany(
        "DELETE FROM answers WHERE account = ? AND key = ?",
        [(namespace, key) for key in changes.forgotten],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)",
        [(namespace, name, encode(value)) for name, value in changes.settings.items()],
    )


def _widen(connection: sqlite3.Connection) -> None:
    """A state file of an earlier release knows one account: its rows are that one's from now on."""
    with connection:
        connection.execute("BEGIN")
        for table in _COLUMNS:
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_of_one")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        for table, columns in _COLUMNS.items():
            connection.execute(
                f"INSERT INTO {table} (account, {columns}) SELECT '', {columns} FROM {table}_of_one ORDER BY rowid"  # noqa: S608
            )
            connection.execute(f"DROP TABLE {table}_of_one")
