"""RPC arguments are checked against the method's hints, and the error names the field."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec
import pytest
from sqlalchemy.exc import DataError

from shared.rpc import InternalError, InvalidArgument, NotFound, _public, argument_checker


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
