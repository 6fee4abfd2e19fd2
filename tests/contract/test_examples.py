"""The examples that docs/integration.md has run, where nothing runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:1"
"""A port that is nobody's: it needs rights to listen there, and is no service's."""


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "examples/http_api.sh"),
        (sys.executable, "examples/http_client.py"),
        ("node", "examples/http_client.mjs"),
        (sys.executable, "examples/host_app.py"),
        (sys.executable, "examples/host_app.py", "--listen"),
    ],
    ids=lambda command: " ".join(command[1:]),
)
def test_an_example_without_a_server_says_so_in_a_line(command: tuple[str, ...]) -> None:
    """Which address does not answer and what is to run there, and no trace of where it happened."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    environ = {
        "PATH": os.environ["PATH"],
        "API": f"http://{NOBODY}/api/v1",
        "KEY": "portico_test_nobodys",
        "PORTICO_API": f"http://{NOBODY}/api/v1",
        "PORTICO_KEY": "portico_test_nobodys",
        "AMQP_URI": f"amqp://{NOBODY}/portico",
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert ("make stack" if "host_app" in command[1] else "make run") in line
