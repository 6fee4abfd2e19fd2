"""`portico` as a process of its own, against the distributed system."""

from __future__ import annotations

import csv
import datetime as dt
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kombu
import pytest
import requests

from local.processes import SERVICES, Stack
from local.stack import seed
from shared.messaging import topology
from tests.fixtures import warm
from tests.fixtures.story import BUSINESS, Story, eventually, link_in

Rows = Callable[..., list[tuple[Any, ...]]]
Portico = Callable[..., subprocess.CompletedProcess[str]]
NOTIFIER = topology.queue_name("notifier")
OF_ONE_THAT_STANDS_STILL = {"broker-no-consumer", "rpc-no-consumer"}
"""Found too where a look takes so long that the broker gives up who was stopped for it."""


@pytest.fixture
def portico(stack: Stack) -> Portico:
    """Run `portico` with the stack's settings."""
    env = {name: value for service in SERVICES for name, value in stack.env(service).items()}
    env.pop("HTTP_ADDRESS")

    def run(*words: str, code: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
        done = warm.run("portico", *words, env={**env, **changes})
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        for secret in stack.secrets():
            assert secret not in done.stdout + done.stderr
        return done

    return run


def publish_poison(stack: Stack, body: bytes) -> None:
    """Give the notifier an event that it can't read."""
    with kombu.Connection(stack.amqp_uri) as connection:
        connection.Producer().publish(
            body,
            exchange="",
            routing_key=NOTIFIER,
            content_type="application/json",
            content_encoding="utf-8",
            serializer=None,
        )


def letters(stack: Stack) -> list[dict[str, Any]]:
    """The dead letters that `portico` lists, whether there are any or not."""
    words = ("deadletters", "list", "--json")
    told = warm.run("portico", *words, env={"AMQP_URI": stack.amqp_uri}).stdout
    found: list[dict[str, Any]] = json.loads(told)
    return found


def codes(portico: Portico, **changes: str) -> set[str]:
    """The findings of `portico doctor`."""
    found = json.loads(portico("doctor", "--json", code=1, **changes).stdout)
    return {one["code"] for one in found if one["level"] in ("finding", "unknown")}


def test_doctor_finds_nothing_where_make_stack_has_started(stack: Stack, portico: Portico) -> None:
    """Every part that can be seen is well, and nothing is left that a newcomer could not look at."""
    seed(stack)
    assert "0 found, 0 could not be looked at, 0 for you to look at" in portico("doctor").stdout


def test_doctor_sees_what_is_wrong_with_the_broker(stack: Stack, portico: Portico) -> None:
    """A queue with other arguments, a queue that is gone, a wrong password, a virtual host that is not there."""
    retry = topology.retry_queue(NOTIFIER, 5).name
    (notifier,) = stack.processes("notifier")
    notifier.signal(signal.SIGSTOP)  # it would make the queue again before anybody has looked
    try:
        with kombu.Connection(stack.amqp_uri) as connection:
            channel = connection.channel()
            channel.queue_delete(retry)
            assert codes(portico) - OF_ONE_THAT_STANDS_STILL == {"broker-queue"}
            channel.queue_declare(retry, durable=True, auto_delete=False)
            assert codes(portico) - OF_ONE_THAT_STANDS_STILL == {"broker-arguments"}
            channel.queue_delete(retry)
            topology.retry_queue(NOTIFIER, 5)(channel).declare()
    finally:
        notifier.signal(signal.SIGCONT)
    user = stack.amqp_uri.replace(stack.rabbitmq.password, "wrong")
    assert codes(portico, AMQP_URI=user) == {"broker-login"}
    assert codes(portico, AMQP_URI=stack.amqp_uri + "-nowhere") == {"broker-vhost"}


def test_the_whole_story_with_a_dead_letter_and_its_replay(
    stack: Stack, story: Story, portico: Portico
) -> None:
    """explain tells what happened to an invoice from webhook to paid, and dead letters while they lie and after."""
    customer = story.customer()
    invoice = story.charge_fails(customer)
    mail = story.mail_to(customer, within=30)
    web = requests.Session()
    web.trust_env = False
    web.get(link_in(mail), timeout=10)
    opened = web.post(
        f"{customer.link}/billing",
        data={"from": "payment_failed"},
        allow_redirects=False,
        timeout=10,
    )
    assert opened.status_code == 303
    card = story.post("/v1/payment_methods/pm_card_visa/attach", customer=customer.stripe_id)["id"]
    story.post(
        f"/v1/customers/{customer.stripe_id}",
        **{"invoice_settings[default_payment_method]": card},
    )
    wanted = {"received", "queued", "published", "decided", "notified", "sent", "delivered"}
    wanted |= {"page_from_mail", "billing_session", "retried", "paid"}

    def steps() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(
            portico("explain", str(invoice["id"]), "--json").stdout
        )["steps"]
        return told

    eventually(lambda: wanted <= {step["step"] for step in steps()}, within=60, what="the story")
    event = next(step["event_id"] for step in steps() if step["step"] == "queued")
    publish_poison(
        stack, json.dumps({"id": event, "type": "no.such", "about": invoice["id"]}).encode()
    )
    eventually(
        lambda: "dead_letter" in {step["step"] for step in steps()},
        within=30,
        what="the dead letter",
    )
    listed = json.loads(portico("deadletters", "list", "--json", code=1).stdout)
    assert [(one["queue"], one["key"]) for one in listed] == [(NOTIFIER, event)]
    assert listed == json.loads(portico("deadletters", "list", "--json", code=1).stdout)
    portico("deadletters", "replay", event)
    # It can't be read the second time either: it is back, and says that it was replayed.
    eventually(
        lambda: [one["replays"] for one in letters(stack)] == [1],
        within=30,
        what="the second dead letter",
    )
    portico("deadletters", "discard", "--all", "--yes")
    portico("deadletters", "list")
    assert {"dead_letter_replayed", "dead_letter_discarded"} <= {step["step"] for step in steps()}


def test_what_is_gone_or_refuses_is_said_in_words_and_at_once(
    stack: Stack, portico: Portico
) -> None:
    """A service that nobody runs, a queue that is gone, a password that the broker refuses, a business that nobody knows: what it
    is and what to do, with the exit code of the table."""
    publish_poison(stack, b"no JSON")
    eventually(lambda: len(letters(stack)) == 1, within=30, what="the dead letter")
    (letter,) = letters(stack)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(letter["given_up_at"])
    assert dt.timedelta(seconds=-2) < age < dt.timedelta(minutes=2)
    assert (
        "no such business"
        in portico("stripe", "portal-config", "--business", "nowhere", code=1).stderr
    )
    refused = stack.amqp_uri.replace(stack.rabbitmq.password, "wrong")
    for words in (("stats",), ("deadletters", "list")):
        said = portico(*words, code=3, AMQP_URI=refused).stderr
        assert "RabbitMQ refuses the user and password of AMQP_URI" in said
    stack.kill("notifier")
    began = time.monotonic()
    assert "nobody answers for notifier" in portico("stats", code=3).stderr
    assert time.monotonic() - began < 10, "it waited for an answer that nobody gives"
    with kombu.Connection(stack.amqp_uri) as connection:
        connection.channel().queue_delete(NOTIFIER)
    said = portico("deadletters", "replay", "--all", code=3).stderr
    assert f"there is no queue {NOTIFIER}: start notifier" in said
    assert len(letters(stack)) == 1, "its dead letter stays"
    stack.resume("notifier")
    portico("deadletters", "discard", "--all", "--yes")


def test_what_a_wrong_key_refused_goes_out_after_it_is_mended(
    stack: Stack, story: Story, portico: Portico
) -> None:
    """SendGrid refuses with 401; one command names what failed, one sends it again, once, and no more is left."""
    customers = [story.customer() for _ in range(3)]
    story.control("faults", match="POST /v3/mail/send", status=401, times=None)
    for customer in customers:
        story.charge_fails(customer)

    def failed(code: int) -> list[str]:
        words = ("notifications", "resend-failed", "--since", "10m", "--dry-run", "--json")
        told = json.loads(portico(*words, code=code).stdout)
        return [one["stripe_customer_id"] for one in told["notifications"]]

    mine = sorted(str(customer.stripe_id) for customer in customers)
    try:
        eventually(lambda: len(story.portico.call("notifier", "notifications")) >= 3, within=30)
        eventually(
            lambda: (
                {row["status"] for row in story.portico.call("notifier", "notifications", limit=3)}
                == {"failed"}
            ),
            within=30,
            what="the refusals",
        )
        assert sorted(failed(code=1)) == mine
    finally:
        story.clear_faults()
    assert (
        "3 emails are due once more"
        in portico("notifications", "resend-failed", "--since", "10m").stdout
    )
    for customer in customers:
        story.mail_to(customer, within=30)
    assert failed(code=0) == []
    assert [len(story.mails(customer.email)) for customer in customers] == [1, 1, 1]


def test_a_customer_is_forgotten_everywhere(
    stack: Stack, story: Story, portico: Portico, rows: Rows
) -> None:
    """After `customers erase` no row of any database holds the name, the address or an id of the customer."""
    customer = story.customer(email="erasable.person@example.com")
    other = story.customer()
    story.charge_fails(customer)
    story.mail_to(customer, within=30)
    story.charge_fails(other)
    story.mail_to(other, within=30)
    marks = (customer.email, str(customer.stripe_id), customer.customer_id)
    found = grep(rows, marks)
    assert {table.partition(".")[0] for table in found} == set(SERVICES)
    portico("customers", "erase", str(customer.stripe_id), "--yes")
    assert grep(rows, marks) == {}
    assert grep(rows, (str(other.stripe_id),)), "somebody else was forgotten too"
    portico("customers", "erase", str(customer.stripe_id), "--yes")  # safe to repeat
    portico("explain", customer.customer_id, code=1)


def grep(rows: Rows, marks: tuple[str, ...]) -> dict[str, int]:
    """`service.table` to the number of rows that hold any of the marks, in any column."""
    found = {}
    for service in SERVICES:
        tables = rows(service, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            wanted = " OR ".join(f"t::text LIKE '%%{mark}%%'" for mark in marks)
            (count,) = rows(service, f'SELECT count(*) FROM "{table}" t WHERE {wanted}')[0]
            if count:
                found[f"{service}.{table}"] = count
    return found


def test_customers_go_out_and_come_in_again(
    tmp_path: Path, stack: Stack, story: Story, portico: Portico
) -> None:
    """Import, export and import of the export: the same customers, once each."""
    story.customer("never paid")
    file = tmp_path / "in.csv"
    lines = [f"imp-{n},Name {n},name{n}@example.com" for n in range(250)]
    file.write_text("external_id,name,email\n" + "\n".join(lines) + "\n")
    words = ("--business", BUSINESS, "--json")
    made = json.loads(portico("customers", "import", str(file), *words, "--batch", "100").stdout)
    assert (made["created"], made["errors"]) == (250, 0)
    out = tmp_path / "out.csv"
    portico("customers", "export", str(out), "--business", BUSINESS)
    with out.open() as stream:
        assert {f"imp-{n}" for n in range(250)} <= {
            row["external_id"] for row in csv.DictReader(stream)
        }
    again = json.loads(portico("customers", "import", str(out), *words).stdout)
    assert (again["created"], again["updated"], again["errors"]) == (0, 0, 0)
