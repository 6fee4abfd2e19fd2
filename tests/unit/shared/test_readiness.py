"""When a service calls itself ready in its log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest

from shared.nameko_ext import runtime
from shared.nameko_ext.runtime import Running


def running_with(*answers: dict[str, str]) -> Running:
    """A process whose one service's `/readyz` says these in turn, and then the last one indefinitely."""
    said = list(answers)

    def report() -> tuple[int, dict[str, Any]]:
        return 0, {"failing": said.pop(0) if len(said) > 1 else said[0]}

    made = Running([])
    extensions = [SimpleNamespace(readiness_report=report), SimpleNamespace()]
    containers = [SimpleNamespace(extensions=extensions)]
    made._runners = [SimpleNamespace(containers=containers, start=lambda: None)]
    return made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "READY_SECONDS", 0.002)


def told_by(running: Running) -> list[tuple[str, str | None]]:
    lines: list[tuple[str, str | None]] = []

    def note(event: str, **values: Any) -> None:
        lines.append((event, values.get("Database")))

    with pytest.MonkeyPatch.context() as patch, eventlet.Timeout(5):
        patch.setattr(runtime, "log", SimpleNamespace(info=note, error=note))
        running.tell_readiness(0.0)
    return lines


def test_ready_is_said_once_it_is_so() -> None:
    """A state is told when it is new, not at each look; the last word is "ready"."""
    running = running_with({"Database": "a"}, {"Database": "a"}, {"Database": "b"}, {})
    running.start()
    assert told_by(running) == [("not ready", "a"), ("not ready", "b"), ("ready", None)]


def test_what_is_wrong_is_said_while_the_start_waits() -> None:
    """A start that waits for its broker keeps no silence about the database."""
    running = running_with({"Database": "a"}, {})
    eventlet.spawn_after(0.05, running.start)
    assert told_by(running) == [("not ready", "a"), ("ready", None)]


def test_a_stop_ends_the_telling() -> None:
    """Nobody looks at what is being taken down."""
    running = running_with({"Database": "a"})

    def stop() -> None:
        running._stopping = True

    eventlet.spawn_after(0.02, stop)
    assert told_by(running) == [("not ready", "a")]
