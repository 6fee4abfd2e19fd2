"""What is set up wrongly is said, by one service on real servers: at `/readyz`, in a line of the log, or with exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.ports import PORTS
from local.processes import Process, fetch
from local.servers import PostgreSQL, free_port
from sandbox.keys import own_secrets
from tests.fixtures.servers import REPOSITORY

Made = Callable[..., Process]


@pytest.fixture
def portal(tmp_path: Path, amqp_uri: str) -> Iterator[Made]:
    """`portal(database_url, **settings)`: a process of the portal's, launched."""
    made: list[Process] = []

    def launch(database_url: str, **settings: str) -> Process:
        port = free_port()
        env = {
            "AMQP_URI": amqp_uri,
            "PORTAL_DATABASE_URL": database_url,
            "HTTP_ADDRESS": f"127.0.0.1:{port}",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "PORTAL_LINK_KEYS": own_secrets(tmp_path)["PORTAL_LINK_KEYS"],
            **settings,
        }
        log = tmp_path / f"{len(made)}.log"
        process = Process("portal", "services.portal", port=port, env=env, log=log)
        process.launch()
        made.append(process)
        return process

    yield launch
    for process in made:
        process.kill()


def readyz(process: Process) -> tuple[int, dict[str, Any]]:
    try:
        return 200, json.loads(fetch(f"{process.url}/readyz"))
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except urllib.error.URLError:
        return 0, {}


def lines(process: Process, word: str) -> list[str]:
    return [line for line in process.log_text().splitlines() if f'"event": "{word}' in line]


def is_told(process: Process, told: str) -> None:
    """It is not ready and says why, in its log too, once and without a traceback; other lines don't call it ready."""
    process.wait_for(lambda: bool(lines(process, "not ready")), within=30)
    code, body = readyz(process)
    assert (code, told in body["failing"]["Database"]) == (503, True)
    assert [told in line for line in lines(process, "not ready")] == [True]
    assert len(lines(process, "background round put off")) == 1  # of five loops
    assert "Traceback" not in process.log_text()
    assert not lines(process, "ready")


def test_an_empty_database_is_told_until_it_is_migrated(portal: Made, postgres: PostgreSQL) -> None:
    """The service waits, and is ready as soon as somebody has migrated."""
    process = portal(postgres.create_database("states_empty"))
    is_told(process, "the database is empty: run `python -m services.portal migrate`")
    assert process.command("migrate").wait(60) == 0
    process.wait(within=10)


def test_a_wrong_password_of_the_database_is_told(
    portal: Made, database: Callable[[str], str], postgres: PostgreSQL
) -> None:
    """By the service in words, and by a command with one line and exit code 3."""
    wrong = database("portal").replace(postgres.password, "wrong")
    process = portal(wrong)
    is_told(process, "the database refuses the user or the password")
    before = process.log_text()
    assert process.command("migrate").wait(60) == 3
    added = process.log_text().removeprefix(before)
    assert "the database refuses the user or the password" in added
    assert "Traceback" not in added


def test_a_wrong_password_of_the_broker_is_told(
    portal: Made, database: Callable[[str], str], amqp_uri: str
) -> None:
    """Pages go on; `/readyz` and the log say which setting it is, the log at the first, second, fourth … try."""
    user = amqp_uri.split("@", maxsplit=1)[0]
    process = portal(database("portal"), AMQP_URI=amqp_uri.replace(user, "amqp://portico:wrong"))
    process.wait_for(lambda: len(lines(process, "not listening")) > 1, within=30)
    told = "RabbitMQ refuses the user and password of AMQP_URI"
    code, body = readyz(process)
    assert (code, body["degraded"]) == (200, {"SafeQueueConsumer": told})
    assert all(told in line for line in lines(process, "not listening"))
    assert "Traceback" not in process.log_text()


def test_a_service_that_waits_for_its_broker_ends_in_peace(
    portal: Made, database: Callable[[str], str]
) -> None:
    """At SIGTERM, with exit code 0: nothing has failed, and no line calls it so. What is said of the broker is no `repr`."""
    process = portal(database("portal"), AMQP_URI=f"amqp://127.0.0.1:{free_port()}/portico")
    process.wait_for(lambda: bool(lines(process, "not listening")), within=30)
    assert "ConnectionRefusedError: " in lines(process, "not listening")[0]
    assert process.terminate() == 0
    assert "Traceback" not in process.log_text()
    assert '"level": "critical"' not in process.log_text()
    assert len(lines(process, "stopped")) == 1


def test_anothers_database_is_refused(portal: Made, database: Callable[[str], str]) -> None:
    """At the start, with the owner's name, before anything is done there."""
    process = portal(database("notifier"))
    assert process.ended(within=30) == 2
    assert "PORTAL_DATABASE_URL is notifier's, not portal's" in process.log_text()
    assert "Traceback" not in process.log_text()


def test_an_address_is_taken_alone(portal: Made, database: Callable[[str], str]) -> None:
    """A second process there ends with exit code 2 and one message; both that say HTTP_SHARED share it, and no other."""
    url = database("portal")
    first = portal(url)
    first.wait()
    for settings in ({}, {"HTTP_SHARED": "true"}):
        second = portal(url, HTTP_ADDRESS=f"127.0.0.1:{first.port}", **settings)
        assert second.ended(within=30) == 2
        assert "HTTP_ADDRESS: can't listen on 127.0.0.1" in second.log_text()
        assert "Traceback" not in second.log_text()
    sharing = portal(url, HTTP_SHARED="true")
    sharing.wait()
    also = portal(url, HTTP_ADDRESS=f"127.0.0.1:{sharing.port}", HTTP_SHARED="true")
    also.wait_for(lambda: bool(lines(also, "waiting for an exchange")), within=30)
    sharing.kill()
    assert readyz(sharing)[0] == 200  # its address is answered by the other


@pytest.mark.parametrize(
    ("setting", "url", "told"),
    [
        ("AMQP_URI", "amqp://127.0.0.1:1/portico", "RabbitMQ can't be used: Connection refused"),
        ("PORTAL_DATABASE_URL", "postgresql://portal@127.0.0.1:1/portal", "does not answer"),
    ],
)
def test_make_run_names_the_server_that_does_not_answer(
    setting: str, url: str, told: str, tmp_path: Path
) -> None:
    """And ends, with what to do, before anything is started."""
    ports = {f"{part.upper()}_PORT": str(free_port()) for part in PORTS}
    done = subprocess.run(
        [sys.executable, "-m", "local"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PORTICO_VAR": str(tmp_path), **ports, setting: url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{setting}: ")
    assert told in line
    assert f"unset {setting}" in line
