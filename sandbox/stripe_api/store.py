"""The objects of one place: in memory with ordered indexes, written through to the state file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

Object = dict[str, Any]
Key = tuple[str, ...]

encode = msgspec.json.encode
decode = msgspec.json.decode


class Notebook(Protocol):
    """Hears which stores have something to write."""

    def changed(self, store: Store) -> None: ...


def copy(value: Any) -> Any:
    """A deep copy of a JSON value."""
    return decode(encode(value))


def nulls(names: str) -> Object:
    """Fields, named with spaces between, that are null until something is known of them."""
    return dict.fromkeys(names.split())


def as_given(params: dict[str, Any], names: str) -> Object:
    """Fields, named with spaces between, as a request gives them; null where it doesn't."""
    return {name: params.get(name) for name in names.split()}


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


class Changes(NamedTuple):
    """What is to be written of a store: objects with their place in the order, answers and settings."""

    objects: dict[str, tuple[int, Object]]
    gone: list[str]
    answers: dict[str, Any]
    forgotten: list[str]
    settings: dict[str, Any]


class Store:
    """Objects by id, listed in the order they were made. One writer at a time: the engine holds the lock."""

    __slots__ = (
        "_answers",
        "_dirty",
        "_id_of",
        "_index",
        "_keys",
        "_new_answers",
        "_new_settings",
        "_next_seq",
        "_notebook",
        "_objects",
        "_seq_of",
        "_settings",
        "namespace",
    )

    def __init__(self, namespace: str, notebook: Notebook) -> None:
        self.namespace = namespace
        self._notebook = notebook
        self._objects: dict[str, Object] = {}
        self._seq_of: dict[str, int] = {}
        self._id_of: dict[int, str] = {}
        self._index: dict[Key, list[int]] = {}
        self._keys: dict[str, tuple[Key, ...]] = {}
        self._next_seq = 1
        self._dirty: dict[str, None] = {}
        self._answers: dict[str, Any] = {}
        self._new_answers: dict[str, None] = {}
        self._settings: dict[str, Any] = {}
        self._new_settings: dict[str, None] = {}

    def read(self, obj: Object, seq: int) -> None:
        """Take an object from the state file."""
        self._place(obj, seq)
        self._next_seq = max(self._next_seq, seq + 1)

    def read_answer(self, key: str, answer: Any) -> None:
        """Take an answer from the state file."""
        self._answers[key] = answer

    def read_setting(self, name: str, value: Any) -> None:
        """Take a setting from the state file."""
        self._settings[name] = value

    def all(self) -> list[Object]:
        """Every object, in the order they were made."""
        return [self._objects[id] for _, id in sorted(self._id_of.items())]

    def __contains__(self, id: str) -> bool:
        return id in self._objects

    def __len__(self) -> int:
        return len(self._objects)

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
        self._notebook.changed(self)

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
        self._notebook.changed(self)

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
        self._new_answers[key] = None
        self._notebook.changed(self)

    def forget_oldest_answers(self, keep: int) -> None:
        """Bound the number of kept answers."""
        while len(self._answers) > keep:
            key = next(iter(self._answers))
            del self._answers[key]
            self._new_answers[key] = None
            self._notebook.changed(self)

    def setting(self, name: str, default: Any) -> Any:
        """A small value that is kept next to the objects (the clock's offset)."""
        return self._settings.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Keep a small value."""
        self._settings[name] = value
        self._new_settings[name] = None
        self._notebook.changed(self)

    def changes(self) -> Changes:
        """What changed since this was asked last."""
        dirty, self._dirty = self._dirty, {}
        answers, self._new_answers = self._new_answers, {}
        settings, self._new_settings = self._new_settings, {}
        return Changes(
            {id: (self._seq_of[id], self._objects[id]) for id in dirty if id in self._objects},
            [id for id in dirty if id not in self._objects],
            {key: self._answers[key] for key in answers if key in self._answers},
            [key for key in answers if key not in self._answers],
            {name: self._settings[name] for name in settings},
        )
