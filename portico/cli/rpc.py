"""Calling the services from a command: nameko's wire protocol with plain kombu, every wait bounded.

Several calls can be under way at once (`send`, then `wait`), which is what makes an import fast: the services work
on one batch while the next is on its way.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import amqp
from kombu import Connection, Consumer, Producer

from shared.contracts.rpc.base import Method, UnreadableAnswer
from shared.contracts.rpc.errors import RemoteFault
from shared.messaging import incoming, topology
from shared.messaging.amqp import BROKER_ERRORS, login_refused, make_connection, trouble_of
from shared.messaging.transport import REPLY_BYTES

TIMEOUT_SECONDS: Final = 10.0
Shape = TypeVar("Shape")


class Paged(Protocol):
    """An answer that is a page of a list, or a step of a long work."""

    @property
    def next(self) -> Any:
        """Where the one after it begins; None: it is the last."""


Page = TypeVar("Page", bound=Paged)


class Unavailable(Exception):
    """Something that the command needs does not answer; the text says what, and what to look at."""


class Fault(RemoteFault):
    """The called service answered with an error."""

    arguments: Mapping[str, Any] = MappingProxyType({})
    """What it was asked with, where that is known: an error names an argument, and people know its value."""


class Caller(Protocol):
    """Calls the services."""

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        """Call `service.method` and return its result. Raises Fault, Unavailable."""
        ...

    def send(self, service: str, method: str, **arguments: Any) -> str:
        """Start a call; `wait` for the id that is returned. Raises Unavailable."""
        ...

    def wait(self, call_id: str) -> Any:
        """The result of a call that was started. Raises Fault, Unavailable."""
        ...


def ask(call: Caller, method: Method[Shape], **arguments: Any) -> Shape:
    """Call a method, and read its answer. Raises Fault, Unavailable."""
    with asked_with(arguments):
        return read(method, call.call(method.service, method.name, **arguments))


def pages(call: Caller, method: Method[Page], after: Any, **arguments: Any) -> Iterator[Page]:
    """The answers of a method from `after` on, each asked for when the one before it was used. Raises Fault, Unavailable."""
    while after is not None:
        page = ask(call, method, **arguments, after=after)
        yield page
        after = page.next


@contextmanager
def asked_with(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Note with what the body asked in the Fault that it raises."""
    try:
        yield
    except Fault as fault:
        fault.arguments = arguments
        raise


def read(method: Method[Shape], result: Any) -> Shape:
    """The answer of a method from what came. Raises Unavailable when it is none."""
    try:
        return method.read(result)
    except UnreadableAnswer as error:
        raise Unavailable(
            f"the answer can't be read, its service is of another release: {error}"
        ) from None


def operator(environ: Mapping[str, str]) -> str:
    """The user who runs the command: the one before `sudo`, where it was used."""
    try:
        return environ.get("SUDO_USER") or environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def caller() -> str:
    """Who runs the command, for the services' audit lines: the user and the machine. With a word between them, since what looks
    like an address is taken out of logs."""
    return f"{operator(os.environ)} on {socket.gethostname()}"


class RpcCaller:
    """A `Caller` over RabbitMQ. Connects at the first call; close it when done."""

    def __init__(self, amqp_uri: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._uri = amqp_uri
        self._timeout = timeout
        self._connection: Connection | None = None
        self._address = str(uuid.uuid4())
        self._answers: dict[str, incoming.Reply] = {}
        self._waiting: dict[str, str] = {}
        self._met: set[str] = set()
        """Services that have been seen to take calls."""

    def __enter__(self) -> RpcCaller:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection without ceremony: an unhealthy broker must not keep a command from ending."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect()

    def _connect(self) -> None:
        if self._uri.startswith("embedded"):
            raise Unavailable(
                "AMQP_URI is embedded://: that broker lives inside the process of `make run`. "
                "Use `make stack`, whose RabbitMQ others can reach."
            )
        connection = make_connection(self._uri, confirm_publish=True, most=REPLY_BYTES)
        try:
            connection.connect()
            channel = connection.channel()
            self._replies = topology.reply_queue(
                "cli", self._address, exclusive=True, durable=False
            )(channel)
            Consumer(channel, [self._replies], on_message=self._on_answer, no_ack=True).consume()
            self._producer = Producer(channel)
        except BaseException:
            connection.collect()
            raise
        self._connection = connection

    def _on_answer(self, message: Any) -> None:
        call_id = message.properties.get("correlation_id", "")
        if call_id in self._waiting:
            self._answers[call_id] = incoming.read_reply(message)

    def send(self, service: str, method: str, **arguments: Any) -> str:
        call_id = str(uuid.uuid4())
        try:
            if self._connection is None:
                self._connect()
            self._check_running(service)
            self._waiting[call_id] = f"{service}.{method}"
            self._producer.publish(
                {"args": [], "kwargs": arguments},
                exchange=topology.RPC_EXCHANGE,
                routing_key=f"{service}.{method}",
                reply_to=self._address,
                correlation_id=call_id,
                headers={f"{incoming.CONTEXT}{incoming.CALLER}": caller()},
                serializer="json",
                mandatory=True,
                timeout=self._timeout,
                confirm_timeout=self._timeout,
                expiration=self._timeout,  # a request that nobody waits for any more must not run
            )
        except amqp.exceptions.AccessRefused as error:
            self.close()
            if login_refused(error):
                raise Unavailable(broker_trouble(self._uri, error)) from None
            raise Unavailable(
                f"the broker does not let the user of AMQP_URI call {service}.{method}: the command line works with "
                "billing's user"
            ) from None
        except amqp.exceptions.ChannelError as error:
            self.close()
            if isinstance(error, amqp.exceptions.NotFound) or "NO_ROUTE" in str(error):
                raise Unavailable(
                    f"{service} has never run on this broker, or knows no {method}: start it, or look whether "
                    "AMQP_URI names the right broker and virtual host"
                ) from None
            raise Unavailable(f"the broker refused the call: {error}") from None
        except BROKER_ERRORS as error:
            self.close()
            raise self._no_broker(error) from None
        return call_id

    def wait(self, call_id: str) -> Any:
        name = self._waiting[call_id]
        end = time.monotonic() + self._timeout
        try:
            while call_id not in self._answers:
                left = end - time.monotonic()
                if self._connection is None:
                    raise Unavailable(f"{name}: the connection broke before the answer")
                if left <= 0:
                    # Its way here may have been deleted at the broker: the next call's answer is to find one.
                    self._replies.declare(nowait=True)
                    raise Unavailable(
                        f"{name}: no answer in {self._timeout:g} s; is the service running?"
                    )
                try:
                    self._connection.drain_events(timeout=left)
                except TimeoutError:
                    continue
        except BROKER_ERRORS as error:
            self.close()
            raise self._no_broker(error) from None
        finally:
            self._waiting.pop(call_id, None)
        answer = self._answers.pop(call_id)
        if answer.error:
            raise Fault(answer.error, answer.text)
        return answer.result

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        return self.wait(self.send(service, method, **arguments))

    def _no_broker(self, error: BaseException) -> Unavailable:
        return Unavailable(broker_trouble(self._uri, error))

    def _check_running(self, service: str) -> None:
        """Raise Unavailable at once where nobody takes calls of a service that has run here: nobody is there to answer. Looked at
        before the first call alone, so that a long work outlives a restart."""
        if service in self._met or self._connection is None:
            return
        try:
            with self._connection.channel() as channel:
                seen = channel.queue_declare(topology.rpc_queue(service).name, passive=True)
        except amqp.exceptions.ChannelError:
            return  # not there, or not to be looked at by us: the call itself tells
        if not seen.consumer_count:
            raise Unavailable(f"nobody answers for {service}: start it, or look at its log")
        self._met.add(service)


def broker_trouble(uri: str, error: BaseException) -> str:
    """Why a broker can't be used, without user and password."""
    parts = urlsplit(uri)
    try:
        where = f"{parts.hostname}:{parts.port or 5672}"
    except ValueError:
        where = "the address of AMQP_URI"
    return f"RabbitMQ at {where} can't be used: {trouble_of(error)}"
