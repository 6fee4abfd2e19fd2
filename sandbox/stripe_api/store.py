"""All objects: in memory with ordered indexes, written through to SQLite so that a stopped sandbox starts again."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any

import msgspec

Object = dict[str, Any]
Key = tuple[str, ...]

encode = msgspec.json.encode
decode = msgspec.json.decode

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body BLOB NOT NULL);
"""


def copy(value: Any) -> Any:
    """A deep copy of a JSON value."""
    return decode(encode(value))


def index_keys(obj: Object) -> tuple[Key, ...]:
    """Under which keys an object is listed. The first element is always its `object`."""
    kind = obj["object"]
    keys: list[Key] = [(kind,)]
    for field in ("customer", "subscription", "invoice", "payment_intent", "charge", "product"):
        value = obj.get(field)
        if isinstance(value, str):
            keys.append((kind, field, value))
    status = obj.get("status")
    if isinstance(status, str) and kind in ("invoice", "subscription"):
        keys.append((kind, "status", status))
        keys.append((kind, "customer", str(obj.get("customer")), "status", status))
    if kind == "invoice":
        details = (obj.get("parent") or {}).get("subscription_details") or {}
        if details.get("subscription"):
            keys.append((kind, "subscription", details["subscription"]))
    elif kind == "invoiceitem" and obj.get("invoice") is None:
        keys.append((kind, "pending", obj["customer"]))
    elif kind == "invoice_payment":
        keys.append((kind, "payment_intent", obj["payment"]["payment_intent"]))
    elif kind == "event":
        keys.append((kind, "type", obj["type"]))
        if "pending" in obj["_deliveries"].values():
            keys.append((kind, "pending"))
    elif kind == "customer" and obj.get("email"):
        keys.append((kind, "email", obj["email"]))
    elif kind == "billing_portal.session":
        keys.append((kind, "secret", obj["_secret"]))
    if obj.get("test_clock"):
        keys.append((kind, "test_clock", obj["test_clock"]))
    return tuple(keys)


class Store:
    """Objects by id, listed in the order they were made. One writer at a time: the world holds its lock."""

    def __init__(self, path: str | None) -> None:
        self._objects: dict[str, Object] = {}
        self._seq_of: dict[str, int] = {}
        self._id_of: dict[int, str] = {}
        self._index: dict[Key, list[int]] = {}
        self._keys: dict[str, tuple[Key, ...]] = {}
        self._next_seq = 1
        self._dirty: dict[str, None] = {}
        self._answers: dict[str, Any] = {}
        self._new_answers: list[str] = []
        self._settings: dict[str, Any] = {}
        self._new_settings: set[str] = set()
        self._database: sqlite3.Connection | None = None
        if path is not None:
            self._database = self._open(path)
            self._load(self._database)

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        database = sqlite3.connect(path, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(SCHEMA)
        return database

    def _load(self, database: sqlite3.Connection) -> None:
        for seq, body in database.execute("SELECT seq, body FROM objects ORDER BY seq"):
            obj = decode(body)
            self._place(obj, seq)
            self._next_seq = seq + 1
        for key, body in database.execute("SELECT key, body FROM answers ORDER BY rowid"):
            self._answers[key] = decode(body)
        for name, body in database.execute("SELECT name, body FROM settings"):
            self._settings[name] = decode(body)

    def get(self, id: str) -> Object | None:
        """The object itself, not a copy: change it only between `get` and `save`."""
        return self._objects.get(id)

    def save(self, obj: Object) -> None:
        """Keep a new object, or what has changed about a known one."""
        id = obj["id"]
        seq = self._seq_of.get(id)
        if seq is None:
            seq = self._next_seq
            self._next_seq += 1
        self._place(obj, seq)
        self._dirty[id] = None

    def _place(self, obj: Object, seq: int) -> None:
        id = obj["id"]
        self._objects[id] = obj
        self._seq_of[id] = seq
        self._id_of[seq] = id
        keys = index_keys(obj)
        before = self._keys.get(id, ())
        if keys == before:
            return
        self._keys[id] = keys
        for key in before:
            if key not in keys:
                self._drop(key, seq)
        for key in keys:
            if key not in before:
                insort(self._index.setdefault(key, []), seq)

    def _drop(self, key: Key, seq: int) -> None:
        seqs = self._index[key]
        del seqs[bisect_left(seqs, seq)]
        if not seqs:
            del self._index[key]

    def remove(self, id: str) -> None:
        """Forget an object."""
        seq = self._seq_of.pop(id)
        del self._id_of[seq]
        del self._objects[id]
        for key in self._keys.pop(id):
            self._drop(key, seq)
        self._dirty[id] = None

    def count(self, *key: str) -> int:
        """How many objects are listed under a key."""
        return len(self._index.get(key, ()))

    def oldest(self, *key: str) -> Iterator[Object]:
        """The objects under a key, in the order they were made; the list as it stands now."""
        for seq in tuple(self._index.get(key, ())):
            if seq in self._id_of:
                yield self._objects[self._id_of[seq]]

    def newest(
        self, *key: str, after: str | None = None, before: str | None = None
    ) -> Iterator[Object]:
        """The objects under a key, newest first.

        `after` starts below the object with that id; `before` instead walks *up* from the object with that id,
        oldest first, as a page that ends there is collected.
        """
        seqs = self._index.get(key, [])
        if before is not None:
            start = bisect_right(seqs, self._seq_of[before])
            order: Iterator[int] = iter(range(start, len(seqs)))
        else:
            stop = len(seqs) if after is None else bisect_left(seqs, self._seq_of[after])
            order = iter(range(stop - 1, -1, -1))
        for position in order:
            yield self._objects[self._id_of[seqs[position]]]

    def first(self, *key: str) -> Object | None:
        """The newest object under a key."""
        return next(self.newest(*key), None)

    def eldest(self, *key: str) -> Object | None:
        """The object under a key that was made before all others."""
        seqs = self._index.get(key)
        return self._objects[self._id_of[seqs[0]]] if seqs else None

    def answer(self, key: str) -> Any:
        """What was answered under an idempotency key, or None."""
        return self._answers.get(key)

    def remember_answer(self, key: str, answer: Any) -> None:
        """Keep an answer under an idempotency key."""
        self._answers[key] = answer
        self._new_answers.append(key)

    def forget_oldest_answers(self, keep: int) -> None:
        """Bound the number of kept answers."""
        while len(self._answers) > keep:
            key = next(iter(self._answers))
            del self._answers[key]
            if self._database is not None:
                self._database.execute("DELETE FROM answers WHERE key = ?", (key,))

    def setting(self, name: str, default: Any) -> Any:
        """A small value that is kept next to the objects (the clock's offset)."""
        return self._settings.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Keep a small value."""
        self._settings[name] = value
        self._new_settings.add(name)

    def commit(self) -> None:
        """Write everything that changed since the last commit, in one transaction."""
        if not (self._dirty or self._new_answers or self._new_settings):
            return
        dirty, self._dirty = self._dirty, {}
        answers, self._new_answers = self._new_answers, []
        settings, self._new_settings = self._new_settings, set()
        if self._database is None:
            return
        with self._database as database:
            gone = [(id,) for id in dirty if id not in self._objects]
            kept = [
                (id, self._seq_of[id], encode(self._objects[id]))
                for id in dirty
                if id in self._objects
            ]
            database.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", kept)
            database.executemany("DELETE FROM objects WHERE id = ?", gone)
            database.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)",
                [(key, encode(self._answers[key])) for key in answers if key in self._answers],
            )
            database.executemany(
                "INSERT OR REPLACE INTO settings VALUES (?, ?)",
                [(name, encode(self._settings[name])) for name in settings],
            )

    def close(self) -> None:
        """Write what is left and let the file go."""
        self.commit()
        if self._database is not None:
            self._database.close()
            self._database = None
