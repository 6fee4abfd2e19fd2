"""Traces: what one webhook, click or call set in motion, across HTTP, RPC and RabbitMQ (docs/adr/0011-traces.md).

The hooks stand at the boundaries (web server, RPC, publisher, consumer, vendors' HTTP). While tracing is off, which it is
unless the standard `OTEL_…` variables switch it on, each is one comparison and OpenTelemetry is not even imported. What
a span may say is decided in one place, `recorder`: routes and templates, ids, outcomes; never a link, a session's
URL, an address, a key or an exception's text.

Between processes a trace travels as W3C's `traceparent`: in nameko's context headers, in the envelope of an event, and
in the row of an email that will be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.tracing.settings import TracingSettings

if TYPE_CHECKING:
    from shared.tracing.recorder import Recorder

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


def start(settings: TracingSettings | None, service: str) -> None:
    """Record from now on what this process does, in the name of `service`; None: record nothing."""
    if settings is not None:
        from shared.tracing.recorder import Recorder, exporting

        use(Recorder(exporting(settings, service)))


def use(recorder: Recorder | None) -> None:
    """Record with this one; None: record nothing."""
    global _recorder
    _recorder = recorder


def stop() -> None:
    """Record nothing more, and hand over what is recorded, within `recorder.FLUSH_SECONDS`."""
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
