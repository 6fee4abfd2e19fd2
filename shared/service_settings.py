"""What every service is told at its start, read the same way by all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.mode import read_observes
from shared.settings import Reader, Secret
from shared.tracing.settings import TracingSettings, read_tracing


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What a service needs to know to run; each adds its own. No secret shows in its `repr`."""

    amqp_uri: Secret
    database_url: Secret
    http_address: str
    observes: bool
    """Whether the whole installation observes (`MODE`)."""
    tracing: TracingSettings | None
    http_shared: bool
    log_level: str


def read_service(reader: Reader, *, listens: str, address: str) -> dict[str, Any]:
    """The fields of `ServiceSettings` but for the database's; `listens` says what `HTTP_ADDRESS` is, and `address` what unless set."""
    return {
        "amqp_uri": reader.amqp_uri(),
        "http_address": reader.address("HTTP_ADDRESS", meaning=listens, default=address),
        "observes": read_observes(reader),
        "tracing": read_tracing(reader),
        "http_shared": reader.http_shared(),
        "log_level": reader.log_level(),
    }
