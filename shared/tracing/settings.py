"""The standard variables of OpenTelemetry that concern traces, checked like every other setting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.settings import Reader, Secret

SAMPLERS: Final = (
    "parentbased_always_on",
    "parentbased_traceidratio",
    "parentbased_always_off",
    "always_on",
    "traceidratio",
    "always_off",
)
NAME: Final = re.compile(r"^[\w.\-/]{1,100}$", re.ASCII)
COLLECTOR: Final = "http://localhost:4318"


@dataclass(frozen=True)
class TracingSettings:
    """Where traces go, and which of them."""

    endpoint: str
    """The whole address that spans are posted to."""
    headers: Secret
    """`name=value,name=value` for each post; it usually holds the collector's key. May be empty."""
    sampler: str
    ratio: float
    """The part of all traces that is kept, 0 to 1, where the sampler asks for one."""
    service_name: str | None
    """The name to go by instead of the service's own."""


def read_tracing(reader: Reader) -> TracingSettings | None:
    """How this process is to be traced; None: not at all, which is the default.

    On with an endpoint or with `OTEL_TRACES_EXPORTER=otlp`; off again with `none` or `OTEL_SDK_DISABLED=true`. What
    else the standard knows and is only about the way out (certificates, compression, the size of batches) and
    `OTEL_RESOURCE_ATTRIBUTES` are read by the library.
    """
    base = reader.url(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        meaning="an OpenTelemetry collector that takes OTLP over HTTP; traces go to `/v1/traces` there. Setting it switches tracing on",
        example=COLLECTOR,
        default=None,
    )
    exact = reader.url(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        meaning="the whole address for traces, instead of the one above",
        example=f"{COLLECTOR}/v1/traces",
        default=None,
    )
    exporter = reader.choice(
        "OTEL_TRACES_EXPORTER",
        meaning="`none` switches tracing off, `otlp` on, at the usual local address when there is no endpoint",
        options=("otlp", "none"),
        default=None,
    )
    disabled = reader.boolean(
        "OTEL_SDK_DISABLED", meaning="switches tracing off, whatever else is set", default=False
    )
    reader.choice(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        meaning="the one protocol that is spoken",
        options=("http/protobuf",),
        default="http/protobuf",
    )
    headers = reader.pairs(
        "OTEL_EXPORTER_OTLP_HEADERS",
        meaning="headers for the collector, usually its key: a secret",
        example="authorization=Bearer%20…",
    )
    name = reader.text(
        "OTEL_SERVICE_NAME",
        meaning="the name to be traced under, instead of the service's own",
        example="portico-billing",
        default=None,
    )
    sampler = reader.choice(
        "OTEL_TRACES_SAMPLER",
        meaning="which traces are kept",
        options=SAMPLERS,
        default=SAMPLERS[0],
    )
    ratio = reader.fraction(
        "OTEL_TRACES_SAMPLER_ARG",
        meaning="the part of traces that a `…traceidratio` sampler keeps",
        default=1.0,
    )
    reader.check(
        "OTEL_SERVICE_NAME",
        name is None or bool(NAME.match(name)),
        "is not a name: it should be letters, digits and any of . _ - /",
    )
    wanted = exporter == "otlp" or (exporter is None and (base or exact))
    if disabled or not wanted:
        return None
    return TracingSettings(
        endpoint=exact or f"{base or COLLECTOR}/v1/traces",
        headers=headers,
        sampler=sampler,
        ratio=ratio,
        service_name=name,
    )
