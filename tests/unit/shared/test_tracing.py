"""What spans there are, whose children they are, and what they say. OpenTelemetry is real, but for the way out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from nameko.extensions import Entrypoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from shared import events, tracing
from shared.messaging.amqp import BrokerUnavailable
from shared.nameko_ext import runtime
from shared.nameko_ext.batching import Batcher
from shared.nameko_ext.consumer import EventConsumer
from shared.nameko_ext.container import CorrelatedContainer
from shared.nameko_ext.publisher import BatchPublisher
from shared.nameko_ext.rpc import CheckedRpc, RpcTimeout, _BoundedMethod
from shared.nameko_ext.web import Http
from shared.telemetry import get_logger
from shared.tracing.recorder import OpenTelemetryRecorder, WatchedExporter
from tests.fixtures.logs import configured_logs
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.spans import Spans, ids, named, parent
from tests.unit.billing.conftest import NOW

OUTSIDE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = OUTSIDE[:-2] + "00"
CONFIG = {"AMQP_URI": "memory://"}


def event(number: int = 1) -> events.Event:
    return events.Event(
        id=f"evt_{number}/customer.deleted",
        occurred_at=NOW,
        correlation_id=f"evt_{number}",
        data=events.CustomerDeleted(stripe_customer_id="cus_1"),
    )


# --- off -----------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_off_nothing_is_imported_and_nothing_changes() -> None:
    """A process without the variables never loads OpenTelemetry, not even with all of billing in it."""
    code = (
        "import shared.nameko_ext.green, sys, services.billing.service, services.notifier.service;"
        "from shared import tracing;"
        "assert tracing.http_server('GET', '/') is tracing.NOTHING and tracing.here() == '';"
        "sys.exit(sum(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False)
    assert done.returncode == 0


def test_off_an_event_looks_as_ever() -> None:
    """No field in the envelope, and one that comes in from a traced publisher is kept."""
    assert b"traceparent" not in events.encode(event())
    known = events.decode(events.encode(event()).replace(b'"data"', b'"traceparent":"x","data"'))
    assert known.traceparent == "x"


def test_a_collector_that_takes_nothing_holds_no_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stops gives its last spans some seconds, and ends without them."""

    class Stuck(OpenTelemetryRecorder):
        def close(self) -> None:
            eventlet.sleep(30)

    monkeypatch.setattr(runtime, "FLUSH_SECONDS", 0.05)
    tracing.use(Stuck(TracerProvider(shutdown_on_exit=False)))
    began = time.monotonic()
    runtime.stop_tracing()
    assert time.monotonic() - began < 5
    assert not tracing.is_on()


# --- HTTP ----------------------------------------------------------------------------------------------------


class Page:
    """A service with a page that tells which trace it is in."""

    name = "page"

    def see(self, request: Request, token: str) -> Response:
        if token == "broken":
            raise ValueError("the token is broken")
        return Response(tracing.here())


def visit(token: str, **headers: str) -> Response:
    entrypoint: Any = Http("GET", "/me/<token>")
    container = CorrelatedContainer(Page, {"max_workers": 2})
    bound = entrypoint.bind(container, "see")
    request = Request(EnvironBuilder(path=f"/me/{token}?from=mail", headers=headers).get_environ())
    request.path_values = {"token": token}  # type: ignore[attr-defined]
    response: Response = bound.handle_request(request)
    return response


def test_a_request_tells_its_route_and_never_its_path(spans: Spans) -> None:
    """Method, rule and status; the token of the link stands nowhere."""
    inside = visit("s3cr3t-token").get_data(as_text=True)
    span = spans.one("GET /me/<token>")
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/me/<token>",
        "http.response.status_code": 200,
    }
    assert named(inside) == ids(span)
    assert "s3cr3t" not in span.to_json()


def test_a_failed_request_tells_no_text(spans: Spans) -> None:
    """A 500 is an error; the exception's words and stack stay in the log."""
    assert visit("broken").status_code == 500
    span = spans.one("GET /me/<token>")
    assert span.status.status_code.name == "ERROR"
    assert span.events == ()
    assert "broken" not in span.to_json()


@pytest.mark.parametrize("sent", [OUTSIDE, "garbage", ""])
def test_a_stranger_joins_no_trace(spans: Spans, sent: str) -> None:
    """A `traceparent` from outside is linked to, but neither continued nor asked what is kept."""
    visit("t", traceparent=sent)
    span = spans.one("GET /me/<token>")
    assert span.parent is None
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == (
        [named(OUTSIDE)] if sent == OUTSIDE else []
    )


# --- RPC -----------------------------------------------------------------------------------------------------


class Listener:
    """A reply listener that nobody answers."""

    routing_key = "reply"

    def get_reply_event(self, correlation_id: str) -> eventlet.Event:
        return eventlet.Event()

    def forget(self, correlation_id: str | None) -> None:
        return


def test_a_call_carries_its_span(spans: Spans) -> None:
    """The client's span is the caller's child, travels in nameko's header, and ends with the error's class."""
    worker = SimpleNamespace(
        context_data={"correlation_id": "c", "traceparent": "stale"},
        container=SimpleNamespace(config=CONFIG),
    )
    method: Any = _BoundedMethod(worker, "billing", "invoice_state", Listener(), 0.01)
    sent: dict[str, Any] = {}
    method.publisher = SimpleNamespace(publish=lambda payload, **options: sent.update(options))
    with tracing.task("ask", "") as asking, pytest.raises(RpcTimeout):
        method(invoice_id="in_1")
    client = spans.one("billing/invoice_state")
    assert client.kind.name == "CLIENT"
    assert parent(client) == named(asking.traceparent)
    assert named(sent["extra_headers"]["nameko.traceparent"]) == ids(client)
    assert sent["extra_headers"]["nameko.correlation_id"] == "c"
    assert (client.attributes or {})["error.type"] == "RpcTimeout"
    assert "in_1" not in client.to_json()


class Deaf(CheckedRpc):
    """RPC without a broker."""

    def setup(self) -> None:
        return


class Called:
    """A service that is called, and tells which trace it is in."""

    name = "called"
    seen = ""

    @Deaf.decorator
    def invoice_state(self, fail: bool) -> None:
        Called.seen = tracing.here()
        if fail:
            raise LookupError("in_secret")


def work(container: CorrelatedContainer, *args: Any, **context: str) -> None:
    """Run the one method of a container's service as nameko would."""
    entrypoint: Entrypoint = next(iter(container.entrypoints))
    container.spawn_worker(entrypoint, args, {}, context_data=context)
    container.workers.waitall()


@pytest.mark.parametrize("fail", [False, True])
def test_a_called_method_goes_on_with_the_callers_trace(spans: Spans, fail: bool) -> None:
    """The server's span is the client's child, whose failure has a class and no words."""
    work(CorrelatedContainer(Called, CONFIG), fail, traceparent=OUTSIDE)
    server = spans.one("called/invoice_state")
    assert server.kind.name == "SERVER"
    assert parent(server) == named(OUTSIDE)
    assert named(Called.seen) == ids(server)
    assert (server.attributes or {}).get("error.type") == ("LookupError" if fail else None)
    assert "in_secret" not in server.to_json()


@pytest.mark.whole
def test_a_header_that_is_no_traceparent_harms_nobody(spans: Spans) -> None:
    """Whatever a stranger at the broker sends there, the call is done, in a trace of its own."""
    for sent in (7, ["x"], "00-zz-11-01", None):
        work(CorrelatedContainer(Called, CONFIG), False, traceparent=sent)  # type: ignore[arg-type]
    assert [span.parent for span in spans.all()] == [None] * 4


# --- events --------------------------------------------------------------------------------------------------


class Broker:
    """A session that takes the first event and refuses the others."""

    def __init__(self) -> None:
        self.published: list[events.Event] = []

    def publish(
        self,
        batch: Sequence[events.Event],
        outcomes: list[Exception | None],
        queue: str | None,
    ) -> None:
        self.published = list(batch)
        outcomes[0] = None
        raise BrokerUnavailable("gone")


def test_each_event_goes_out_in_the_trace_that_made_it(spans: Spans) -> None:
    """Events of two traces share a batch, not a trace; what was not confirmed is an error."""
    with tracing.task("webhook 1", "") as first:
        one = event(1)
    with tracing.task("webhook 2", "") as second:
        two = event(2)
    kept = [events.decode(events.encode(each)) for each in (one, two)]  # the outbox in between
    publisher, broker = BatchPublisher("embedded://", "billing"), Broker()
    publisher._session = broker  # type: ignore[assignment]
    broker.drop = lambda: None  # type: ignore[attr-defined]
    publisher.publish_batch(kept)
    sent = [span for span in spans.all() if span.kind.name == "PRODUCER"]
    assert [parent(span) for span in sent] == [named(first.traceparent), named(second.traceparent)]
    assert [named(each.traceparent) for each in broker.published] == [ids(span) for span in sent]
    assert [(span.attributes or {}).get("error.type") for span in sent] == [
        None,
        "BrokerUnavailable",
    ]
    assert sent[0].name == "publish billing.events:customer.deleted"
    assert (sent[0].attributes or {})["messaging.message.id"] == "evt_1/customer.deleted"


class Hearing(EventConsumer):
    """A consumer without a broker."""

    def setup(self) -> None:
        self.queue = SimpleNamespace(name="hears.billing-events")


class Hears:
    """A service that hears an event and says another."""

    name = "hears"
    said: events.Event

    @Hearing.decorator
    def on_event(self, event: events.Event) -> None:
        Hears.said = globals()["event"](9)


def test_handling_goes_on_where_publishing_was(spans: Spans) -> None:
    """The consumer's span is the producer's child, and what the handler says belongs to it."""
    container = CorrelatedContainer(Hears, CONFIG)
    next(iter(container.entrypoints)).setup()
    work(
        container,
        events.decode(
            events.encode(event(1)).replace(b'"data"', f'"traceparent":"{OUTSIDE}","data"'.encode())
        ),
    )
    span = spans.one("process billing.events:customer.deleted:hears.billing-events")
    assert span.kind.name == "CONSUMER"
    assert parent(span) == named(OUTSIDE)
    assert named(Hears.said.traceparent) == ids(span)


# --- batches -------------------------------------------------------------------------------------------------


def test_a_batch_belongs_to_one_caller_and_links_to_the_others(spans: Spans) -> None:
    """Work that three traces share is a child of the first and linked to the rest; inside, calls go on from it."""
    inside: list[str] = []

    def double(items: list[int]) -> list[int]:
        inside.append(tracing.here())
        return [2 * item for item in items]

    call = Batcher("doubles", double)
    asked: list[tuple[int, int]] = []

    def ask(item: int) -> int:
        with tracing.task(f"ask {item}", "") as span:
            asked.append(named(span.traceparent))
            return call(item)

    threads = [eventlet.spawn(ask, item) for item in range(3)]
    assert [thread.wait() for thread in threads] == [0, 2, 4]
    batch = spans.one("batch doubles")
    assert parent(batch) == asked[0]
    assert [(link.context.trace_id, link.context.span_id) for link in batch.links] == asked[1:]
    assert (batch.attributes or {})["portico.batch_size"] == 3
    assert [named(one) for one in inside] == [ids(batch)]


def test_a_batch_may_have_no_span(spans: Spans) -> None:
    """Where what it does is a part of what its callers do: it is in no trace by itself."""
    batcher = Batcher("doubles", lambda items: [2 * one for one in items], span=False)
    with tracing.task("caller", ""):
        assert batcher(21) == 42
    assert [span.name for span in spans.all()] == ["caller"]


@pytest.mark.parametrize("caller", [UNSAMPLED, ""])
def test_a_batch_that_nobody_traces_is_not_kept(spans: Spans, caller: str) -> None:
    """Callers whose traces are dropped, or who have none, make no span."""
    with tracing.batch("doubles", [SimpleNamespace(traceparent=caller)]):
        pass
    assert spans.all() == ()


# --- green threads and logs ------------------------------------------------------------------------------------


def test_each_green_thread_has_its_own_current_span(spans: Spans) -> None:
    """Two requests that take turns do not see each other's span, and a new green thread sees none."""
    seen: dict[str, list[str]] = {}

    def request(name: str) -> None:
        before = tracing.here()
        with tracing.task(name, ""):
            first = tracing.here()
            eventlet.sleep(0.01)
            seen[name] = [before, first, tracing.here()]

    with tracing.task("outer", ""):
        for thread in [eventlet.spawn(request, name) for name in ("a", "b")]:
            thread.wait()
    assert seen["a"][0] == seen["b"][0] == ""
    assert seen["a"][1] == seen["a"][2] != seen["b"][1] == seen["b"][2]


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """What the process logs; the loggers are as before afterwards."""
    with configured_logs() as stream:
        yield stream


def test_log_lines_name_their_trace(spans: Spans, log_lines: io.StringIO) -> None:
    """Inside a span `trace_id` and `span_id` stand beside what else is known; outside there are none."""
    log = get_logger("test")
    with tracing.task("work", "") as span:
        log.info("inside", correlation_id="evt_1")
    log.info("outside")
    inside, outside = (json.loads(line) for line in log_lines.getvalue().splitlines())
    assert (int(inside["trace_id"], 16), int(inside["span_id"], 16)) == named(span.traceparent)
    assert inside["correlation_id"] == "evt_1"
    assert "trace_id" not in outside


class Away(SpanExporter):
    """A collector that is away while `away` says so."""

    away = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE if self.away else SpanExportResult.SUCCESS


def test_an_absent_collector_is_told_once(log_lines: io.StringIO) -> None:
    """One line when its absence begins, one when it is over, however many batches are lost in between."""
    collector = Away()
    watched = WatchedExporter(collector)
    for _ in range(5):
        watched.export([])
    collector.away = False
    for _ in range(3):
        watched.export([])
    told = [json.loads(line)["level"] for line in log_lines.getvalue().splitlines()]
    assert told == ["warning", "info"]
