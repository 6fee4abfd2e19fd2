"""Logs and metrics that every service shares.

Logs are JSON lines on standard error, one event each, with the service, the correlation id and the time. What
must never be in them (links, session URLs, keys, addresses) is removed by the last processor as a safety net:
code that logs such a thing is wrong all the same. Values are JSON, whatever was given: never Python's `repr`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import itertools
import json
import logging
import math
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TextIO, TypeVar, cast

import msgspec
import structlog
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)

from shared import tracing

Item = TypeVar("Item")

_BEFORE: Final = r"(?:/|%(?:25)*2F)"
_AFTER: Final = r"(?:\\?/|%(?:25)*2F)++"
"""Slashes. Within a query, or a query within a query, and as some write JSON, one is `%2F`, `%252F` or `\\/`; a client may send several."""
SECRETS: Final = (
    (re.compile(rf"{_BEFORE}me{_AFTER}[A-Za-z0-9_.%\-]+", re.IGNORECASE), "/me/***"),
    (re.compile(rf"{_BEFORE}requests{_AFTER}[A-Za-z0-9_.%\-]+", re.IGNORECASE), "/requests/***"),
    # The link by which a business connects its Stripe account; Stripe's own way back has no secret in its path.
    (re.compile(rf"{_BEFORE}connect{_AFTER}[A-Za-z0-9_\-]{{43,}}", re.IGNORECASE), "/connect/***"),
    (re.compile(r"/p/session/[A-Za-z0-9_\-]+"), "/p/session/***"),
    (re.compile(r"(invoice\.stripe\.com|//127\.0\.0\.1:\d+)/i/\S+"), r"\1/i/***"),
    # Of a Checkout session, a receipt, a hosted instruction: whoever has the address sees, and pays, what is there.
    (re.compile(r"/c/pay/\S+"), "/c/pay/***"),
    (re.compile(r"//(pay|payments)\.stripe\.com/\S+"), r"//\1.stripe.com/***"),
    # Whatever stands before it: `%3D` ends with a letter.
    (re.compile(r"(?:sk|rk|pk|ek|uk|portico)_(?:org_)?(?:test|live)_\w+"), "***"),
    # The client secret of an intent or a session: `pi_…_secret_…`.
    (re.compile(r"\b(?:pi|seti|cs|cuss|src|accs)_\w+?_secret_\w+"), "***"),
    (re.compile(r"whsec_[\w+/=]+"), "***"),
    (re.compile(r"\bSG\.[\w.\-]+"), "***"),
    (re.compile(r"://[^/\s:@]*:[^/\s]+@"), "://***@"),
    # A run of letters is tried from its beginning alone, and no part of it given back: from each of its letters, a text
    # without an address would take time in the square of its length.
    (
        re.compile(
            r"(?<![\w.+\-])(?<![\w.+\-]')[\w.+\-]++(?:'[\w.+\-]++)*+(?:@|%40)[\w\-]++(?:\.[\w\-]++)++"
        ),
        "***@***",
    ),
)
"""What must not be logged, and what stands in its place. Each takes time in proportion to the text's length."""
_SUSPECT: Final = re.compile(
    r"(?:/|2[Ff])(?i:me|requests|connect)(?:\\?/|%)|/(?:p/session|c/pay|i)/|//pay|_(?:test|live|secret)_|whsec_|SG\.|://|@|%40",
    re.ASCII,
)
"""Stands in every text that one of `SECRETS` changes. Most texts are ids and words without it, and are looked at once."""

HEAD: Final = 24 * 1024
TAIL: Final = 8 * 1024
"""How many characters of a longer text are kept at its beginning and, where a traceback says what was raised, at its end."""
MOST_VALUES: Final = 100
NESTED_LENGTH: Final = 1000
DEEPEST: Final = 5
"""How many values a structure in a line has, how long the texts in it are, and how deep it goes; the rest is left out."""

HTTP_SECONDS = Histogram(
    "portico_http_server_request_duration_seconds",
    "Time from the request's first byte to its answer",
    ["service", "method", "route", "code"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RPC_SECONDS = Histogram(
    "portico_rpc_request_duration_seconds",
    "Time an RPC method took",
    ["service", "method", "outcome"],
)
EVENT_SECONDS = Histogram(
    "portico_event_handler_duration_seconds",
    "Time an event took to handle",
    ["service", "type", "outcome"],
)
DEAD_LETTERS = Counter("portico_dead_letters_total", "Messages given up", ["service", "reason"])
CONSUMING = Gauge(
    "portico_listener_consuming",
    "1 while messages are taken from the queue, else 0",
    ["service", "queue"],
)
BUILD = Gauge(
    "portico_build_info", "1; its labels say what runs here", ["service", "version", "python"]
)
LOOP_FAILURES = Counter(
    "portico_loop_failures_total", "Background rounds that failed", ["service", "loop"]
)


PREFIX: Final = "portico_"
WITHOUT_PREFIX: Final = frozenset(
    {
        "batch_size",
        "dead_letters",
        "emails_sent",
        "event_handler_duration_seconds",
        "http_server_request_duration_seconds",
        "listener_consuming",
        "loop_failures",
        "notifications_oldest_due_seconds",
        "notifications_pending",
        "outbox_oldest_age_seconds",
        "outbox_pending",
        "portal_billing_opened",
        "portal_cancellation_requests",
        "portal_cancellation_requests_oldest_age_seconds",
        "portal_cancellation_requests_waiting",
        "portal_cancellation_steps",
        "portal_configuration_missing",
        "portal_confirmations",
        "portal_fresh_links",
        "portal_link_changes",
        "portal_link_conflicts",
        "portal_link_evidence",
        "portal_visits",
        "rpc_request_duration_seconds",
        "sendgrid_events",
        "sendgrid_webhooks",
        "stripe_errors",
        "stripe_reads",
        "stripe_webhooks",
        "trace_spans",
    }
)
"""What the release before called its metrics (a counter without `_total`). They are told under these names too, for rules and
dashboards that others have written; the next release leaves that out."""


class _Collected:
    """The process's metrics as a scrape gets them."""

    def collect(self) -> Iterator[Metric]:
        for family in REGISTRY.collect():
            yield family
            name = family.name.removeprefix(PREFIX)
            if name in WITHOUT_PREFIX:
                yield _renamed(family, name)


def _renamed(family: Metric, name: str) -> Metric:
    same = Metric(name, f"{PREFIX}{name}, by its name of the release before", family.type)
    same.samples = [
        sample._replace(name=sample.name.removeprefix(PREFIX)) for sample in family.samples
    ]
    return same


def exposition() -> bytes:
    """All metrics of the process, as `/metrics` answers them."""
    return generate_latest(cast(CollectorRegistry, _Collected()))


def redact(text: str) -> str:
    """The text without links, session URLs, keys, passwords and e-mail addresses; of one longer than `HEAD` and `TAIL`
    together, no more than these."""
    text = _shortened(text)
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _shortened(text: str) -> str:
    """Without the middle where it is too long, and without the words that the cuts tore: half a secret is no pattern."""
    cut = len(text) - HEAD - TAIL
    if cut <= 0:
        return text
    head = text[:HEAD]
    head = head[: max(head.rfind(" "), head.rfind("\n")) + 1]
    tail = text[-TAIL:]
    starts = [at for at in (tail.find(" "), tail.find("\n")) if at >= 0]
    tail = tail[min(starts) :] if starts else ""
    return f"{head}…{len(text) - len(head) - len(tail)} characters left out…{tail}"


TEXTS: Final = (str, bytes, bytearray, memoryview)
"""What has a length, and is one value all the same."""


def _redact_values(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # Mostly they are ids and words: looked at all at once, they cost one search instead of one each.
    texts = "\n".join([value for value in event.values() if type(value) is str])
    harmless = len(texts) <= HEAD and not _SUSPECT.search(texts)
    for key, value in event.items():
        kind = type(value)
        if kind is str:
            if not harmless:
                event[key] = redact(value)
        elif kind is not int and kind is not bool and value is not None:
            event[key] = _json_value(value, itertools.count())
    return event


def _json_value(value: Any, seen: Iterator[int], depth: int = 0) -> Any:
    """The value as JSON has it, redacted all through. `seen` counts the values of the whole structure."""
    if isinstance(value, enum.Enum):
        return _json_value(value.value, seen, depth)
    named = _named_values(value)
    if named is not None:
        items = _first(named.items(), seen, depth)
        found = {_nested_text(str(key)): _json_value(one, seen, depth + 1) for key, one in items}
        if left := len(named) - len(found):
            found["…"] = f"{left} left out"
        return found
    if isinstance(value, Collection) and not isinstance(value, TEXTS):
        several = [_json_value(one, seen, depth + 1) for one in _first(value, seen, depth)]
        if left := len(value) - len(several):
            several.append(f"… {left} left out")
        return several
    return _json_scalar(value, depth)


def _json_scalar(value: Any, depth: int) -> str | int | float | None:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode(errors="backslashreplace")
    text = value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
    return _nested_text(text) if depth else redact(text)


def _named_values(value: Any) -> Mapping[Any, Any] | None:
    """A mapping's items, or a structure's fields without those that its `repr` leaves out; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value) if one.repr}
    return None


def _first(values: Iterable[Item], seen: Iterator[int], depth: int) -> Iterator[Item]:
    if depth < DEEPEST:
        for one in values:
            if next(seen) >= MOST_VALUES:
                return
            yield one


def _nested_text(text: str) -> str:
    return redact(text)[:NESTED_LENGTH]


def _add_trace(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    event.update(tracing.log_fields())
    return event


class _LogHandler(logging.StreamHandler[TextIO]):
    """Says that a line was lost, and not what was in it: logging's own complaint prints the arguments as they are."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        self.lost(record.name)

    def lost(self, logger: str) -> None:
        """Say that a line of this logger was lost to the error that is being handled."""
        kind = type(sys.exc_info()[1]).__name__
        with contextlib.suppress(OSError, ValueError):  # a stream that is closed takes this no more
            self.stream.write(
                f'{{"event": "log line lost", "level": "error", "logger": "{logger}", "error": "{kind}"}}\n'
            )

    def write_line(self, line: str, logger: str) -> None:
        """Write a line that is whole, in one piece."""
        try:
            self.stream.write(f"{line}\n")
            self.stream.flush()
        except Exception:
            self.lost(logger)


_handler = _LogHandler()
"""Where the lines of the process go, ours and the libraries'."""


class _LineLogger:
    """Takes a line from structlog to the handler. The standard library's logger, whose levels hold, would make a record of it, look
    for its caller in the stack and have it formatted by a second row of processors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled_for = logging.getLogger(name).isEnabledFor

    def write(self, line: str) -> None:
        """A finished line, of any level."""
        _handler.write_line(line, self.name)

    debug = info = warning = error = critical = exception = write


_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
}


def _keep_to_level(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if not logger.enabled_for(_LEVELS[method]):
        raise structlog.DropEvent
    return event


def configure_logging(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line of the process, ours and the libraries', through one JSON pipeline."""
    global _handler
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]

    def add_service(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        event.setdefault("service", service)
        return event

    def finish(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        """The line; whoever logs never meets an error of the log's own."""
        try:
            event = structlog.processors.format_exc_info(logger, method, event)
            return _json_line(logger, method, _redact_values(logger, method, event))
        except Exception:
            _handler.lost(logger.name)
            raise structlog.DropEvent from None

    structlog.configure(
        processors=[_keep_to_level, *before, add_service, finish],
        logger_factory=_LineLogger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    _handler = _LogHandler(stream or sys.stderr)
    _handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, add_service],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact_values,
                _json_line,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [_handler]
    root.setLevel(level)
    # Chatty, costly (an 18 % slower web server) or indiscreet: DEBUG of these prints bodies, keys and URLs.
    for name in ("nameko", "kombu", "amqp", "urllib3", "eventlet", "alembic", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("stripe", "python_http_client", "sendgrid"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)
    # nameko logs every exception of a worker with its arguments (tokens among them); ours are logged by the
    # entrypoints in shared/.
    logging.getLogger("nameko.containers").setLevel(logging.CRITICAL)


_encode: Final = json.JSONEncoder().encode
"""Made once: `json.dumps` with arguments of its own makes an encoder for each call."""


def _json_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event)


AUDIT_LOGGER: Final = "portico.audit"
LONGEST_FACT: Final = 300
"""Characters: a longer text is no id, and whoever may make requests could fill a disk with such lines."""


def audit(what: str, **facts: Any) -> None:
    """A line about something that a person or a host application had done: who, what and which, whatever the log's level.

    Facts are ids, counts and outcomes; never a name, an address or a link. Of a list only its length is told: what it says is private; and so
    it is of what is too long for a fact.
    """
    _audit_log.info(
        "audit", audit=True, what=what, **{name: _fact(one) for name, one in facts.items()}
    )


def _fact(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_FACT:
        return f"({len(value)} characters)"
    return len(value) if isinstance(value, list) else value


def error_text(error: BaseException) -> str:
    """An error as a value of a line: `ConnectionRefusedError: [Errno 111] Connection refused`."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def get_logger(name: str) -> Any:
    """A structured logger: `log.info("webhook stored", event_id=…, type=…)`."""
    return structlog.get_logger(name)


_audit_log: Final = get_logger(AUDIT_LOGGER)
