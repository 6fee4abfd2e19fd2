"""Hardened RPC: arguments checked against the method's type hints, every wait bounded, errors with names.

On the wire it is nameko's own protocol: a stock `ClusterRpcProxy` or `RpcProxy` talks to our services.
"""

from __future__ import annotations

import inspect
import sys
import time
import uuid
from collections.abc import Callable, Hashable
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

import eventlet
import msgspec
import structlog
from eventlet.event import Event
from nameko.constants import NON_PERSISTENT
from nameko.containers import WorkerContext
from nameko.exceptions import (
    IncorrectSignature,
    MalformedRequest,
    MethodNotFound,
    UnknownService,
    serialize,
)
from nameko.rpc import (
    MethodProxy,
    ReplyListener,
    Rpc,
    RpcConsumer,
    RpcProxy,
)

from shared import tracing
from shared.contracts.rpc.arguments import read_arguments
from shared.contracts.rpc.base import Arguments, encode
from shared.contracts.rpc.errors import (
    InternalError,
    InvalidArgument,
    RemoteFault,
    RpcError,
    TemporarilyUnavailable,
    wire_error,
)
from shared.database import DatabaseUnavailable, UnstorableValue
from shared.messaging import incoming, topology
from shared.messaging.amqp import BrokerRefused, BrokerUnavailable, Unroutable
from shared.messaging.confirmed import Publication
from shared.messaging.transport import REPLY_BYTES
from shared.nameko_ext.batching import Batcher, Failed, Overloaded, in_halves
from shared.nameko_ext.bounded_publisher import BoundedPublisher
from shared.nameko_ext.container import KEY, new_correlation_id
from shared.nameko_ext.listener import InHand, SafeQueueConsumer
from shared.nameko_ext.replies import AWAY, ReplyPublisher
from shared.telemetry import RPC_SECONDS, audit, error_text, get_logger

log = get_logger(__name__)

DEFAULT_TIMEOUT_SECONDS: Final = 5.0
CALL_EXCHANGES: Final = (topology.RPC_EXCHANGE, topology.HOST_EXCHANGE)
BYTES_AT_ONCE: Final = 8 << 20
"""Requests that are worked on at a time, in bytes: read, they take up to twenty times as much memory."""
Method = TypeVar("Method", bound=Callable[..., Any])


class RpcUnavailable(Exception):
    """The call could not be delivered: no such service has ever run, or the broker is out of reach."""


class RpcRefused(RpcUnavailable):
    """The broker does not let this service call the method: its rights don't name it (`shared/messaging/rights.py`)."""


class RpcTimeout(Exception):
    """No answer in time. The call may still have had its effect."""


def argument_checker(
    method: Callable[..., Any],
) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """A function that turns raw call arguments into typed keyword arguments, or raises InvalidArgument.

    Types come from the method's hints: builtins, datetimes, msgspec structs, lists of them, Literal, Optional. Of a method
    with a single parameter that is `Arguments`, the fields of these are what callers name.
    """
    struct, whole = _arguments_of(method)
    names = struct.__struct_fields__

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if len(args) > len(names):
            raise InvalidArgument(
                f"{method.__name__} takes {len(names)} arguments, got {len(args)}"
            )
        given = dict(zip(names, args, strict=False))
        twice = given.keys() & kwargs.keys()
        if twice:
            raise InvalidArgument(f"{min(twice)}: given twice")
        checked = read_arguments({**given, **kwargs}, struct)
        return {whole: checked} if whole else {name: getattr(checked, name) for name in names}

    return check


def _arguments_of(method: Callable[..., Any]) -> tuple[type[msgspec.Struct], str]:
    """The struct of a method's arguments, and the name of the parameter that takes it whole, if one does."""
    hints = get_type_hints(method, include_extras=True)
    parameters = [p for p in inspect.signature(method).parameters.values() if p.name != "self"]
    if len(parameters) == 1:
        (only,) = parameters
        kind = hints.get(only.name)
        if isinstance(kind, type) and issubclass(kind, Arguments):
            return kind, only.name
    fields: list[Any] = [
        (p.name, hints.get(p.name, Any))
        if p.default is inspect.Parameter.empty
        else (p.name, hints.get(p.name, Any), p.default)
        for p in parameters
    ]
    name = f"{method.__name__}_arguments"
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True), ""


class SafeRpcConsumer(RpcConsumer):
    """nameko's RPC consumer whose failures answer the caller, or are logged, and never kill the container."""

    queue_consumer = SafeQueueConsumer()
    queue: Any

    def setup(self) -> None:
        if self.queue is None:
            self.queue = topology.rpc_queue(self.container.service_name)
            self.queue_consumer.register_provider(self)

    def __init__(self) -> None:
        super().__init__()
        self._in_hand = InHand()
        self._bytes = 0
        self._by_key: dict[str, Any] = {}
        # No more wait than the broker has handed out. The end of a call is within its own span.
        self._settle = Batcher(
            "replies", self._settle_together, workers=1, waiting=1 << 16, span=False
        )

    @cached_property
    def _publisher(self) -> ReplyPublisher:
        return ReplyPublisher(self.container.config["AMQP_URI"])

    def register_provider(self, provider: Any) -> None:
        super().register_provider(provider)
        self._by_key[f"{self.container.service_name}.{provider.method_name}"] = provider

    def get_provider_for_method(self, routing_key: str) -> Any:
        provider = self._by_key.get(routing_key)
        if provider is None:
            raise MethodNotFound(routing_key.rpartition(".")[2])
        return provider

    def stop(self) -> None:
        super().stop()
        self._publisher.close()

    def handle_message(self, body: Any, message: Any) -> None:
        if not _came_straight(message):
            log.warning(
                "call refused, it came by a detour", exchange=message.delivery_info.get("exchange")
            )
            self.queue_consumer.ack_message(message)
            return
        # Delivered again after a broken connection, it must not be done twice.
        if self._in_hand.joins(_call_of(message), message):
            return
        self._bytes += len(body)
        try:
            if self._bytes > BYTES_AT_ONCE:
                raise Overloaded("too many large calls at once")
            request = incoming.read_json(message)
            if not isinstance(request, dict):
                raise MalformedRequest("the request is no object with args and kwargs")
            provider = self.get_provider_for_method(message.delivery_info["routing_key"])
            provider.handle_message(request, message)  # until it is answered
        except incoming.Unreadable as error:
            self.give_up(message, str(error))
        except Exception:
            self.handle_result(message, None, sys.exc_info())
        finally:
            self._bytes -= len(body)

    def give_up(self, message: Any, reason: str) -> None:
        """Answer a request that can't even be read; whoever asks need not wait until their patience ends."""
        error = MalformedRequest(f"the request is {reason}")
        self.handle_result(message, None, (type(error), error, None))

    def handle_result(self, message: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        """Send the answer, and acknowledge the call; it is over when it returns."""
        answer = None
        try:
            answer = self._answer(message, result, exc_info)
        except Exception as error:
            _log_unsent(error)
        if (lost := self._settle(_Handled(message, answer))) is not None:
            _log_unsent(lost)
        return result, exc_info

    def _answer(self, message: Any, result: Any, exc_info: Any) -> Publication | None:
        """What its caller is to get; None where nobody waits for it."""
        reply_to = message.properties.get("reply_to")
        if not reply_to:
            return None
        body = self._encoded(None if exc_info else result, exc_info)
        if len(body) > REPLY_BYTES:
            error = InternalError("the answer is too large")
            body = self._encoded(None, (type(error), error, None))
        return Publication(
            body=body,
            exchange=_way_back(message),
            routing_key=reply_to,
            properties={
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "correlation_id": message.properties.get("correlation_id"),
                "delivery_mode": NON_PERSISTENT,
            },
        )

    def _settle_together(self, batch: list[_Handled]) -> list[Exception | None]:
        """Why the answer of each was not sent; None: it was, or there is none."""
        answers = [one.answer for one in batch if one.answer is not None]
        became = iter(
            in_halves(self._publisher.publish, answers, fails_all=AWAY) if answers else ()
        )
        outcomes = [None if one.answer is None else next(became) for one in batch]
        # Acked also when the answer was lost: the caller has given up, and must not find it done twice.
        self.queue_consumer.ack_messages(
            [self._in_hand.release(_call_of(one.message), one.message) for one in batch]
        )
        return [one.error if isinstance(one, Failed) else one for one in outcomes]

    @staticmethod
    def _encoded(result: Any, exc_info: Any) -> bytes:
        error = None if exc_info is None else serialize(_public(exc_info[1]))
        return encode(result, error).encode()


class _Handled(NamedTuple):
    """A call whose work is over, and what its caller is to get."""

    message: Any
    answer: Publication | None


def _log_unsent(error: Exception) -> None:
    log.warning("RPC answer not sent", error=error_text(error))


def _call_of(message: Any) -> Hashable:
    """What tells one call from another: who waits for its answer, under which id. One that nobody waits for is like no other."""
    properties = message.properties
    return (properties.get("reply_to"), properties.get("correlation_id") or id(message))


def _came_straight(message: Any) -> bool:
    """Whether the caller published the request where the broker bounds which methods a user may call.

    It checks the routing key at that moment alone. A message that an exchange of the caller's own hands on (bound to the
    exchange for calls, or with that as its alternate), or that dead-letters into it, passes by unchecked: the first two show
    where they were published, the third the broker's mark.
    """
    detour = "x-death" in (message.headers or {})
    return message.delivery_info.get("exchange") in CALL_EXCHANGES and not detour


def _way_back(message: Any) -> str:
    """The exchange on which the request came: its caller is bound there, and perhaps nowhere else."""
    came_by = message.delivery_info.get("exchange")
    return came_by if came_by in CALL_EXCHANGES else topology.RPC_EXCHANGE


def _public(error: BaseException) -> Exception:
    """The error as the caller may see it: ours as they are, anything else without its text."""
    if isinstance(error, RpcError):
        return wire_error(error)
    if isinstance(error, MethodNotFound | Overloaded):
        return error
    if isinstance(error, IncorrectSignature | MalformedRequest):
        return InvalidArgument(str(error))
    if isinstance(error, UnstorableValue):
        return InvalidArgument("a number is too large or a text too long to be stored")
    if isinstance(error, DatabaseUnavailable):
        return TemporarilyUnavailable("the database is away, or takes no writes now")
    return InternalError("the call failed inside the service; see its log")


class CheckedRpc(Rpc):
    """RPC entrypoint that checks arguments before a worker is taken."""

    rpc_consumer = SafeRpcConsumer()

    def __init__(self, audited: tuple[str, ...] | None = None, **kwargs: Any) -> None:
        """`audited` names the arguments that stand in the audit line of a call; None: a call has none."""
        super().__init__(**kwargs)
        self._audited = audited

    def setup(self) -> None:
        super().setup()
        self._check = argument_checker(getattr(self.container.service_cls, self.method_name))

    def span(self, worker_ctx: Any) -> tracing.Span:
        """The span of one call, in the trace of whoever calls."""
        called_from = worker_ctx.data.get(tracing.KEY, "")
        return tracing.rpc_server(self.container.service_name, self.method_name, called_from)

    def handle_message(self, body: Any, message: Any) -> None:
        if not isinstance(body.get("args"), list | tuple) or not isinstance(
            body.get("kwargs"), dict
        ):
            raise MalformedRequest("the request needs args (a list) and kwargs (an object)")
        kwargs = self._check(tuple(body["args"]), body["kwargs"])
        body.clear()  # a large one is not to lie here twice while it is worked on
        started = time.perf_counter()

        def settle(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            error = exc_info and exc_info[1]
            if isinstance(error, RpcError):
                error = wire_error(error)
            outcome = "ok" if error is None else type(error).__name__
            if isinstance(error, DatabaseUnavailable):
                log.warning("RPC method refused, the database is away", method=self.method_name)
            elif error is not None and not isinstance(error, RpcError | Overloaded):
                log.error("RPC method failed", method=self.method_name, exc_info=exc_info)
            if self._audited is not None:
                self._audit(worker_ctx, message, kwargs, outcome)
            answer = self.rpc_consumer.handle_result(message, result, exc_info)
            RPC_SECONDS.labels(self.container.service_name, self.method_name, outcome).observe(
                time.perf_counter() - started
            )
            return answer

        # In the message's own green thread, as a request over HTTP in its connection's.
        context = incoming.own_headers(message.headers).context()
        self.container.run_here(self, (), kwargs, context, handle_result=settle)

    def _audit(self, worker_ctx: Any, message: Any, kwargs: dict[str, Any], outcome: str) -> None:
        which = {name: kwargs[name] for name in self._audited or ()}
        if not which.get("account"):  # the own one
            which.pop("account", None)
        audit(
            f"{self.container.service_name}.{self.method_name}",
            who=worker_ctx.data.get(incoming.CALLER, "not said"),
            came_by=message.delivery_info.get("exchange"),
            outcome=outcome,
            **which,
        )


def rpc(method: Method) -> Method:
    """Decorate a service method that others may call."""
    decorated: Method = CheckedRpc.decorator(method)
    return decorated


def audited_rpc(*which: str) -> Callable[[Method], Method]:
    """The same for a method by which people change something: each call is a line of the audit log, with these of its arguments.
    They must be ids, words of a set or lists (of which the length is told): `@audited_rpc("customer_id")`."""
    decorator: Callable[[Method], Method] = CheckedRpc.decorator(audited=which)
    return decorator


class SafeReplyListener(ReplyListener):
    """nameko's reply listener on the hardened consumer."""

    queue_consumer = SafeQueueConsumer()

    def setup(self) -> None:
        self.routing_key = str(uuid.uuid4())
        self.queue = topology.reply_queue(
            self.container.service_name,
            self.routing_key,
            queue_arguments={"x-expires": topology.REPLY_EXPIRES_MS},
        )
        self.queue_consumer.register_provider(self)

    def handle_message(self, body: Any, message: Any) -> None:
        self._hand_over(message, incoming.read_reply(message))

    def give_up(self, message: Any, reason: str) -> None:
        """Tell whoever waits for a reply that it has come and can't be read."""
        self._hand_over(message, incoming.unreadable_reply(reason))

    def _hand_over(self, message: Any, reply: incoming.Reply) -> None:
        self.queue_consumer.ack_message(message)
        waiting = self._reply_events.pop(message.properties.get("correlation_id"), None)
        if waiting is not None:
            waiting.send(reply)

    def forget(self, correlation_id: str | None) -> None:
        """Drop the event of a call that nobody waits for any more."""
        self._reply_events.pop(correlation_id, None)


class _OneReply:
    """The reply listener as one call sees it: remembers which reply the call waits for."""

    def __init__(self, listener: SafeReplyListener) -> None:
        self._listener = listener
        self.routing_key = listener.routing_key
        self.correlation_id: str | None = None

    def get_reply_event(self, correlation_id: str) -> Event:
        self.correlation_id = correlation_id
        event: Event = self._listener.get_reply_event(correlation_id)
        return event


class _BoundedMethod(MethodProxy):
    publisher_cls = BoundedPublisher

    def __init__(
        self,
        worker_ctx: Any,
        service: str,
        method: str,
        listener: SafeReplyListener,
        timeout: float,
    ) -> None:
        # The request expires with the deadline: nothing stale runs when the service comes back.
        super().__init__(
            worker_ctx,
            service,
            method,
            listener,
            expiration=timeout,
            delivery_mode=NON_PERSISTENT,
        )
        self._listener = listener
        self._timeout = timeout

    def __call__(self, **kwargs: Any) -> Any:
        with tracing.rpc_client(self.service_name, self.method_name):
            return self._with_deadline(**kwargs)

    def get_message_headers(self, worker_ctx: Any) -> dict[str, Any]:
        headers: dict[str, Any] = super().get_message_headers(worker_ctx)
        if here := tracing.here():
            headers[self._get_header_name(tracing.KEY)] = here
        return headers

    def _with_deadline(self, **kwargs: Any) -> Any:
        self.reply_listener = reply = _OneReply(self._listener)
        try:
            with eventlet.Timeout(self._timeout, False):
                return _result_of(self._call(**kwargs).reply_event.wait())
            raise RpcTimeout(
                f"{self.service_name}.{self.method_name}: no answer in {self._timeout:g} s"
            )
        except (UnknownService, Unroutable):
            raise RpcUnavailable(f"{self.service_name} has never run on this broker") from None
        except BrokerRefused as error:
            raise RpcRefused(f"{self.service_name}.{self.method_name}: {error}") from error
        except BrokerUnavailable as error:
            raise RpcUnavailable(f"the broker is out of reach: {error}") from error
        finally:
            self._listener.forget(reply.correlation_id)


def _result_of(reply: incoming.Reply) -> Any:
    if reply.error:
        raise RemoteFault(reply.error, reply.text)
    return reply.result


class _BoundedService:
    def __init__(
        self, worker_ctx: Any, service: str, listener: SafeReplyListener, timeout: float
    ) -> None:
        self._parts = (worker_ctx, service, listener, timeout)

    def __getattr__(self, name: str) -> _BoundedMethod:
        worker_ctx, service, listener, timeout = self._parts
        return _BoundedMethod(worker_ctx, service, name, listener, timeout)


class RpcClient(RpcProxy):
    """Injects a proxy of another service: `self.billing.invoice_state(invoice_id=…)`.

    Calls take keyword arguments, return the result, or raise RpcTimeout, RpcUnavailable or RemoteFault.
    """

    rpc_reply_listener = SafeReplyListener()

    def __init__(self, target_service: str, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        super().__init__(target_service)
        self.timeout = timeout

    def get_dependency(self, worker_ctx: Any) -> _BoundedService:
        return _BoundedService(
            worker_ctx, self.target_service, self.rpc_reply_listener, self.timeout
        )

    def proxy_for(self, work: str) -> _BoundedService:
        """A proxy for work that is no single worker's, such as a batch. Its calls carry the correlation id that is bound to
        the log here, or a new one."""
        id_ = structlog.contextvars.get_contextvars().get(KEY) or new_correlation_id()
        entrypoint = SimpleNamespace(method_name=work)
        return self.get_dependency(WorkerContext(self.container, None, entrypoint, data={KEY: id_}))
