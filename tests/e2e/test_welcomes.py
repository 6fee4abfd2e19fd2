"""The first hello, through all three services: shown, asked for, by day, at a rate, whoever dies on the way; nobody twice."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests

from local.processes import SERVICES, Stack
from tests.fixtures import warm
from tests.fixtures.story import BUSINESS, Story, eventually, link_in

MANY = 24
COMMAND = ("customers", "welcome", "--business", BUSINESS)


class Terminal:
    """`portico` with the settings of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        env = {name: value for service in SERVICES for name, value in stack.env(service).items()}
        env.pop("HTTP_ADDRESS")
        self._env = env

    def kill(self, *words: str, after: float) -> None:
        """Begin a command, and kill it so many seconds later."""
        with Path(os.devnull).open("wb") as nowhere:
            process = warm.begin("portico", *words, env=self._env, out=nowhere, errors=nowhere)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def run(self, *words: str, code: int = 0) -> str:
        """What it says, on both streams."""
        done = warm.run("portico", *words, env=self._env)
        out, err = done.stdout, done.stderr
        assert done.returncode == code, out + err
        assert "Traceback" not in err
        for secret in self._stack.secrets():
            assert secret not in out + err
        return out + err

    def look(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run(*COMMAND, *words, "--json"))
        return found


@pytest.fixture
def terminal(stack: Stack) -> Terminal:
    return Terminal(stack)


def welcomed(story: Story) -> Counter[str]:
    """How many welcomes each address has got."""
    mails = story.get("/inbox.json", bodies="0")
    return Counter(mail["to"] for mail in mails if mail["categories"][0] == "welcome")


def quiet_now(story: Story, *, quiet: bool) -> None:
    """Let it be night for the business, or lift its quiet hours."""
    now = dt.datetime.now(ZoneInfo("Europe/Amsterdam"))
    hours = {
        "quiet_from": f"{now - dt.timedelta(hours=2):%H:%M}",
        "quiet_until": f"{now + dt.timedelta(hours=6):%H:%M}",
    }
    story.portico.call(
        "portal",
        "upsert_business",
        business_id=BUSINESS,
        name="Green Gardens",
        reminder_policy={"interval_days": 3, **(hours if quiet else {})},
    )


@pytest.mark.timeout(600)
def test_everybody_once_whatever_dies(stack: Stack, story: Story, terminal: Terminal) -> None:
    people = [story.customer("never paid") for _ in range(MANY)]
    payer = story.customer("card saved")
    bounces = story.customer("never paid", email="bounce-hello@example.com")
    call = story.portico.call

    call("notifier", "send_fresh_link", customer_id=bounces.customer_id)
    eventually(
        lambda: terminal.look("--preview")["outcomes"]["suppressed"] == 1,  # type: ignore[index]
        within=30,
        what="the bounce",
    )

    # Nobody can be asked for while the business observes.
    call("portal", "set_mode", business_id=BUSINESS, mode="observe")
    assert "go-live" in terminal.run(*COMMAND, "--yes", code=1)
    assert terminal.look("--preview")["observed"] is True
    call("portal", "set_mode", business_id=BUSINESS, mode="live")

    # By night they wait, and whoever is erased waits no more.
    quiet_now(story, quiet=True)
    shown = terminal.run(*COMMAND, "--preview")
    assert "to be welcomed" in shown
    assert "whose address bounced" in shown
    assert people[0].email not in shown
    told = terminal.look("--yes", "--rate", "3600")
    assert told["outcomes"]["queued"] == MANY + 1  # type: ignore[index]
    eventually(
        lambda: terminal.look("--status")["held"] == "quiet_hours", within=30, what="the night"
    )
    assert welcomed(story) == {}
    erased = people.pop()
    terminal.run("customers", "erase", erased.customer_id, "--yes")
    status = terminal.look("--status")
    assert (status["waiting"], status["sent"]) == (MANY, 0)

    # By day they go, however often it is asked for, and whoever is killed: the command, and a replica in the midst of it.
    stack.add("notifier")
    quiet_now(story, quiet=False)
    for seconds in (0.4, 1.1):
        terminal.kill(*COMMAND, "--yes", "--rate", "1200", after=seconds)
    terminal.run(*COMMAND, "--yes", "--rate", "1200")
    eventually(lambda: len(welcomed(story)) >= 3, within=60, what="the first three")
    assert len(welcomed(story)) < MANY
    stack.kill("notifier")
    stack.resume("notifier")
    terminal.run(*COMMAND, "--yes", "--rate", "7200")
    expected = {one.email: 1 for one in (*people, payer)}
    eventually(lambda: welcomed(story).keys() >= expected.keys(), within=120, what="everybody")
    eventually(
        lambda: terminal.look("--status")["delivered"] == MANY, within=60, what="all delivered"
    )
    assert terminal.run(*COMMAND, "--yes").startswith("Nobody is to be welcomed.")
    assert welcomed(story) == expected

    # Each with the own link; of payments only where there are any.
    (hello,) = story.mails(payer.email)
    assert "payment method" in hello["text"]
    assert link_in(hello) == payer.link
    (other,) = story.mails(people[0].email)
    assert "payment method" not in other["text"]
    page = requests.get(link_in(other), timeout=10)
    assert page.status_code == 200
    assert people[0].name in page.text
    assert "welcome email delivered" in terminal.run("explain", payer.customer_id)


def test_a_failed_payment_is_told_beside_them(
    stack: Stack, story: Story, terminal: Terminal
) -> None:
    """While hundreds are to be welcomed at the highest rate."""
    payer = story.customer()
    rows = [
        (f"many-{number}", f"Customer {number}", f"many-{number}@example.com", None, None, None)
        for number in range(300)
    ]
    assert story.portico.call("portal", "import_customers", business_id=BUSINESS, rows=rows)["errors"] == []  # fmt: skip
    terminal.run(*COMMAND, "--yes", "--rate", "20000")
    eventually(lambda: len(welcomed(story)) > 30, within=60, what="the first thirty")
    story.charge_fails(payer)
    eventually(
        lambda: [m for m in story.mails(payer.email) if m["categories"][0] == "payment_failed"],
        within=20,
        what="the email about the payment",
    )
    stopped = terminal.run(*COMMAND, "--stop")
    assert "taken off the queue" in stopped
    status = terminal.look("--status")
    assert status["waiting"] == 0
