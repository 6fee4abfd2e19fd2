"""Every RPC method with arguments that nobody should send, over the real broker: a named error or an answer."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import types
import typing
import uuid
from collections.abc import Iterator
from typing import Any

import kombu
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.make_docs import SERVICES, rpc_methods
from shared.messaging import topology
from tests.faults.system import System

METHODS = {
    f"{service}.{name}": method
    for service, class_name in SERVICES.items()
    for name, method in rpc_methods(
        getattr(importlib.import_module(f"services.{service}.service"), class_name)
    )
}
FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = "x" * 200_000

odd_text = st.sampled_from(
    ["", " ", "\x00", "a\x00b", "\ud800", "\udfff!", "‮x", "é" * 300, "%s%n{}", "1'; DROP TABLE x;--", LONG]
)  # fmt: skip
odd_values: st.SearchStrategy[Any] = st.one_of(
    odd_text,
    st.sampled_from([None, True, -1, 0, 2**31, 2**63, -(2**63) - 1, 10**40, 1e308, 0.5]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.sampled_from([[], {}, [[]], [None], {"": ""}, {"\x00": 1}, {"__type__": "datetime"}]),
    st.lists(odd_text, max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)
times = st.sampled_from(
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "now"]
)  # fmt: skip


def fitting(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a parameter's type, as JSON has them; odd where the type lets them be."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(fitting, inner))
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(fitting(inner[0]), max_size=3)
    if inspect.isclass(hint) and issubclass(hint, msgspec.Struct):
        fields = {field.encode_name: fitting(field.type) for field in msgspec.structs.fields(hint)}
        return st.fixed_dictionaries({}, optional=fields)
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: st.sampled_from(["faults", "c0", "cus_faults0", "in_1", "a@example.com", "en", "UTC", "1h"]) | odd_text,
        int: st.integers() | st.integers(-2, 1000),
        bool: st.booleans(),
        type(None): st.none(),
    }  # fmt: skip
    return known.get(hint, times)


def arguments(method: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Calls of a method: each argument fits, is odd, or is left out; and sometimes one that it doesn't have."""
    hints = typing.get_type_hints(method)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    each = {name: fitting(hints[name]) | odd_values for name in names}
    return st.fixed_dictionaries(
        {}, optional={**each, "stranger": odd_values}
    ) | st.fixed_dictionaries({name: fitting(hints[name]) for name in names})


class Caller:
    """Calls with any body at all, and their whole answers."""

    def __init__(self, uri: str) -> None:
        self._connection = kombu.Connection(uri)
        self._channel = self._connection.channel()
        self._address = str(uuid.uuid4())
        queue = topology.reply_queue("fuzz", self._address, exclusive=True, durable=False)
        self._replies: dict[str, dict[str, Any]] = {}
        self._consumer = kombu.Consumer(
            self._channel, [queue], on_message=self._heard, no_ack=True, accept=["json"]
        )
        self._consumer.consume()

    def _heard(self, message: Any) -> None:
        self._replies[message.properties["correlation_id"]] = json.loads(message.body)

    def call(self, method: str, body: bytes, content_type: str = "application/json") -> str | None:
        """The name of the error that is answered, None for a result. Raises TimeoutError without an answer."""
        call_id = str(uuid.uuid4())
        kombu.Producer(self._channel).publish(
            body, exchange=topology.RPC_EXCHANGE, routing_key=method, reply_to=self._address,
            correlation_id=call_id, content_type=content_type, content_encoding="utf-8",
        )  # fmt: skip
        while call_id not in self._replies:
            self._connection.drain_events(timeout=20)
        error = self._replies.pop(call_id)["error"]
        return error["exc_type"] if error else None

    def close(self) -> None:
        self._connection.release()


@pytest.fixture(scope="module")
def caller(system: System) -> Iterator[Caller]:
    made = Caller(system.rabbitmq.uri_of(system.stack.vhost))
    yield made
    made.close()


ALONE = frozenset({"spent_codes", "stripe_reads"})
"""Tables that are written apart from a call's own transaction: a code of Stripe's is spent before Stripe is asked, and stays so; reads are
counted twice a minute."""


class Tables:
    """How many rows there are in each table of a service: asked a thousand times, over one connection."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()
        self._cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        self._names = [name for (name,) in self._cursor.fetchall() if name not in ALONE]

    def rows(self) -> dict[str, int]:
        counts = ", ".join(f'(SELECT count(*) FROM "{name}")' for name in self._names)
        self._cursor.execute(f"SELECT {counts}")
        return dict(zip(self._names, self._cursor.fetchone(), strict=True))


@pytest.fixture(scope="module")
def tables(system: System) -> Iterator[dict[str, Tables]]:
    """The tables of each service."""
    with contextlib.ExitStack() as stack:
        yield {
            service: Tables(
                stack.enter_context(system.postgres.connection(system.stack.database_name(service)))
            )
            for service in SERVICES
        }


@pytest.mark.parametrize("name", METHODS)
def test_any_arguments_are_answered_by_name(
    caller: Caller, tables: dict[str, Tables], name: str
) -> None:
    """No internal error and no silence, whatever the arguments; and a call that is refused has written nothing."""
    table = tables[name.partition(".")[0]]
    known = table.rows()

    @FEW
    @given(arguments(METHODS[name]))
    def check(kwargs: dict[str, Any]) -> None:
        nonlocal known
        error = caller.call(name, json.dumps({"args": [], "kwargs": kwargs}).encode())
        assert error != "InternalError"
        found = table.rows()
        assert error is None or found == known
        known = found

    check()


def deep(levels: int) -> bytes:
    return b'{"args": [], "kwargs": {"customer_id": ' + b"[" * levels + b"]" * levels + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b'"args"',
        b"{}",
        b'{"args": {}, "kwargs": []}',
        b'{"args": [1, 2, 3], "kwargs": {}}',
        b'{"args": ["a"], "kwargs": {"customer_id": "a"}}',
        b'{"args": [], "kwargs": {"customer_id": {"__type__": "decimal", "__value__": "x"}}}',
        b"\xff\xfe\x00",
        deep(100),
        deep(400),
        deep(900),
        deep(50_000),
    ],
    ids=lambda body: f"{body[:30]!r}{len(body)}",
)
def test_any_request_at_all_is_answered_by_name(
    caller: Caller, tables: dict[str, Tables], body: bytes
) -> None:
    """What is no JSON, no request or too deep to read is InvalidArgument, at once."""
    for service, method in (("portal", "link"), ("billing", "replay"), ("notifier", "cancel")):
        before = tables[service].rows()
        assert caller.call(f"{service}.{method}", body) == "InvalidArgument"
        assert tables[service].rows() == before


def test_an_unknown_method_or_content_type_is_answered_by_name(caller: Caller) -> None:
    """A method that is none, and a body that says it is a pickle."""
    assert caller.call("portal.no_such", b'{"args": [], "kwargs": {}}') == "MethodNotFound"
    assert caller.call("portal.link", b"\x80\x04.", "application/x-python-serialize") == "InvalidArgument"  # fmt: skip


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("invoice_state", {"invoice_id": ""}, "UnknownInvoice"),
        ("hosted_invoice_url", {"invoice_id": "", "stripe_customer_id": "cus_1"}, "UnknownInvoice"),
        (
            "cancel_at_period_end",
            {"stripe_customer_id": "cus_1", "subscription_id": "", "idempotency_key": "k"},
            "UnknownSubscription",
        ),
    ],
)
def test_an_empty_id_of_stripes_is_unknown(
    caller: Caller, method: str, arguments: dict[str, str], error: str
) -> None:
    """It is never put into an address of Stripe's, where it would ask for a list."""
    body = json.dumps({"args": [], "kwargs": arguments}).encode()
    assert caller.call(f"billing.{method}", body) == error


def test_every_service_has_lived_through_it(system: System) -> None:
    """The processes are those that were started, and what they answer is what they answered before."""
    assert system.fell == []
    for name, text in system.stack.logs().items():
        assert "a service died" not in text, name
