"""What comes in from the broker: read into what is expected, whatever it is."""

from __future__ import annotations

import datetime as dt
import math
from contextlib import suppress
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.incoming import (
    GIVEN_UP_AT,
    MOST,
    TEXT_LENGTH,
    Reply,
    Unreadable,
    assure_json,
    carried,
    own_headers,
    read_json,
    read_reply,
)
from tests.unit.any_text import any_text

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | any_text()
    | st.binary()
    | st.decimals(-10, 10, places=2)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(any_text(), inner), max_leaves=5
)
names = st.sampled_from(
    ["x-attempt", "x-replays", "x-error", "x-original-routing-key", "x-delivery-count", "nameko.correlation_id",
     "nameko.traceparent", "x-first-death-reason"]
) | any_text(max_size=300) | st.binary(max_size=20)  # fmt: skip


def message(body: Any = b"{}", **how: Any) -> Any:
    return SimpleNamespace(
        body=body, **{"refusal": "", "content_type": "application/json", "content_encoding": "utf-8", **how}
    )  # fmt: skip


@pytest.mark.whole
@given(st.dictionaries(names, values))
def test_any_headers_are_read_into_their_types_and_bounds(headers: dict[Any, Any]) -> None:
    """Counts are counts, texts are texts of a bounded length, and nothing raises."""
    own = own_headers(headers)
    assert all(
        type(n) is int and 0 <= n <= MOST for n in (own.attempt, own.replays, own.deliveries)
    )
    assert all(
        len(text) <= TEXT_LENGTH for text in (own.error, own.original_routing_key, own.died_of)
    )
    assert all(value.isprintable() for value in own.context().values())


@pytest.mark.whole
@given(st.dictionaries(names, values, max_size=60))
def test_what_is_carried_along_can_be_written_again(headers: dict[Any, Any]) -> None:
    """Plain headers alone, few and short enough for one frame, and none of the broker's own."""
    kept = carried(headers)
    assert len(dumps("F", (kept,))) < 100_000
    assert not any(name.startswith(("x-death", "x-delivery-count")) for name in kept)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (3, 3), (10**30, MOST), (-5, 0), ("abc", 0), ("2", 0), (True, 0), (2.0, 0), (math.nan, 0), ([1], 0), (Decimal(1), 0), (None, 0)],
)  # fmt: skip
def test_a_count_is_a_number_from_zero_up(value: Any, count: int) -> None:
    """Anything else counts as absent: whoever wrote it was not us."""
    assert own_headers({"x-attempt": value}).attempt == count


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"refusal": "compressed: gzip"}, "compressed: gzip"),
        ({"content_type": "application/x-python-serialize"}, "content type"),
        ({"content_type": "application/x-yaml"}, "content type"),
        ({"content_type": "text/plain"}, "content type"),
        ({"content_type": "application/json; charset=utf-16"}, "charset"),
        ({"content_type": "application/jsonp; charset=utf-8"}, "content type"),
        ({"content_encoding": "utf-7"}, "content encoding"),
        ({"content_encoding": "gzip"}, "content encoding"),
    ],
)
def test_only_json_in_utf8_is_read(how: dict[str, Any], why: str) -> None:
    """A sender can't choose another codec, and what was refused on its way in stays so."""
    with pytest.raises(Unreadable, match=why):
        assure_json(message(**how))


@pytest.mark.parametrize("how", [{}, {"content_type": None}, {"content_type": "Application/JSON"}, {"content_type": "application/json; charset=utf-8"}, {"content_type": 'application/json;charset="UTF-8"'}, {"content_encoding": None}, {"content_encoding": "binary"}])  # fmt: skip
def test_json_may_be_called_so_in_several_ways(how: dict[str, Any]) -> None:
    """Clients in other languages leave out what kombu writes."""
    assert read_json(message(b'{"a": 1}', **how)) == {"a": 1}


@given(any_text())
def test_any_content_type_is_taken_or_refused(content_type: str) -> None:
    """Whatever a sender writes there."""
    for written in (content_type, f"application/json;{content_type}"):
        with suppress(Unreadable):
            assure_json(message(content_type=written))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[" * 100_000, b'{"a": ' * 100_000, b"1" * 5000, b'{"__type__": "uuid", "__value__": {"x": 1}}'],
    ids=lambda body: repr(body)[:20],
)  # fmt: skip
def test_a_body_that_is_none_is_unreadable(body: bytes) -> None:
    """Too deep, too long a number, half a value: one kind of error for all."""
    with pytest.raises(Unreadable, match="undecodable"):
        read_json(message(body))


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (b'{"result": [1], "error": null}', Reply([1])),
        (b"{}", Reply(None)),
        (b"[]", Reply(error="UnreadableReply", text="the reply is no object")),
        (b"x", Reply(error="UnreadableReply", text="the reply is undecodable: JSONDecodeError")),
        (b'{"error": 1}', Reply(error="None", text="None")),
        (b'{"error": {"exc_type": "NotFound", "value": "nobody"}}', Reply(error="NotFound", text="nobody")),
        (b'{"error": {"exc_type": [1], "value": {}}}', Reply(error="[1]", text="{}")),
    ],
)  # fmt: skip
def test_any_reply_is_a_result_or_an_error(body: bytes, reply: Reply) -> None:
    """Whoever waits gets one of both."""
    assert read_reply(message(body)) == reply


def test_when_a_letter_was_given_up_is_what_we_noted_else_what_the_broker_did() -> None:
    """In UTC; anything else counts as not noted."""
    at = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.UTC)
    death = {"time": at.replace(tzinfo=None), "reason": "delivery_limit"}
    assert own_headers({GIVEN_UP_AT: "2026-11-23T11:00:00+01:00"}).given_up_at == at
    assert own_headers({"x-death": [death, {}]}).given_up_at == at
    assert own_headers({GIVEN_UP_AT: "", "x-death": [death]}).given_up_at == at
    for odd in ("yesterday", "2026-11-23T11:00:00", 7, "0001-01-01T00:00:00+14:00"):
        assert own_headers({GIVEN_UP_AT: odd, "x-death": [odd]}).given_up_at is None
