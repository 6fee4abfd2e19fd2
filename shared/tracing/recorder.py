"""OpenTelemetry behind the hooks: the one module that imports it, and only in a process that is traced.

The names of spans and attributes are those of the semantic conventions (HTTP, RPC, messaging with RabbitMQ). Left out on
purpose is what they would have us say and what is private here: `url.path`, `url.full`, client addresses, the text
and the stack of an exception.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests
import structlog
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from prometheus_client import Counter

from shared.settings import is_loopback
from shared.tracing import Traced
from shared.tracing.settings import TracingSettings

log: Any = structlog.get_logger(__name__)

EXPORT_SECONDS: Final = 10
"""All that one batch may take, with its tries. The queue behind it is bounded, and drops what is oldest."""

SPANS: Final = Counter(
    "portico_trace_spans",
    "Spans handed to the collector, or lost because it did not take them",
    ["outcome"],
)

_w3c = TraceContextTextMapPropagator()


def _context(traceparent: Any) -> contexts.Context:
    """The context that a `traceparent` names; an empty one when it is none."""
    known = {"traceparent": traceparent} if isinstance(traceparent, str) else {}
    return _w3c.extract(known, contexts.Context())


def _span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()


def _traceparent(context: contexts.Context | None = None) -> str:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, context)
    return carrier.get("traceparent", "")


class RecordedSpan:
    """See `shared.tracing.Span`."""

    __slots__ = ("_context", "_errors_from", "_span", "_token")

    def __init__(self, span: trace.Span, errors_from: int = 500) -> None:
        """An HTTP status of `errors_from` or above is an error."""
        self._span = span
        self._errors_from = errors_from
        self._context = trace.set_span_in_context(span, contexts.Context())

    @property
    def traceparent(self) -> str:
        return _traceparent(self._context)

    def __enter__(self) -> RecordedSpan:
        self._token = contexts.attach(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, traceback: Any) -> None:
        if kind is not None:
            self.failed(kind.__name__)
        contexts.detach(self._token)
        self.end()

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= self._errors_from:
            self.failed(str(status))

    def failed(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class OpenTelemetryRecorder:
    """Begins spans (a `shared.tracing.Recorder`). Each belongs to the current one of its green thread, unless a `traceparent` says otherwise."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("portico")

    def close(self) -> None:
        """See `shared.tracing.Recorder`."""
        self._provider.shutdown()

    # -- the current span ---------------------------------------------------------------------------------

    def here(self) -> str:
        return _traceparent()

    def log_fields(self) -> dict[str, str]:
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(current.trace_id),
            "span_id": trace.format_span_id(current.span_id),
        }

    def note(self, facts: Mapping[str, str]) -> None:
        trace.get_current_span().set_attributes(_ours(facts))

    # -- spans --------------------------------------------------------------------------------------------

    def http_server(self, method: str, route: str, traceparent: str) -> RecordedSpan:
        # Anybody may send a `traceparent` to a public address. It does not decide what is kept here: a new trace begins,
        # and links to the one that the gateway, or whoever it was, knows.
        outside = _span_context(traceparent)
        return self._begin(
            SpanKind.SERVER,
            f"{method} {route}",
            {"http.request.method": method, "http.route": route},
            contexts.Context(),
            [Link(outside)] if outside.is_valid else [],
        )

    def http_client(self, method: str, host: str, template: str) -> RecordedSpan:
        return self._begin(
            SpanKind.CLIENT,
            f"{method} {template}",
            {"http.request.method": method, "server.address": host, "url.template": template},
        )

    def rpc_server(self, service: str, method: str, traceparent: str) -> RecordedSpan:
        return self._rpc(SpanKind.SERVER, service, method, _context(traceparent))

    def rpc_client(self, service: str, method: str) -> RecordedSpan:
        return self._rpc(SpanKind.CLIENT, service, method)

    def _rpc(
        self, kind: SpanKind, service: str, method: str, parent: contexts.Context | None = None
    ) -> RecordedSpan:
        name = f"{service}/{method}"
        return self._begin(kind, name, {"rpc.system.name": "nameko", "rpc.method": name}, parent)

    def publish(self, exchange: str, event: Any) -> RecordedSpan:
        where = f"{exchange}:{event.type}"
        return self._message(SpanKind.PRODUCER, ("publish", "send"), where, event)

    def process(self, exchange: str, queue: str, event: Any) -> RecordedSpan:
        where = f"{exchange}:{event.type}:{queue}"
        return self._message(SpanKind.CONSUMER, ("process", "process"), where, event)

    def _message(
        self, kind: SpanKind, operation: tuple[str, str], where: str, event: Any
    ) -> RecordedSpan:
        name, type_ = operation
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": name,
            "messaging.operation.type": type_,
            "messaging.destination.name": where,
            "messaging.rabbitmq.destination.routing_key": event.type,
            "messaging.message.id": event.id,
            "messaging.message.conversation_id": event.correlation_id,
        }
        return self._begin(kind, f"{name} {where}", attributes, _context(event.traceparent))

    def task(self, name: str, traceparent: str, facts: Mapping[str, str]) -> RecordedSpan:
        return self._begin(SpanKind.INTERNAL, name, _ours(facts), _context(traceparent))

    def batch(self, name: str, callers: Sequence[Traced]) -> RecordedSpan:
        """It belongs to the first caller whose trace is kept, so that it is kept too, and links to the others."""
        known = dict.fromkeys(caller.traceparent for caller in callers if caller.traceparent)
        kept = [one for one in known if _span_context(one).trace_flags.sampled]
        first = next(iter(kept or known), None)
        if first is None:  # of loops, which nobody traces
            return RecordedSpan(trace.INVALID_SPAN)
        return self._begin(
            SpanKind.INTERNAL,
            f"batch {name}",
            {"portico.batch_size": len(callers)},
            _context(first),
            [Link(_span_context(one)) for one in kept if one != first],
        )

    def _begin(
        self,
        kind: SpanKind,
        name: str,
        attributes: Mapping[str, str | int],
        parent: contexts.Context | None = None,
        links: Sequence[Link] = (),
    ) -> RecordedSpan:
        span = self._tracer.start_span(name, parent, kind, attributes, links)
        # A refusal is an error of whoever asked, not of whoever refuses.
        return RecordedSpan(span, errors_from=400 if kind is SpanKind.CLIENT else 500)


def _ours(facts: Mapping[str, str]) -> dict[str, str]:
    return {f"portico.{name}": value for name, value in facts.items()}


# --- the way out ---------------------------------------------------------------------------------------------


class WatchedExporter(SpanExporter):
    """An exporter whose trouble is told once when it begins and once when it is over, and counted in between."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._works = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        works = result is SpanExportResult.SUCCESS
        SPANS.labels("exported" if works else "lost").inc(len(spans))
        if works and not self._works:
            log.info("the trace collector takes spans again")
        if not works and self._works:
            log.warning("the trace collector takes no spans, they are dropped until it does")
        self._works = works
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def session_to(endpoint: str) -> requests.Session:
    """A session to the collector at `endpoint`. A proxy from the environment is for the world outside, not for one on this machine."""
    session = requests.Session()
    session.trust_env = not is_loopback(endpoint)
    return session


def exporting(settings: TracingSettings, service: str, session: requests.Session) -> TracerProvider:
    """A provider that sends what is sampled to the collector, in the background and over `session`, which is not traced."""
    # The library tells each failed try, and what it could not parse of the headers, which hold a key.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=parse_env_headers(settings.headers.reveal(), liberal=True),
        timeout=EXPORT_SECONDS,
        session=session,
    )
    provider = TracerProvider(
        sampler=sampler(settings),
        resource=Resource.create(
            {
                "service.name": settings.service_name or service,
                "service.namespace": "portico",
                "host.name": socket.gethostname(),
            }
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(WatchedExporter(exporter)))
    return provider


def sampler(settings: TracingSettings) -> sampling.Sampler:
    """The sampler of that name."""
    root: sampling.Sampler = {
        "on": sampling.ALWAYS_ON,
        "off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(settings.ratio),
    }[settings.sampler.rpartition("_")[2]]
    return sampling.ParentBased(root) if settings.sampler.startswith("parentbased") else root
