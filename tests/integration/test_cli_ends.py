"""How the process `portico` ends where nothing was foreseen: a defect, a reader that goes, a full disk, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.cli.context import DEFECT, NOT_READ, UNAVAILABLE
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.unpublished import LINK_KEY, STRIPE_TEST_KEY

PLANTED = f"""
import shared.nameko_ext.green
from portico.__main__ import main
from portico.main import app

@app.command("planted")
def planted(customer: str) -> None:
    raise KeyError("amqp://billing:{LINK_KEY}@127.0.0.1/ {STRIPE_TEST_KEY} ada@example.com \\x1b[2J")

main()
"""
"""The command line with a command that has a defect, whose text holds what must not be shown."""
SECRETS = (LINK_KEY, STRIPE_TEST_KEY, "ada@example.com")


def planted(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, *words],
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == DEFECT, done.stderr
    assert done.stdout == ""
    for secret in SECRETS:
        assert secret not in done.stderr
    return done


def test_a_defect_is_one_sentence() -> None:
    """What was being done, that it is a defect and where, and how to see more; no trace, none of the command's arguments."""
    (line,) = planted("planted", "https://me.example.com/me/secret").stderr.splitlines()
    assert line.startswith("`portico planted` has met a defect in Portico")
    assert "KeyError at " in line
    assert "--debug" in line
    assert "/me/" not in line


@pytest.mark.parametrize(
    ("words", "environ"),
    [(("--debug", "planted", "c1"), {}), (("planted", "c1"), {"PORTICO_DEBUG": "1"})],
)
def test_the_trace_is_there_for_who_asks(words: tuple[str, ...], environ: dict[str, str]) -> None:
    """By an option or a variable, redacted, with nothing that commands a terminal, and the same sentence after it."""
    trace = planted(*words, **environ).stderr
    assert "Traceback (most recent call last)" in trace
    assert ("KeyError" in trace, "[2J" in trace, "\x1b" in trace) == (True, True, False)
    assert trace.splitlines()[-1].startswith("`portico planted` has met a defect")


def portico(*words: str, **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "portico", *words],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


@pytest.mark.parametrize(
    "words",
    [("mail", "preview", "--json", "--out", "."), ("mail", "preview", "--out", "."), ("--help",)],
    ids=["json", "text", "help"],
)
def test_a_reader_that_goes_ends_it_quietly(words: tuple[str, ...], tmp_path: Path) -> None:
    """`portico … | head`: nothing on standard error, and the code of a program that the signal ends."""
    reading, writing = os.pipe()
    os.close(reading)
    process = portico(*(str(tmp_path) if one == "." else one for one in words), stdout=writing)
    os.close(writing)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == NOT_READ


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """In one line; the same command may work later."""
    with open("/dev/full", "w") as full:
        process = portico("mail", "preview", "--json", "--out", str(tmp_path), stdout=full)
        message = process.communicate(timeout=60)[1]
    assert (process.returncode, message) == (
        UNAVAILABLE,
        "portico mail preview: No space left on device\n",
    )


WITH_A_CALLBACK = """
import shared.nameko_ext.green
import os, signal, time, weakref
from portico.__main__ import main
from portico.main import app

class One:
    pass

def interrupt(_):
    os.kill(os.getpid(), signal.SIGINT)

@app.command("planted")
def planted() -> None:
    one = One()
    seen = weakref.ref(one, interrupt)
    del one
    time.sleep(30)

main()
"""
"""A command that a Ctrl-C reaches where Python raises nothing: its imports have such callbacks, also while it connects."""


@pytest.fixture
def hears_control_c() -> Iterator[None]:
    """Also where the tests run in the background: a shell has its background jobs, and all that they start, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_control_c")
def test_control_c_is_heard_where_python_forgets_it() -> None:
    """In a callback: it comes again, and ends the command as anywhere else."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_CALLBACK, "planted"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr.strip()) == ("", "")
    assert done.returncode == 128 + signal.SIGINT


@pytest.mark.usefixtures("hears_control_c")
def test_control_c_ends_it_quietly() -> None:
    """While it waits for a broker that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        environ = {**os.environ, "AMQP_URI": f"amqp://billing:{LINK_KEY}@127.0.0.1:{port}/portico"}
        process = portico("events", "list", stdout=subprocess.PIPE, env=environ)
        connection, _ = silent.accept()
        assert connection.recv(4) == b"AMQP"  # from here on it waits
        process.send_signal(signal.SIGINT)
        out, message = process.communicate(timeout=60)
        connection.close()
    assert (out, message.strip()) == ("", "")
    assert process.returncode == 128 + signal.SIGINT
