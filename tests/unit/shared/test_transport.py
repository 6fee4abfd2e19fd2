"""What py-amqp reads for us: bounded, unharmed by what stands in properties, and without second connections."""

from __future__ import annotations

import struct
from typing import Any

import amqp
import kombu
import pytest
from amqp import spec
from amqp.exceptions import UnexpectedFrame

from shared.messaging.amqp import make_connection
from shared.messaging.transport import (
    KEPT_BYTES,
    WRITE_BYTES,
    Channel,
    Connection,
    ConnectionEnded,
    Incoming,
    Transport,
    bounded_frames,
    outlet_frames,
)


class Reading:
    """Frames for a connection that is none, and what was read from them."""

    def __init__(self, most: int = 1000) -> None:
        self.most, self.bytes_recv = most, 0
        self.read: list[tuple[int, Any, Incoming]] = []
        self.frame: Any = bounded_frames(self, lambda *what: self.read.append(what))  # type: ignore[arg-type]

    def message(
        self, body: bytes, properties: bytes = b"\x00\x00", size: int | None = None
    ) -> Incoming:
        deliver = struct.pack(">HH", *spec.Basic.Deliver)
        self.frame((1, 7, deliver))
        head = struct.pack(">HHQ", spec.Basic.CLASS_ID, 0, len(body) if size is None else size)
        done = self.frame((2, 7, head + properties))
        for start in range(0, len(body), 300):
            assert not done
            done = self.frame((3, 7, body[start : start + 300]))
        assert done
        return self.read[-1][3]  # type: ignore[misc]


def test_a_message_comes_whole() -> None:
    """In as many frames as it takes, with its properties."""
    properties = struct.pack(">H", 0x8000) + b"\x10application/json"
    message = Reading().message(b"x" * 1000, properties)
    assert message.body == b"x" * 1000
    assert message.properties == {"content_type": "application/json"}
    assert message.refusal == ""


def test_of_one_that_is_too_large_the_beginning_is_kept() -> None:
    """The rest is read past, and the next message is read as ever."""
    reading = Reading()
    message = reading.message(b"0123456789" * 1000)
    assert message.refusal == "too large: 10000 bytes, 1000 are taken"
    assert bytes(message.body) == (b"0123456789" * 30)[:KEPT_BYTES]
    assert reading.message(b"next").body == b"next"


@pytest.mark.parametrize(
    "properties",
    [
        struct.pack(">H", 0x0200) + b"\x01\xff",
        struct.pack(">H", 0x8000) + b"\x03\xff\xfe\xfd",
        struct.pack(">H", 0x2000) + struct.pack(">I", 11) + b"\x01tT" + b"\xff" * 8,
    ],
)
def test_properties_that_cannot_be_read_refuse_the_message_alone(properties: bytes) -> None:
    """Its body is taken off the wire, with what is wrong; the connection goes on."""
    reading = Reading()
    message = reading.message(b"{}", properties)
    assert message.refusal.startswith("unreadable properties")
    assert reading.message(b"").body == ""


def test_a_compressed_message_loses_the_header_that_would_have_it_decompressed() -> None:
    """kombu never sees it."""
    headers = b"\x0bcompressionS\x00\x00\x00\x04gzip"
    properties = struct.pack(">H", 0x2000) + struct.pack(">I", len(headers)) + headers
    message = Reading().message(b"{}", properties)
    assert message.refusal == "compressed: gzip"
    assert message.properties["application_headers"] == {}


def test_heartbeats_come_in_between_and_frames_in_order() -> None:
    """A heartbeat is counted and nothing more; content without its method breaks the connection."""
    reading = Reading()
    assert not reading.frame((8, 0, b""))
    assert reading.bytes_recv == 1
    with pytest.raises(UnexpectedFrame):
        reading.frame((3, 1, b"x"))


@pytest.mark.parametrize("scheme", ["amqp", "pyamqp", "amqps"])
def test_every_connection_of_the_process_has_this_transport(scheme: str) -> None:
    """Also one that somebody makes with plain kombu: there is no way in that decompresses."""
    made = kombu.Connection(f"{scheme}://localhost")
    assert made.get_transport_cls().Connection is Connection
    assert issubclass(Channel.Message, kombu.message.Message)


class Lost:
    """A transport whose connections can be lost."""

    connected = True


def test_a_connection_that_is_lost_is_never_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draining it or checking its heartbeat raises, where kombu would go on with a new one on which nobody consumes."""
    opened: list[Lost] = []

    def establish(transport: Any) -> Lost:
        opened.append(Lost())
        return opened[-1]

    monkeypatch.setattr(Transport, "establish_connection", establish)
    connection = make_connection("amqp://nowhere")
    assert connection.connection is connection.connection is opened[0]
    opened[0].connected = False
    for use in (
        connection.drain_events,
        connection.heartbeat_check,
        connection.channel,
        connection.connect,
    ):
        with pytest.raises(ConnectionEnded):
            use()
    with pytest.raises(ConnectionEnded):
        _ = connection.default_channel
    assert len(opened) == 1


def test_the_connection_below_is_opened_once_too() -> None:
    """py-amqp would open a second socket, without a handshake, and wait on it."""
    connection = Connection("127.0.0.1:1")
    connection._handshake_complete = True
    with pytest.raises(amqp.exceptions.RecoverableConnectionError):
        connection.connect()


class Writing:
    """A connection that is none, and the pieces that are written to its socket."""

    def __init__(self) -> None:
        self.frame_max, self.bytes_sent = 1 << 17, 0
        self.pieces: list[bytes] = []
        self.frames = outlet_frames(self, self)  # type: ignore[arg-type]

    def write(self, piece: Any) -> None:
        self.pieces.append(bytes(piece))

    one_write = Connection.one_write
    outlet: Any

    def publish(self, body: bytes) -> None:
        self.frames(1, 1, spec.Basic.Publish, b"", amqp.Message(body))


def test_what_is_written_together_is_one_piece() -> None:
    """The same bytes as one by one, in their order; afterwards each frame is written by itself again."""
    alone, together = Writing(), Writing()
    with together.one_write():  # type: ignore[misc]
        for body in (b"1", b"2"):
            alone.publish(body)
            together.publish(body)
        assert together.pieces == []
    assert len(alone.pieces) == 2
    assert together.pieces == [b"".join(alone.pieces)]
    together.publish(b"3")
    assert len(together.pieces) == 2


def test_what_is_written_together_is_not_kept_without_end() -> None:
    """Large bodies go out in between: no more than a piece and a frame lie in memory."""
    writing = Writing()
    with writing.one_write():  # type: ignore[misc]
        for _ in range(5):
            writing.publish(b"x" * (WRITE_BYTES // 2))
    assert len(writing.pieces) == 3
