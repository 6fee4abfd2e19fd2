"""The standard variables: what switches tracing on and off, and what is refused at start."""

from __future__ import annotations

import pytest

from shared.settings import Reader, SettingsError
from shared.tracing.recorder import sampler
from shared.tracing.settings import SAMPLERS, TracingSettings, read_tracing


def read(**environ: str) -> TracingSettings | None:
    reader = Reader(environ)
    settings = read_tracing(reader)
    reader.done()
    return settings


def on(**environ: str) -> TracingSettings:
    settings = read(**environ)
    assert settings is not None
    return settings


HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "billing", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=x"},
        {**HERE, "OTEL_TRACES_EXPORTER": "none"},
        {**HERE, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_off(environ: dict[str, str]) -> None:
    """Off by default, and off again whatever else is set."""
    assert read(**environ) is None


def test_on() -> None:
    """An endpoint is enough, and so is the exporter's name; traces go below the endpoint, or to the address of their own."""
    assert on(**HERE).endpoint == "http://collector:4318/v1/traces"
    assert on(OTEL_TRACES_EXPORTER="otlp").endpoint == "http://localhost:4318/v1/traces"
    exact = "https://traces.example/otlp"
    assert on(**HERE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=exact).endpoint == exact
    assert on(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=exact).endpoint == exact


def test_headers_are_a_secret() -> None:
    """They never show, and an entry that can't be read is refused without being repeated."""
    settings = on(**HERE, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20k3y,x-tenant=a")
    assert settings.headers.reveal() == "authorization=Bearer%20k3y,x-tenant=a"
    assert "k3y" not in repr(settings)
    for wrong in ("k3y", "authorization=x,k3y", 'a="k3y"', "a b=k3y", "a=k3y\\"):
        with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_HEADERS") as refusal:
            read(**HERE, OTEL_EXPORTER_OTLP_HEADERS=wrong)
        assert "k3y" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "10"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_SDK_DISABLED", "perhaps"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    """A value that would be ignored or guessed by the library stops the start instead."""
    with pytest.raises(SettingsError, match=name):
        read(**{**HERE, name: value})


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_exists(name: str) -> None:
    """Each name that is taken is a sampler, and the ratio reaches it."""
    made = sampler(on(**HERE, OTEL_TRACES_SAMPLER=name, OTEL_TRACES_SAMPLER_ARG="0.25"))
    assert ("ParentBased" in made.get_description()) == name.startswith("parentbased")
    assert ("0.25" in made.get_description()) == name.endswith("traceidratio")
