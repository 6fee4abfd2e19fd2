"""Traces: what one webhook, click or call set in motion, across HTTP, RPC and RabbitMQ (docs/adr/0011-traces.md).

The hooks stand at the boundaries (web server, RPC, publisher, consumer, vendors' HTTP). While tracing is off, which it is
unless the standard `OTEL_…` variables switch it on, each is one comparison and OpenTelemetry is not even imported. Who starts
the process hands a recorder over (`use`). What a span may say is decided in one place, `shared.tracing.recorder`: routes and templates, ids, outcomes; never a link, a session's
URL, an address, a key or an exception's text.

Between processes a trace travels as W3C's `traceparent`: in nameko's context headers, in the envelope of an event, and
in the row of an email that will be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

KEY: Final = "traceparent"
"""The key in nameko's context data, and so the header `nameko.traceparent`."""


class Traced(Protocol):
    """What remembers where it came from."""

    @property
    def traceparent(self) -> str: ...


class Span(Protocol):
    """A piece of work that is being recorded: as a context manager it is current until it ends."""

    @property
    def traceparent(self) -> str:
        """Where work that this one sets in motion belongs."""

    def __enter__(self) -> Span: ...
    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None: ...

    def answered(self, status: int) -> None:
        """The HTTP status with which it ended."""

    def failed(self, error: str) -> None:
        """It ended with an error of this class."""

    def end(self) -> None:
        """End it without its ever having been current."""


class Recorder(Protocol):
    """What records, behind the hooks below: see each for what it is told."""

    def here(self) -> str: ...
    def log_fields(self) -> dict[str, str]: ...
    def note(self, facts: Mapping[str, str]) -> None: ...
    def http_server(self, method: str, route: str, traceparent: str) -> Span: ...
    def http_client(self, method: str, host: str, template: str) -> Span: ...
    def rpc_server(self, service: str, method: str, traceparent: str) -> Span: ...
    def rpc_client(self, service: str, method: str) -> Span: ...
    def publish(self, exchange: str, event: Any) -> Span: ...
    def process(self, exchange: str, queue: str, event: Any) -> Span: ...
    def task(self, name: str, traceparent: str, facts: Mapping[str, str]) -> Span: ...
    def batch(self, name: str, callers: Sequence[Traced]) -> Span: ...

    def close(self) -> None:
        """Hand over what is recorded; takes as long as that takes."""


class _Nothing:
    """What a hook gives while tracing is off."""

    traceparent = ""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        return

    def answered(self, status: int) -> None:
        return

    def failed(self, error: str) -> None:
        return

    def end(self) -> None:
        return


NOTHING: Final[Span] = _Nothing()
_recorder: Recorder | None = None


def use(recorder: Recorder | None) -> None:
    """Record with this one; None: record nothing."""
    global _recorder
    _recorder = recorder


def stop() -> None:
    """Record nothing more, and hand over what is recorded."""
    recorder = _recorder
    use(None)
    if recorder is not None:
        recorder.close()


def is_on() -> bool:
    """Whether anything is recorded."""
    return _recorder is not None


def here() -> str:
    """The `traceparent` of the current span: where work that starts elsewhere, for this one, belongs. Empty when
    there is none."""
    return "" if _recorder is None else _recorder.here()


def log_fields() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, for log lines."""
    return {} if _recorder is None else _recorder.log_fields()


def note(**facts: str) -> None:
    """Add facts to the current span, as `portico.<name>`: ids and outcomes of a small set, nothing that is private."""
    if _recorder is not None:
        _recorder.note(facts)


def http_server(method: str, route: str, traceparent: str = "") -> Span:
    """A request that came to `route` (the rule with its placeholders, never the path). `traceparent` is its header."""
    return NOTHING if _recorder is None else _recorder.http_server(method, route, traceparent)


def http_client(method: str, host: str, template: str) -> Span:
    """A request to a vendor; `template` is the path without any id."""
    return NOTHING if _recorder is None else _recorder.http_client(method, host, template)


def rpc_server(service: str, method: str, traceparent: str) -> Span:
    """A call that another service made."""
    return NOTHING if _recorder is None else _recorder.rpc_server(service, method, traceparent)


def rpc_client(service: str, method: str) -> Span:
    """A call to another service."""
    return NOTHING if _recorder is None else _recorder.rpc_client(service, method)


def publish(exchange: str, event: Any) -> Span:
    """The handing over of one event to the broker."""
    return NOTHING if _recorder is None else _recorder.publish(exchange, event)


def process(exchange: str, queue: str, event: Any) -> Span:
    """The handling of one event from a queue."""
    return NOTHING if _recorder is None else _recorder.process(exchange, queue, event)


def task(name: str, traceparent: str, **facts: str) -> Span:
    """Work that was written down earlier, under `traceparent`, and is done now; `facts` as for `note`."""
    return NOTHING if _recorder is None else _recorder.task(name, traceparent, facts)


def batch(name: str, callers: Sequence[Traced]) -> Span:
    """Work that is done in one go for several callers."""
    return NOTHING if _recorder is None else _recorder.batch(name, callers)
