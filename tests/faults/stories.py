"""What `portico explain` tells of a run's invoices, held against what Stripe's and SendGrid's sides know."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import kombu
from typer.testing import CliRunner

from portico.cli.context import CliContext
from portico.main import app
from shared.contracts.accounts import (
    Account,
    account_argument,
    in_account,
    outside_account,
    read_name,
)
from shared.messaging import topology
from tests.faults.books import DUNNING, NAME, accepted_mails
from tests.faults.plan import Plan
from tests.faults.poster import Ledger
from tests.faults.system import System

MOST: Final = 20
CLOCKS: Final = dt.timedelta(seconds=15)
"""Between SendGrid's acceptance and our record of it: an answer may be lost, and asked for again."""
ORDERS: Final = (("received", "queued", "published"), ("received", "queued", "decided"))
"""A consumer may decide before the relay has noted that it published: the note comes after, and once more after a crash."""

Step = dict[str, Any]


@dataclass
class Findings:
    """The stories of a run, and what does not fit in them."""

    invoices: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    dead_letter: list[list[str]] = field(default_factory=list)
    """What one invoice's story says of a dead letter: while it lay, when it had come back from a replay, when it was
    discarded."""


def portico(system: System, *words: str) -> Any:
    """The JSON that a command of `portico` answers, in this process."""
    desk = CliContext({"AMQP_URI": system.stack.amqp_uri})
    return json.loads(CliRunner().invoke(app, [*words, "--json"], obj=desk).stdout)


def explain(system: System, invoice: str) -> list[Step]:
    """The steps of the story of an invoice, by its whole name."""
    told: list[Step] = portico(system, "explain", invoice)["steps"]
    return told


def look(system: System, plan: Plan, ledger: Ledger) -> Findings:
    """Read the stories of the invoices that had most trouble, while the run's services are still up."""
    events: dict[str, list[str]] = defaultdict(list)
    for segment in plan.segments:
        for delivery in segment:
            about = delivery.event["data"]["object"]
            if not delivery.forgery and about["object"] == "invoice":
                events[in_account(delivery.account, about["id"])].append(delivery.event_id)
    troubled = [
        row[0]
        for row in system.rows(
            "notifier",
            f"SELECT {NAME.format('invoice_id')} AS name FROM notifications GROUP BY name ORDER BY sum(attempts) DESC, name",
        )
    ]
    most_repeated = sorted(events, key=lambda one: (-len(events[one]), one))
    told = Findings(list(dict.fromkeys([*troubled[: MOST // 2], *most_repeated[: MOST // 2]])))
    mails = accepted_mails(system)
    for invoice in told.invoices:
        steps = explain(system, invoice)
        told.steps.update(step["step"] for step in steps)
        told.complaints += [
            f"{invoice}: {complaint}"
            for complaint in (
                *_webhooks(steps, read_name(invoice).account, Counter(events[invoice]), ledger),
                *_mails(system, steps, invoice, mails),
                *_order(steps, read_name(invoice).account),
            )
        ]
    told.dead_letter = _with_a_dead_letter(system, told.invoices[0], events)
    return told


def _webhooks(steps: list[Step], account: Account, sent: Counter[str], ledger: Ledger) -> list[str]:
    """Each event that Stripe sent was received once; that copies came is told where it is true, and not too many."""
    received = sorted(
        in_account(account, step["event_id"]) for step in steps if step["step"] == "received"
    )
    found = []
    if received != sorted(sent):
        found.append(f"received {received}, Stripe sent {sorted(sent)}")
    for step in steps:
        if not (match := re.search(r"delivered again, at least (once|\d+)", step["text"])):
            continue
        told = 1 if match[1] == "once" else int(match[1])
        # A refusal, or no answer, may stand for a copy that was stored all the same.
        event_id = in_account(account, step["event_id"])
        possible = ledger.copies[event_id] + ledger.refused[event_id] - 1
        if told > possible:
            found.append(f"{event_id}: told {told} copies, {possible} were sent")
    return found


def _mails(
    system: System, steps: list[Step], invoice: str, accepted: dict[str, list[float]]
) -> list[str]:
    """A mail is told as sent if and only if SendGrid accepted it, when it did and at which try; else the reason is told."""
    found = []
    for notification_id, kind, attempts, reason in system.rows(
        "notifier",
        f"SELECT notification_id, kind, attempts, reason FROM notifications WHERE {NAME.format('invoice_id')} = %(invoice)s",
        invoice=invoice,
    ):
        mine = [step for step in steps if step.get("notification_id") == notification_id]
        sent = [step for step in mine if step["step"] == "sent"]
        at = [dt.datetime.fromtimestamp(one, dt.UTC) for one in accepted.get(notification_id, ())]
        if bool(sent) != bool(at):
            found.append(f"{kind}: told sent {len(sent)}, SendGrid accepted {len(at)}")
        elif sent and not any(abs(_moment(sent[0]) - one) < CLOCKS for one in at):
            found.append(f"{kind}: sent at {sent[0]['at']}, accepted at {at}")
        elif sent and attempts > 1 and f"at try {attempts}" not in sent[0]["text"]:
            found.append(f"{kind}: {attempts} tries, told {sent[0]['text']!r}")
        if not at and not any(reason and reason in step["text"] for step in mine):
            found.append(f"{kind}: no mail, and {reason!r} is not told")
    told = {step["notification_id"] for step in steps if step["step"] in ("notified", "suppressed")}
    if not told:
        found.append(f"nothing is told of a mail ({', '.join(sorted(DUNNING))})")
    return found


def _order(steps: list[Step], account: Account) -> list[str]:
    """Each event is received before it is queued, and queued before it is published or decided upon."""
    found = []
    received = {step["event_id"] for step in steps if step["step"] == "received"}
    for event_id, order in itertools.product(sorted(received), ORDERS):
        places = [
            next(
                (
                    place
                    for place, step in enumerate(steps)
                    if step["step"] == name
                    and outside_account(account, step.get("event_id") or "").startswith(event_id)
                ),
                None,
            )
            for name in order
        ]
        there = [place for place in places if place is not None]
        if there != sorted(there):
            found.append(f"{event_id}: {order} stand at {places}")
    return found


def _moment(step: Step) -> dt.datetime:
    return dt.datetime.fromisoformat(step["at"])


def _with_a_dead_letter(
    system: System, invoice: str, events: dict[str, list[str]]
) -> list[list[str]]:
    """One of the invoice's messages can't be read, is replayed in vain, and is thrown away."""
    queue, event_id = topology.queue_name("notifier"), f"{events[invoice][0]}/no.such"
    name = read_name(invoice)
    event = {"id": event_id, "type": "no.such", "about": name.id, **account_argument(name.account)}
    with kombu.Connection(system.stack.amqp_uri) as connection:
        connection.Producer().publish(
            json.dumps(event, separators=(",", ":")),
            exchange="",
            routing_key=queue,
            content_type="application/json",
            content_encoding="utf-8",
        )

    def waits(replays: int) -> bool:
        letters = portico(system, "deadletters", "list")
        return [(one["key"], one["replays"]) for one in letters] == [(event_id, replays)]

    system.wait(lambda: waits(0), 30)
    before = explain(system, invoice)
    portico(system, "deadletters", "replay", event_id)
    system.wait(lambda: waits(1), 30)
    again = explain(system, invoice)
    portico(system, "deadletters", "discard", event_id, "--yes")
    return [
        [f"{step['step']}: {step['text']}" for step in steps if "dead_letter" in step["step"]]
        for steps in (before, again, explain(system, invoice))
    ]
