"""What a service's process takes into memory before it has done anything: a module too many is paid by every replica."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from local.python_process import REPOSITORY, python_environment

NOBODY = {
    "alembic",
    "mako",
    "typer",
    "rich",
    "portico",
    "sandbox",
    "portico.cli",
    "dns",
    "opentelemetry",
}
"""Migrating and the command line are other processes, tracing is off by default, and dnspython would come with eventlet's own
resolver."""
OTHERS = {
    "portal": {"stripe", "sendgrid", "requests", "cryptography", "icalendar"},
    "billing": {"sendgrid", "jinja2", "babel", "icalendar", "cryptography"},
    "notifier": {"stripe", "icalendar", "cryptography"},
}
"""What belongs to another service, or is loaded at its first use: cryptography by SendGrid's first webhook, icalendar by the first
customer who takes an appointment into their calendar."""

SLOW_NAMES = """
import os, select, socket
reader, writer = os.pipe()
wait, system = select.select, socket.getaddrinfo

def slow(host, *rest):
    if host == "slow.example" and not rest[-1] & socket.AI_NUMERICHOST:
        if not wait([reader], [], [], 30)[0]:
            raise SystemExit("nobody answered")
        host = "127.0.0.1"
    return system(host, *rest)

socket.getaddrinfo = slow
import shared.nameko_ext.green
import eventlet
"""
"""A process whose name server answers when something is written to `writer`."""
ANSWERED = """
looking = eventlet.spawn(socket.getaddrinfo, "slow.example", 80)
eventlet.sleep(0.05)
os.write(writer, b"go on")
print(looking.wait()[0][4])
try:
    socket.getaddrinfo("nowhere.invalid", 80)
except socket.gaierror:
    print("unknown")
"""
GIVEN_UP = """
with eventlet.Timeout(0.1, False):
    socket.getaddrinfo("slow.example", 80)
print("given up")
"""

SERVE = """
import shared.nameko_ext.green
import gc, os
from types import SimpleNamespace
import eventlet
from shared.nameko_ext.runtime import serve
from shared.settings import Secret

class Idle:
    name = "idle"

def look():
    while not gc.get_freeze_count():
        eventlet.sleep(0.01)
    print(gc.get_freeze_count() > 20 * len(gc.get_objects()), gc.isenabled(), flush=True)
    os._exit(0)

eventlet.spawn(look)
serve(Idle, SimpleNamespace(amqp_uri=Secret("embedded://x"), http_address="127.0.0.1:0", http_shared=False, tracing=None))
"""


def python(program: str) -> str:
    """What a Python program prints in a process of its own, with nothing of this one's."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=python_environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("service", OTHERS)
def test_a_service_loads_only_what_it_works_with(service: str) -> None:
    """No migrations, command line, stand-in or other service's library is in a serving process."""
    said = python(
        f"import json, sys, services.{service}.__main__; print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(said))
    other_services = {f"services.{other}" for other in OTHERS if other != service}
    assert (
        loaded & (NOBODY | OTHERS[service] | other_services | {f"services.{service}.cli"}) == set()
    )
    assert f"services.{service}.service" in loaded


def test_a_slow_name_server_holds_nobody_up() -> None:
    """While one green thread waits for a name others go on; an unknown name is an error as everywhere."""
    assert python(SLOW_NAMES + ANSWERED).splitlines() == ["('127.0.0.1', 80)", "unknown"]


def test_a_name_server_that_hangs_holds_no_end_up() -> None:
    """A look-up is given up in time, and the process ends although the system still waits for its answer."""
    began = time.monotonic()
    assert python(SLOW_NAMES + GIVEN_UP) == "given up\n"
    assert time.monotonic() - began < 25


def test_what_was_loaded_is_no_garbage_to_look_for() -> None:
    """Once a service is ready, the collector looks only at what came after: no pause grows with the libraries."""
    assert python(SERVE).splitlines()[-1] == "True True"
