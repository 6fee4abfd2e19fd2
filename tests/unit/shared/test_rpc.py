"""RPC arguments are checked against the method's hints, and the error names the field."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from sqlalchemy.exc import DataError

from shared import rpc
from shared.messaging.amqp import BrokerRefused
from shared.rpc import (
    InternalError,
    InvalidArgument,
    NotFound,
    RpcRefused,
    RpcUnavailable,
    _public,
    argument_checker,
)


class Visit(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    starts_at: dt.datetime
    status: Literal["scheduled", "cancelled"] = "scheduled"


class Service:
    def book(self, customer_id: str, visits: list[Visit], limit: int | None = None):
        """Take visits."""


check = argument_checker(Service.book)
VISIT = {"title": "Cleaning", "starts_at": "2026-11-23T10:00:00Z"}


def test_typed_arguments():
    """JSON becomes the types of the hints; defaults are filled in."""
    arguments = check(("c1",), {"visits": [VISIT]})
    assert arguments == {
        "customer_id": "c1",
        "visits": [Visit("Cleaning", dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC))],
        "limit": None,
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"visits": []}, "customer_id"),
        ((3,), {"visits": []}, "customer_id: expected str, got int"),
        (
            ("c",),
            {"visits": [{**VISIT, "title": None}]},
            r"visits\[0\]\.title: expected str, got null",
        ),
        (("c",), {"visits": [VISIT], "colour": 1}, "unknown argument colour"),
        (("c",), {"visits": [{**VISIT, "status": "gone"}]}, "status"),
        (("c",), {"visits": {}}, "visits: expected array"),
        (("c",), {"visits": [], "limit": "9"}, "limit"),
        (("c", [], 1, 2), {}, "takes 3 arguments, got 4"),
        (("c",), {"customer_id": "c", "visits": []}, "customer_id: given twice"),
    ],
)
def test_wrong_arguments_name_the_field(args, kwargs, message):
    """A wrong shape is refused before any work, and the caller learns which field it was."""
    with pytest.raises(InvalidArgument, match=message):
        check(args, kwargs)


def test_callers_see_no_internals():
    """An unexpected error crosses the wire without its text; one of ours as it is."""
    assert "secret" not in str(_public(ValueError("secret")))
    assert isinstance(_public(ValueError("secret")), InternalError)
    ours = NotFound("no such customer")
    assert _public(ours) is ours


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", {"x": ["\x00"]}, ["\udfff"]])
def test_text_that_no_database_takes_is_a_wrong_argument(value):
    """JSON can say NUL and half a surrogate pair; the field is named before a statement fails on it."""

    def method(self, thing: Any) -> None: ...

    check = argument_checker(method)
    with pytest.raises(InvalidArgument, match="thing: expected text"):
        check((), {"thing": value})
    assert check((), {"thing": "fine \U0001f600"}) == {"thing": "fine \U0001f600"}


def test_arguments_nested_too_deeply_are_wrong_arguments():
    """Deeper than we can walk is said by name, like any other wrong argument."""
    nested: Any = "x"
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        check((), {"customer_id": nested})


def test_what_no_column_takes_is_a_wrong_argument():
    """A number or a text beyond its column was the caller's, and its value stays out of the answer."""
    error = _public(DataError("INSERT …", {"attempts": 2**31}, Exception("integer out of range")))
    assert isinstance(error, InvalidArgument)
    assert "INSERT" not in str(error)


def test_a_call_that_the_broker_refuses_is_no_broker_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has an error of its own, which names the method; whoever can do without the answer takes it like any other."""

    class Refusing:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def publish(self, *args: Any, **kwargs: Any) -> None:
            raise BrokerRefused("ACCESS_REFUSED")

    monkeypatch.setattr(rpc._BoundedMethod, "publisher_cls", Refusing)
    container = SimpleNamespace(config={"AMQP_URI": "amqp://"}, service_name="notifier")
    worker = SimpleNamespace(container=container, context_data={}, data={})
    listener = SimpleNamespace(
        routing_key="address", get_reply_event=lambda call: None, forget=lambda call: None
    )
    call = rpc._BoundedMethod(worker, "portal", "erase_customer", listener, 1.0)
    with pytest.raises(RpcRefused, match=r"portal\.erase_customer: ACCESS_REFUSED"):
        call()
    assert issubclass(RpcRefused, RpcUnavailable)


@pytest.mark.parametrize(
    ("exchange", "headers", "straight"),
    [
        ("nameko-rpc", {}, True),
        ("amq.topic", None, True),
        ("", {}, False),
        ("host.detour", {}, False),
        ("nameko-rpc", {"x-death": [{"queue": "host.detour"}]}, False),
        ("nameko-rpc", {"x-death": "anything"}, False),
        (None, {}, False),
    ],
)
def test_only_what_was_published_for_the_broker_to_look_at_is_called(
    exchange: str | None, headers: dict[str, Any] | None, straight: bool
) -> None:
    """Not what came by the default exchange, by somebody's own, or as a dead letter."""
    info = {} if exchange is None else {"exchange": exchange}
    message = SimpleNamespace(delivery_info=info, headers=headers)
    assert rpc._came_straight(message) == straight
