"""AMQP as a listener needs it: bounded, never decompressed, and never silently another connection.

Three habits of the libraries below us make a consumer go deaf, or end it:

- kombu's `Connection.connection` opens a *new* connection where the old one is gone. Whoever drains it waits on a
  connection on which nothing is consumed (`SingleConnection`). py-amqp does the same with a closed channel, which it opens
  again without its consumers (`Channel`).
- kombu decompresses a body with a `compression` header before anybody sees it: 199 KiB became 770 MiB.
- py-amqp reads properties, headers and routing keys as it likes them, and raises whatever comes of others: a byte that is no
  UTF-8, a time beyond the calendar or a thousand nested tables ends the loop that reads, again after each start.

And one costs: py-amqp writes each frame by itself (`Connection.one_write`).

Here a message that can't be taken is delivered all the same, with its `refusal`: the reason in words. Of one that is too large
only the beginning is kept, the rest is read past.

Importing the module puts this transport in the place of kombu's for ``amqp://`` and ``amqps://``, so that no connection of the
process has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import unpack_from
from typing import Any, Final

import amqp
import kombu
from amqp import spec
from amqp.exceptions import (
    IrrecoverableConnectionError,
    RecoverableConnectionError,
    UnexpectedFrame,
    error_for_code,
)
from amqp.method_framing import _CONTENT_METHODS as CONTENT_METHODS
from amqp.method_framing import frame_writer
from kombu.transport import TRANSPORT_ALIASES, pyamqp

MESSAGE_BYTES: Final = 1 << 20
"""The largest body that is taken: as much as one over HTTP. A service has at most three times its prefetch of them in hand."""
REPLY_BYTES: Final = 16 << 20
"""The same for the answer to a command of a person's, which has one in hand."""
KEPT_BYTES: Final = 4096
"""How much is kept of a larger one, for whoever looks at the dead letter."""
READ_BYTES: Final = 16 << 10
"""How much is read of a socket at once. py-amqp asks it for a frame's head, its content and its last byte one by one."""
WRITE_BYTES: Final = 64 << 10
"""How much is put together before it is written."""

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


class ConnectionEnded(IrrecoverableConnectionError):
    """The connection is gone, and with it what was consumed on it. Whoever needs another one begins anew."""


class Incoming(amqp.Message):
    """A message while it comes in, and then as py-amqp hands it over."""

    def __init__(self, most: int, **frame: Any) -> None:
        super().__init__(**frame)
        self.most = most
        self.refusal = ""
        """Why nobody should read it; empty when it can be read."""

    def inbound_header(self, buf: bytes, offset: int = 0) -> int:
        try:
            offset = super().inbound_header(buf, offset)
        except Exception as error:  # its size stands before what could not be read
            self.properties: dict[str, Any] = {}
            self.ready = not self.body_size
            self.refusal = f"unreadable properties: {type(error).__name__}"
        headers = self.properties.get("application_headers")
        if headers and "compression" in headers:
            self.refusal = f"compressed: {str(headers.pop('compression'))[:50]}"
        if self.body_size > self.most:
            self.refusal = f"too large: {self.body_size} bytes, {self.most} are taken"
        return offset

    def inbound_body(self, buf: bytes) -> None:
        if self.body_size <= self.most:
            super().inbound_body(buf)
            return
        if not self.body_received:
            self.body = buf[:KEPT_BYTES]
        self.body_received += len(buf)
        self.ready = self.body_received >= self.body_size


def bounded_frames(
    connection: Connection, callback: Callable[..., Any]
) -> Callable[[tuple[int, int, bytes]], bool]:
    """A reader of frames for py-amqp: True when a method is complete, with its content where it has one."""
    expected: dict[int, int] = {}
    partial: dict[int, Incoming] = {}

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        kind, channel, buf = frame
        connection.bytes_recv += 1
        if kind == HEARTBEAT:
            return False
        if kind != expected.get(channel, METHOD):
            raise UnexpectedFrame(f"a frame of type {kind} on channel {channel}")
        if kind == METHOD:
            method = unpack_from(">HH", buf, 0)
            if method not in CONTENT_METHODS:
                callback(channel, method, buf, None)
                return True
            partial[channel] = Incoming(connection.most, frame_method=method, frame_args=buf)
            expected[channel] = HEADER
            return False
        content = partial[channel]
        if kind == HEADER:
            content.inbound_header(buf)
        else:
            content.inbound_body(buf)
        if not content.ready:
            expected[channel] = BODY
            return False
        del expected[channel], partial[channel]
        callback(channel, content.frame_method, content.frame_args, content)
        return True

    return on_frame


class Message(pyamqp.Message):
    """kombu's message, with the refusal of what came in."""

    def __init__(self, msg: Incoming, channel: Any = None, **options: Any) -> None:
        super().__init__(msg, channel=channel, **options)
        self.refusal: str = msg.refusal


class Channel(pyamqp.Channel):
    """A channel that stays closed when the broker closes it, and delivers whatever the routing key."""

    Message = Message

    def __init__(
        self, connection: Connection, channel_id: int | None = None, on_open: Any = None
    ) -> None:
        # A body is bytes: what decodes it by the name of a codec does so with the sender's choice of codec.
        super().__init__(connection, channel_id, auto_decode=False, on_open=on_open)

    def notify(self, method: tuple[int, int], callback: Callable[..., None]) -> None:
        """Call `callback(*arguments)` at each `method` of the broker's, whether or not anybody waits for it."""
        self._callbacks[method] = callback

    def dispatch_method(self, method_sig: tuple[int, int], payload: bytes, content: Any) -> None:
        if method_sig == spec.Basic.Deliver and not self.is_closing:
            self._on_basic_deliver(*_delivery(payload), content)
        else:
            super().dispatch_method(method_sig, payload, content)

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        self.send_method(spec.Channel.CloseOk)
        if not self.connection.is_closing and not self.is_closing:
            self.collect()
            raise error_for_code(
                reply_code, reply_text, (class_id, method_id), amqp.exceptions.ChannelError
            )


def _delivery(payload: bytes) -> tuple[str, int, bool, str, str]:
    """The arguments of `basic.deliver`: consumer tag, delivery tag, redelivered, exchange, routing key."""

    def text(at: int) -> tuple[str, int]:
        end = at + 1 + payload[at]
        return payload[at + 1 : end].decode("utf-8", "backslashreplace"), end

    consumer_tag, at = text(4)
    delivery_tag, redelivered = unpack_from(">QB", payload, at)
    exchange, at = text(at + 9)
    routing_key, _ = text(at)
    return consumer_tag, delivery_tag, bool(redelivered & 1), exchange, routing_key


class _Outlet:
    """Where py-amqp writes its frames: to the transport, or, while they are held, to one piece."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._piece = bytearray()
        self.holds = False

    def write(self, frame: Any) -> None:
        """Write a frame, or keep it until there is enough to write. Raises OSError."""
        if not self.holds:
            self._transport.write(frame)
            return
        self._piece += frame
        if len(self._piece) > WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was kept. Raises OSError."""
        piece, self._piece = self._piece, bytearray()
        if piece:
            self._transport.write(piece)


def outlet_frames(connection: Connection, transport: Any) -> Callable[..., None]:
    """A writer of frames for py-amqp."""
    connection.outlet = _Outlet(transport)
    write: Callable[..., None] = frame_writer(connection, connection.outlet)
    return write


class _TlsSocket(amqp.transport.SSLTransport):
    """py-amqp's transport over TLS, to a broker whose certificate is its own: py-amqp takes any that somebody trusted has signed, for
    whatever name.

    It is closed as one without TLS is. py-amqp's waits for the broker to say farewell too: indefinitely, where it was given up
    because it says nothing. That nobody has cut anything off AMQP's own farewell tells.
    """

    sslopts: dict[str, Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sslopts = {"server_hostname": self.host, **self.sslopts}

    def _shutdown_transport(self) -> None:
        return


class Connection(pyamqp.Connection):
    """One connection to the broker: it is opened once."""

    Channel = Channel
    outlet: _Outlet

    def __init__(self, *args: Any, most: int = MESSAGE_BYTES, **options: Any) -> None:
        super().__init__(*args, frame_handler=bounded_frames, frame_writer=outlet_frames, **options)
        self.most = most

    def Transport(  # noqa: N802  (py-amqp's name)
        self,
        host: str,
        connect_timeout: float | None,
        ssl: Any = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: Any,
    ) -> Any:
        kind = _TlsSocket if ssl else amqp.transport.TCPTransport
        return kind(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            **options,
        )

    @contextmanager
    def one_write(self) -> Iterator[None]:
        """Write together what the body does, which waits for none of its answers. Where it raises, the connection is to be thrown
        away. Raises OSError."""
        self.outlet.holds = True
        try:
            yield
        finally:
            self.outlet.holds = False
        self.outlet.flush()

    def connect(self, callback: Any = None) -> Any:
        if self._handshake_complete and not self.connected:
            raise RecoverableConnectionError("the connection has ended")
        is_new = not self.connected
        result = super().connect(callback)
        if is_new:
            read = self.transport._quick_recv
            self.transport._quick_recv = lambda wanted: read(max(wanted, READ_BYTES))
        return result


class Transport(pyamqp.Transport):
    """kombu's transport over `Connection`."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = Connection


for _scheme in ("amqp", "pyamqp"):
    TRANSPORT_ALIASES[_scheme] = f"{__name__}:Transport"
TRANSPORT_ALIASES["amqps"] = f"{__name__}:SSLTransport"


class SingleConnection(kombu.Connection):
    """kombu's connection that is opened when needed, and never again: what comes after is another `SingleConnection`."""

    def _connection_factory(self) -> Any:
        if self._connection is not None:
            raise ConnectionEnded("the connection has ended")
        return super()._connection_factory()
