"""Logs and metrics that every service shares.

Logs are JSON lines on standard error, one event each, with the service, the correlation id and the time. What
must never be in them (links, session URLs, keys, addresses) is removed by the last processor as a safety net:
code that logs such a thing is wrong all the same.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared import tracing

SECRETS = (
    (re.compile(r"/me/[A-Za-z0-9_.\-]+"), "/me/***"),
    (re.compile(r"/requests/[A-Za-z0-9_.\-]+"), "/requests/***"),
    (re.compile(r"/p/session/[A-Za-z0-9_\-]+"), "/p/session/***"),
    (re.compile(r"(invoice\.stripe\.com|//127\.0\.0\.1:\d+)/i/\S+"), r"\1/i/***"),
    (re.compile(r"\b(?:sk|rk|pk)_(?:test|live)_\w+"), "***"),
    (re.compile(r"\bwhsec_\w+"), "***"),
    (re.compile(r"\bSG\.[\w.\-]+"), "***"),
    (re.compile(r"://[^/\s:@]+:[^/\s@]+@"), "://***@"),
    (re.compile(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+"), "***@***"),
)

HTTP_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Time from the request's first byte to its answer",
    ["service", "method", "route", "code"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RPC_SECONDS = Histogram(
    "rpc_request_duration_seconds", "Time an RPC method took", ["service", "method", "outcome"]
)
EVENT_SECONDS = Histogram(
    "event_handler_duration_seconds", "Time an event took to handle", ["service", "type", "outcome"]
)
DEAD_LETTERS = Counter("dead_letters_total", "Messages given up", ["service", "reason"])
CONSUMING = Gauge(
    "listener_consuming", "1 while messages are taken from the queue, else 0", ["service", "queue"]
)
LOOP_FAILURES = Counter("loop_failures_total", "Background rounds that failed", ["service", "loop"])


def redact(text: str) -> str:
    """The text without links, session URLs, keys, passwords and e-mail addresses."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _redact_values(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
        elif not isinstance(value, int | float | bool | None):
            event[key] = redact(str(value))
    return event


def _add_trace(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    event.update(tracing.log_fields())
    return event


def configure_logging(
    service: str, *, level: str = "INFO", stream: TextIO | None = None, pretty: bool = False
) -> None:
    """Send every log line of the process, ours and the libraries', through one JSON pipeline."""
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

    structlog.configure(
        processors=[
            *before,
            add_service,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, add_service],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact_values,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Chatty, costly (an 18 % slower web server) or indiscreet: DEBUG of these prints bodies, keys and URLs.
    for name in ("nameko", "kombu", "amqp", "urllib3", "eventlet", "alembic", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("stripe", "python_http_client", "sendgrid"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # nameko logs every exception of a worker with its arguments (tokens among them); ours are logged by the
    # entrypoints in shared/.
    logging.getLogger("nameko.containers").setLevel(logging.CRITICAL)


def get_logger(name: str) -> Any:
    """A structured logger: `log.info("webhook stored", event_id=…, type=…)`."""
    return structlog.get_logger(name)
