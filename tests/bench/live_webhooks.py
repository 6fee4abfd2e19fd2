"""Stripe's webhooks at an even pace while something else goes on. `python -m tests.bench.live_webhooks` reads a plan as a line of JSON
on stdin, posts until stdin ends, and writes what it measured as JSON on stdout.

What is not answered with 200 is posted again, as Stripe does it. An answer's time begins when its webhook was due, so that one which is
late because the one before it was counts in full.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from local.python_process import REPOSITORY, python_environment
from tests.bench.load import Connection, requests_of, summary

AGAIN_SECONDS: Final = 0.3
"""Until a webhook that was not answered is posted again."""
ANSWER_SECONDS: Final = 20.0


def post(plan: dict[str, Any], ended: Callable[[], bool]) -> dict[str, Any]:
    """Post one `every` so many seconds: rate, latencies in ms, and how many posts were not answered with 200 (`again`)."""
    source = requests_of(plan)
    connection: Connection | None = None
    latencies: list[float] = []
    again = 0
    begin = due = time.perf_counter()
    request = next(source)
    while not ended():
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            if connection is None:
                connection = Connection(plan["port"])
                connection.socket.settimeout(ANSWER_SECONDS)
            connection.send(request)
            status = connection.answer()
        except OSError:
            status = 0
            if connection is not None:
                connection.socket.close()
            connection = None
        now = time.perf_counter()
        if status == 200:
            latencies.append(now - due)
            request, due = next(source), due + plan["every"]
        else:
            again += 1
            due = now + AGAIN_SECONDS
    return {**summary(latencies, time.perf_counter() - begin), "again": again}


@contextlib.contextmanager
def posting(plan: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Post in a process of its own; the call ends it, and gives what it measured."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.live_webhooks"],
        cwd=REPOSITORY,
        env=python_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()

        def end() -> dict[str, Any]:
            told, _ = process.communicate(timeout=60)
            measured: dict[str, Any] = json.loads(told)
            return measured

        try:
            yield end
        finally:
            process.kill()


def main() -> None:
    """Post until stdin ends."""
    plan = json.loads(sys.stdin.readline())
    ended = threading.Event()

    def until_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    print(json.dumps(post(plan, ended.is_set)))


if __name__ == "__main__":
    main()
