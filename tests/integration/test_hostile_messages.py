"""Messages that nobody should send: each is a dead letter with its reason, or an answer, and the process lives on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import amqp
import kombu
import pytest

from local.servers import RabbitMQ
from shared.messaging.transport import MESSAGE_BYTES
from tests.fixtures.listener import CALLS, EVENTS, Listener, eventually

MANY_DEEP = 5_000


class Raw:
    """Publishes properties that are bytes of our choice."""

    def __init__(self, listener: Listener) -> None:
        at = kombu.Connection(listener.rabbitmq.uri_of(listener.vhost))
        self._connection = amqp.Connection(
            f"127.0.0.1:{at.port}", at.userid, at.password, virtual_host=at.virtual_host
        )
        self._connection.connect()
        self.channel = self._connection.channel()

    def publish(self, body: bytes, properties: bytes, key: str, exchange: str = "") -> None:
        message = amqp.Message(body)
        message._serialize_properties = lambda: properties  # type: ignore[method-assign]
        self.channel.basic_publish(message, exchange, key)
        self.channel.queue_declare(key if exchange == "" else CALLS, passive=True)  # it has come


def table(*entries: bytes) -> bytes:
    """A table of headers, from its entries."""
    whole = b"".join(entries)
    return struct.pack(">I", len(whole)) + whole


def nested(levels: int) -> bytes:
    """A header that is a table in a table in a table …"""
    inner = table()
    for _ in range(levels):
        inner = table(b"\x01k" + b"F" + inner)
    return b"\x01k" + b"F" + inner


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


PROPERTIES = {
    "a reply address that is no UTF-8": (0x0200, short(b"\xff\xfe")),
    "a content type that is no UTF-8": (0x8000, short(b"\xff")),
    "a message id that is no UTF-8": (0x0080, short(b"\xc3")),
    "a time beyond the calendar": (0x2000, table(b"\x01tT" + b"\xff" * 8)),
    "tables in tables without end": (0x2000, table(nested(MANY_DEEP))),
}


@pytest.fixture(scope="module")
def listener(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """One process for all of them: it has to live through the lot."""
    rabbitmq.add_vhost("hostile")
    made = Listener(rabbitmq, "hostile", tmp_path_factory.mktemp("hostile"))
    yield made
    made.close()
    rabbitmq.delete_vhost("hostile")


@pytest.fixture
def raw(listener: Listener) -> Iterator[Raw]:
    made = Raw(listener)
    yield made
    made._connection.close()


def good(listener: Listener) -> None:
    """It is the same process, it handles the next event, and nothing is left behind."""
    assert listener.handles()
    assert listener.answers()
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[EVENTS][0] == 0, 5)
    assert "not listening" not in listener.process.log_text()
    assert "a service died" not in listener.process.log_text()


@pytest.mark.parametrize("what", PROPERTIES)
def test_properties_that_cannot_be_read_are_a_dead_letter(
    listener: Listener, raw: Raw, what: str
) -> None:
    """AMQP lets anybody put any bytes there. The message is given up with the reason, and the loop reads on."""
    flag, value = PROPERTIES[what]
    raw.publish(b"{}", struct.pack(">H", flag) + value, EVENTS)
    raw.publish(b"{}", struct.pack(">H", flag) + value, CALLS)
    letters: list[Any] = []
    eventually(lambda: bool(letters.extend(listener.dead()) or letters), 5)
    (letter,) = letters
    assert letter.headers["x-error"].startswith(("unreadable properties: ", "undecodable: "))
    good(listener)


def test_a_routing_key_that_is_no_text_ends_nobody(listener: Listener, raw: Raw) -> None:
    """The exchange of calls takes any bytes after the service's name."""
    key = b"\x0abilling.\xff\xfe"
    arguments = struct.pack(">H", 0) + short(b"nameko-rpc") + key + b"\x00"
    raw.channel.connection.frame_writer(
        1, raw.channel.channel_id, amqp.spec.Basic.Publish, arguments, amqp.Message("{}")
    )
    raw.channel.queue_declare(CALLS, passive=True)
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[CALLS][0] == 0, 5)
    good(listener)


def test_a_count_that_is_none_costs_a_try_and_nobody_a_life(listener: Listener) -> None:
    """Whatever our own headers say, a handler that fails has its message tried again, or given up when the tries are used up."""
    odd = ["abc", "", -5, 0.5, True, None, [1], {"a": 1}, Decimal("1.5"), b"\xff", 0]
    used_up = [3, 10, 2**62]
    (listener.folder / "fail").touch()
    for value in odd + used_up:
        names = ("x-attempt", "x-replays", "x-error", "x-original-routing-key", "x-delivery-count")
        listener.send(headers=dict.fromkeys((*names, "nameko.correlation_id"), value))
    waiting, dead = f"{EVENTS}.retry.5s", f"{EVENTS}.dead"
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[dead][0] == len(used_up), 5)
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[waiting][0] == len(odd), 5)
    (listener.folder / "fail").unlink()
    assert {letter.headers["x-error"] for letter in listener.dead()} == {
        "ValueError: as the test wants it"
    }
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[waiting][0] == 0, 10)
    good(listener)


def test_a_compressed_message_is_refused_unread(listener: Listener) -> None:
    """A few bytes that would be many: neither an event nor a call is decompressed, and each is told why."""
    bomb = zlib.compress(b'{"args": [], "kwargs": {"text": "' + b"x" * (100 << 20) + b'"}}')
    before = listener.memory()
    listener.send(body=bomb, headers={"compression": "application/x-gzip"})
    (letter,) = eventually_dead(listener)
    assert letter.headers["x-error"] == "compressed: application/x-gzip"
    assert letter.body == bomb
    error = listener.call(bomb, headers={"compression": "application/x-gzip"})
    assert error == ("InvalidArgument", "the request is compressed: application/x-gzip")
    assert listener.memory() < before + 20
    good(listener)


def test_a_message_that_is_too_large_is_never_held(listener: Listener) -> None:
    """Sixty of 8 MiB: each is a small dead letter that says how large it was; memory stays where it is."""
    before = listener.memory()
    for _ in range(60):
        listener.send(body=b"x" * (8 << 20))
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[f"{EVENTS}.dead"][0] == 60, 60)
    assert listener.memory() < before + 40
    letters = listener.dead()
    assert {letter.headers["x-error"] for letter in letters} == {
        f"too large: {8 << 20} bytes, {MESSAGE_BYTES} are taken"
    }
    assert max(len(letter.body) for letter in letters) < 5000
    assert listener.call(b"x" * (8 << 20)) == (
        "InvalidArgument", f"the request is too large: {8 << 20} bytes, {MESSAGE_BYTES} are taken"
    )  # fmt: skip
    good(listener)


@pytest.mark.parametrize(
    ("body", "how", "reason"),
    [
        (b"[" * 100_000, {}, "not an event envelope"),
        (b'{"data": ' * 50_000, {}, "not an event envelope"),
        (b"\xff\xfe", {}, "not an event envelope"),
        (b"", {}, "not an event envelope"),
        (b"{}", {"content_type": "application/x-python-serialize"}, "undecodable"),
        (b"{}", {"content_type": "application/x-yaml"}, "undecodable"),
        (b"{}", {"content_encoding": "utf-7"}, "undecodable"),
        (b"{}", {"content_encoding": "zlib_codec"}, "undecodable"),
        (b"{}", {"content_encoding": "gzip"}, "undecodable"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_is_no_event_is_a_dead_letter(
    listener: Listener, body: bytes, how: dict[str, Any], reason: str
) -> None:
    """JSON alone is read, and not deeper than it may be."""
    listener.send(body=body, **how)
    (letter,) = eventually_dead(listener)
    assert letter.headers["x-error"].startswith(reason)
    good(listener)


@pytest.mark.parametrize(
    "how",
    [
        {"correlation_id": None},
        {"correlation_id": "x" * 255},
        {"reply_to": "billing.ping", "correlation_id": "1"},
        {"reply_to": "nowhere " * 30},
        {
            "headers": {
                "nameko.correlation_id": [1],
                "nameko.call_id_stack": "x",
                "nameko.traceparent": {"a": 1},
            }
        },
        {"headers": {"x" * 200: "y" * 60_000, "z": [[[[]]]]}},
    ],
    ids=lambda how: repr(how)[:40],
)
def test_a_call_with_odd_properties_is_answered_where_it_can_be(
    listener: Listener, how: dict[str, Any]
) -> None:
    """Addresses that lead nowhere, or to a service, and context that is none."""
    address = how.get("reply_to")
    error = listener.call(b'{"args": [], "kwargs": {"text": "hello"}}', answered=not address, **how)
    assert error is None
    good(listener)


@pytest.mark.parametrize(
    ("body", "how", "why"),
    [
        (b"[]", {}, "no object"),
        (b"\xff", {}, "undecodable: UnicodeDecodeError"),
        (b"[" * 100_000, {}, "undecodable: RecursionError"),
        (b"{}", {"headers": {"compression": "bzip2"}}, "compressed: bzip2"),
        (b"x" * (2 << 20), {}, f"too large: {2 << 20} bytes, {MESSAGE_BYTES} are taken"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_that_cannot_be_read_ends_the_wait_by_name(
    listener: Listener, body: bytes, how: dict[str, Any], why: str
) -> None:
    """Whoever asked hears at once what is wrong with it, and need not wait until the call's time is over."""
    assert listener.asks_portal(body, **how) == f"UnreadableReply: the reply is {why}"
    good(listener)


def test_an_answer_of_odd_parts_is_still_an_answer(listener: Listener) -> None:
    """An error that is no object, and a result that is missing."""
    assert listener.asks_portal(b'{"error": 5}') == "None: None"
    assert listener.asks_portal(b"{}") == "None"
    assert listener.asks_portal(b'{"result": [1]}') == "[1]"


def eventually_dead(listener: Listener) -> list[Any]:
    """The dead letters, once there are any."""
    found: list[Any] = []
    eventually(lambda: bool(found.extend(listener.dead()) or found), 5)
    return found
