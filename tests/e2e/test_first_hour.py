"""docs/first-hour.md, command by command in one shell at a terminal, and what its reader sees in a browser.

What fetches packages is played by scripts that do nothing, ports are free ones, and the broker and the databases are the tests' own; all
else runs as it stands on the page, `portico init` asking at a terminal among it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from local.processes import fetch
from local.servers import PostgreSQL, RabbitMQ, free_port
from portico.interview import QUESTIONS
from tests.fixtures.server_page import blocks, superuser
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.system import assert_private

PAGE = REPOSITORY / "docs" / "first-hour.md"
TEXT = PAGE.read_text()
HEADINGS = re.findall(r"^## (.+)$", TEXT, re.M)
PATIENCE = 400.0
"""Seconds for one block of the page, on a machine on which others are busy."""


@dataclass
class Terminal:
    """A shell that runs the page's blocks one after the other; each waits for a line."""

    descriptor: int
    shown: str = ""

    def type(self, line: str) -> None:
        os.write(self.descriptor, f"{line}\n".encode())

    def wait_for(self, text: str, after: int) -> str:
        """What is shown from `after` to this text."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown[after:]:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} did not come:\n{self.shown}"
            try:
                self.shown += os.read(self.descriptor, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                raise AssertionError(f"{text!r} did not come:\n{self.shown}") from None
        return self.shown[after : self.shown.index(text, after)]

    def run(self, heading: str, answers: dict[str, str] | None = None) -> str:
        """Run what stands below a heading, answering questions; gives what was shown."""
        at = len(self.shown)
        self.type("")
        for question, answer in (answers or {}).items():
            self.wait_for(question, at)
            at = self.shown.index(question, at) + len(question)
            self.wait_for(": ", at)
            time.sleep(0.1)  # a password's prompt is written before its echo is off
            self.type(answer)
        return self.wait_for(f"=== done: {heading}", at)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unpacked release with its environment."""
    for name in ("services", "shared", "portico", "sandbox", "examples"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, does in {
        "python": f'exec {REPOSITORY}/.venv/bin/python "$@"',
        "pip": "exit 0",
    }.items():
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    return tmp_path


@pytest.fixture
def ports() -> dict[str, str]:
    return {str(port): str(free_port()) for port in (8000, 8001, 8002, 8003, 8010)}


@pytest.fixture
def terminal(
    folder: Path, ports: dict[str, str], rabbitmq: RabbitMQ, postgres: PostgreSQL
) -> Iterator[Terminal]:
    """The page's reader at a terminal; everything that was started is ended."""
    nothing = dict.fromkeys(("apt-get", "tar", "python3"), "exit 0")
    env = superuser(folder / "programs", rabbitmq, postgres, nothing)
    env |= {"HOME": str(folder), "TERM": "dumb", "COLUMNS": "400", "LC_ALL": "C.UTF-8"}
    env["API_ADDRESS"] = f"127.0.0.1:{ports['8003']}"
    here = {**ports, "5432": str(postgres.port), "5672": str(rabbitmq.port)}
    script = ["set -eu"]
    for heading in HEADINGS:
        text = "\n".join(blocks(heading, PAGE))
        for port, free in here.items():
            text = re.sub(rf"\b{port}\b", free, text)
        script += ["read _", text, f'echo "=== done: {heading}"']
    (folder / "page.sh").write_text("\n".join(script))
    process, descriptor = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe("sh", ["sh", "page.sh"], env)
    try:
        yield Terminal(descriptor)
    finally:
        os.close(descriptor)
        started = [number for file in folder.glob("*pid*") for number in file.read_text().split()]
        for one in (str(process), *started):
            try:
                os.kill(int(one), signal.SIGKILL)
            except ProcessLookupError:
                continue
        os.waitpid(process, 0)
        for service in ("portal", "billing", "notifier"):
            postgres.drop_database(service)
            postgres.execute(f'DROP ROLE IF EXISTS "{service}"')


def answers(ports: dict[str, str], servers: dict[str, str], **words: str) -> dict[str, str]:
    """What the page's table says to type, by question; what it describes instead is in `words`."""
    table = re.findall(r"^\| `(.+?)` \| (.+?) \|$", TEXT, re.M)
    found = {}
    for question, types in table:
        typed = types.strip("`") if types.startswith("`") else words[types.replace(" ", "_")]
        for port, free in {**ports, **servers}.items():
            typed = re.sub(rf"\b{port}\b", free, typed)
        found[question] = typed
    return found


@pytest.mark.timeout(900)
def test_the_page_leads_from_nothing_to_a_payment_that_was_made(
    terminal: Terminal,
    folder: Path,
    ports: dict[str, str],
    rabbitmq: RabbitMQ,
    postgres: PostgreSQL,
    page: Page,
) -> None:
    """Every command succeeds; secrets are not shown; doctor finds nothing; the mail comes, and a new card pays the invoice."""
    terminal.run("The machine")
    password = terminal.run("Databases and broker").rpartition("the password: ")[2].split()[0]
    key = terminal.run("A Stripe to play with").split()[-1]
    typed = answers(
        ports,
        {"5432": str(postgres.port), "5672": str(rabbitmq.port)},
        Enter="",
        the_password=password,
        the_key_that_the_sandbox_printed=key,
    )
    told = terminal.run("The settings", typed)
    secrets = [password, typed["Stripe key"], typed["SendGrid key"]]
    assert not [one for one in secrets if one in told]
    assert not [line for line in told.splitlines() if line.startswith(("finding", "unknown"))]
    assert (folder / "portico.env").stat().st_mode & 0o777 == 0o600

    told = terminal.run("Tables, webhooks, services")
    assert "0 found, 0 could not be looked at, 0 for you to look at" in told
    link = terminal.run("A business and a customer").split()[-1]
    page.goto(link)
    expect(page.get_by_role("button", name="Manage payment + subscriptions")).to_be_visible()

    assert "$120.00" in terminal.run("A payment fails")
    page.goto(f"http://127.0.0.1:{ports['8010']}/inbox")
    page.get_by_role("link", name=re.compile("didn’t go through")).first.click()
    mail = page.frame_locator("iframe[title='Email content']")
    mail.get_by_role("link", name="Update your payment method").click()
    page.wait_for_url("**/me/**")
    page.get_by_role("button", name="Manage payment + subscriptions").click()
    page.wait_for_url("**/p/session/**")
    page.get_by_label("Card number").fill("5555 5555 5555 4444")
    page.get_by_label("Expiration date").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save card").click()
    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(timeout=20_000)

    assert "paid" in terminal.run("It is paid")
    told = terminal.run("With customers of your own: observe first")
    last = told.rpartition('"degraded"')[2]  # live again, it is listed still
    assert re.search(r"observed +cus_\w+ +in_", last), last
    inbox = fetch(f"http://127.0.0.1:{ports['8010']}/inbox.json?to=grace@example.com")
    assert len(json.loads(inbox)) == 2  # those of before
    logs = {one.name: one.read_text() for one in folder.glob("*.log") if one.stem != "sandbox"}
    assert len(logs) == 3
    assert_private(logs, secrets)
    terminal.run("Taking it away")
    assert not (folder / "portico.env").exists()


def test_every_question_of_init_stands_on_the_page() -> None:
    """In the order in which they are asked: a new one is added to the page, too."""
    asked = list(answers({}, {}, Enter="", the_password="", the_key_that_the_sandbox_printed=""))
    assert [one for one in asked if not one.startswith("Password")] == [
        next(one for one in asked if question.words.startswith(one)) for question in QUESTIONS
    ]
