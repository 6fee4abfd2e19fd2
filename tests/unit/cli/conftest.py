"""A command line on a desk of the test's own: no broker, no process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from typer.main import get_command

from portico.cli.context import CliContext
from portico.cli.rpc import Fault, Unavailable
from portico.main import app

COMMAND = get_command(app)
"""Built once: it is the same for every test, and takes longer than most of them."""


GOLDEN = Path(__file__).parents[2] / "contract" / "golden" / "rpc"


def golden(service: str, method: str) -> Any:
    """What the method answers in its golden file."""
    return json.loads((GOLDEN / f"{service}.{method}.json").read_text())["answer"]


def whole(told: Any, example: Any) -> Any:
    """What is told, with the fields of the example that it lacks."""
    if isinstance(told, dict) and isinstance(example, dict):
        return {
            name: whole(told[name], one) if name in told else one for name, one in example.items()
        } | {name: one for name, one in told.items() if name not in example}
    if isinstance(told, list) and isinstance(example, list) and example:
        return [whole(one, example[0]) for one in told]
    return told


class FakeServices:
    """Services that answer as they are told, and remember what was asked of them.

    `answers[("billing", "replay")]` is a value, or a function of the arguments, which may raise Fault or Unavailable. Fields
    that a value does not have are those of the golden answer.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self._results: dict[str, Any] = {}

    def __enter__(self) -> FakeServices:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        # What goes over the wire must be JSON.
        arguments = json.loads(json.dumps(arguments))
        self.asked.append((service, method, arguments))
        if (service, method) not in self.answers:
            raise Unavailable(f"{service}.{method}: no answer")
        answer = self.answers[(service, method)]
        answer = answer(**arguments) if callable(answer) else answer
        if method == "story":  # of which every part may be missing
            return json.loads(json.dumps(answer))
        return whole(json.loads(json.dumps(answer)), golden(service, method))

    def send(self, service: str, method: str, **arguments: Any) -> str:
        call_id = str(len(self._results))
        try:
            self._results[call_id] = self.call(service, method, **arguments)
        except (Fault, Unavailable) as error:
            self._results[call_id] = error
        return call_id

    def wait(self, call_id: str) -> Any:
        result = self._results[call_id]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


Run = Callable[..., Result]


@pytest.fixture
def run(services: FakeServices) -> Run:
    """Run `portico` with these words; the services are the fakes, the environment only what is given."""

    def invoke(*words: str, environ: Mapping[str, str] | None = None, **options: Any) -> Result:
        settings = {"AMQP_URI": "embedded://tests/"} if environ is None else dict(environ)

        def make(environ: Mapping[str, str], timeout: float) -> FakeServices:
            return services

        result = CliRunner().invoke(COMMAND, list(words), obj=CliContext(settings, make), **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
