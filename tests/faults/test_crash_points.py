"""The points between two side effects, one by one: a process dies there by SIGKILL, is started again, and one mail goes out,
or one charge is asked of the bank.

The outcomes are the tables in docs/reliability.md: `UPDATE_DOCS=1` writes them, else they are compared.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.processes import Process
from services.billing.adapters.stripe.gateway import StripeGateways
from shared.contracts.accounts import OWN
from shared.messaging import topology
from tests.contract.payment_worlds import DECLINES, StripeWorld
from tests.faults.books import accepted_mails
from tests.faults.payloads import invoice_event
from tests.faults.plan import Delivery
from tests.faults.points import POINTS, RECOVERY_POINTS
from tests.faults.poster import Poster
from tests.faults.run import is_quiet
from tests.faults.system import System

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

CUSTOMERS = len(POINTS)
"""For the fixture `system`: one for each death."""

NEXT = {
    "before the insert": "Stripe gets no answer and sends again",
    "after the insert, before the commit": "rolled back; Stripe sends again",
    "after the commit, before the 200": "Stripe sends again: a duplicate, answered 200; the relay goes on",
    "before the publish": "the row is still in the outbox; a relay publishes it",
    "after the publish, before the mark": "published again; the notifier knows the event's id",
    "after the mark, before the commit": "published again; the notifier knows the event's id",
    "before the effect": "never acked: the broker delivers again",
    "after the effect, before the commit": "rolled back and never acked: the broker delivers again",
    "after the commit, before the ack": "delivered again; the event's id is known, and the lease that it came with ends: another sender takes it",
    "after the lease": "the lease ends, another sender takes it",
    "marked “about to post”, before the post": "delivery unconfirmed: left alone for the grace period, then sent",
    "after SendGrid’s 202, before the record": "delivery unconfirmed until SendGrid's webhook confirms it: not sent again",
    "after the record": "nothing is left to do",
    "SendGrid’s webhook, before its commit": "rolled back; SendGrid sends its events again",
    "the page’s notice, before the commit": "rolled back and never acked: the broker delivers again",
    "the page’s notice, before the ack": "delivered again; the event's id is known, nothing happens",
}

RECOVERY_NEXT = {
    "the change is written, before Stripe is asked": "never acked: the broker delivers again; when the lease ends the change goes on",
    "the try is written, before the payment": "Stripe shows no charge: the same key is sent again",
    "after the payment, before the record": "the answer is read off the invoice; its key is not sent again",
    "after the record, before the change is closed": "the invoice has its answer; the change is closed",
    "after the change is closed, before the ack": "delivered again; the event's change is closed, nothing happens",
}


@dataclass(frozen=True)
class Outcome:
    """What was found right after the death, and in the end."""

    point: str
    stands: str
    mails: int

    def row(self) -> str:
        service = POINTS[self.point].service
        return f"| {service} | {self.point} | {self.stands} | {NEXT[self.point]} | {self.mails} |"


outcomes: dict[str, Outcome] = {}
recoveries: dict[str, tuple[str, int]] = {}
"""By point: what was found right after the death, and how often the bank was asked in the end."""


def stands(system: System, service: str, invoice_id: str, event_id: str) -> str:
    """What the databases and SendGrid have of it, as the table says it."""
    if service == "billing":
        inbox = system.rows("billing", "SELECT 1 FROM inbox WHERE id = %(id)s", id=event_id)
        waits = system.rows(
            "billing",
            "SELECT 1 FROM outbox WHERE event_id LIKE %(id)s AND published_at IS NULL",
            id=f"{event_id}/%",
        )
        return f"inbox {len(inbox)}, outbox {len(waits)} waiting"
    if service == "portal":
        seen = system.rows(
            "portal",
            "SELECT 1 FROM processed_events WHERE event_id LIKE %(id)s",
            id=f"{event_id}/%",
        )
        return f"processed {len(seen)}"
    rows = system.rows(
        "notifier",
        "SELECT status, unconfirmed_since IS NOT NULL FROM notifications WHERE invoice_id = %(id)s",
        id=invoice_id,
    )
    if not rows:
        return "no notification"
    status, unknown = rows[0]
    return f"notification {status}{', delivery unconfirmed' if unknown else ''}, {mails_of(system, invoice_id)} at SendGrid"


def mails_of(system: System, invoice_id: str) -> int:
    """How many mails about the invoice SendGrid accepted."""
    mails = accepted_mails(system)
    rows = system.rows(
        "notifier",
        "SELECT notification_id FROM notifications WHERE invoice_id = %(id)s",
        id=invoice_id,
    )
    return sum(len(mails.get(notification_id, ())) for (notification_id,) in rows)


def dying(system: System, point: str) -> Process:
    """The point's service, made to die there, in the place of the running one."""
    service = (POINTS | RECOVERY_POINTS)[point].service
    (normal,) = system.stack.processes(service)
    system.suspend(normal)
    return Process(
        f"{service}-dying",
        "tests.faults.dying",
        port=normal.port,
        env={**normal.env, "DYING_SERVICE": service, "DYING_AT": point},
        log=system.stack.folder / f"{service}-dying.log",
    )


@pytest.mark.parametrize("point", POINTS)
def test_one_mail_whatever_the_point(system: System, poster: Poster, point: str) -> None:
    """SIGKILL at the point, a new process, quiet: one inbox row, exactly one accepted mail, empty queues."""
    number = list(POINTS).index(point)
    event_id, invoice_id = f"evt_crash{number}", f"in_crash{number}"
    service = POINTS[point].service
    doomed = dying(system, point)
    doomed.start()
    event = invoice_event(
        "invoice.payment_failed",
        event_id=event_id,
        invoice_id=invoice_id,
        customer_id=next(system.customers),
    )
    poster.post([Delivery(event)])
    try:
        system.wait(lambda: not doomed.running, 30)
        found = stands(system, service, invoice_id, event_id)
    finally:
        doomed.kill()
        system.resume(system.stack.processes(service)[0])
    poster.drain(60)
    if point in ("after the commit, before the ack", "after the lease"):
        time.sleep(1)
        system.rows("notifier", "UPDATE notifications SET due_at = now() WHERE status = 'sending'")
    forced: set[str] = set()
    system.wait(lambda: is_quiet(system, forced, grace=3), 60)
    assert system.rows("billing", "SELECT count(*) FROM inbox WHERE id = %(id)s", id=event_id) == [
        (1,)
    ]
    assert system.left() == {}
    outcome = outcomes[point] = Outcome(point, found, mails_of(system, invoice_id))
    assert outcome.mails == 1


def no_card_waits(system: System) -> bool:
    """no change of card is open or on its way to billing"""
    waits = "SELECT 1 FROM outbox WHERE published_at IS NULL"
    opened = "SELECT 1 FROM payment_method_changes WHERE closed_at IS NULL"
    return not (
        system.rows("billing", waits)
        or system.rows("billing", opened)
        or any(name.startswith(topology.queue_name("billing")) for name in system.waiting())
    )


def stands_of_change(system: System, card: str) -> str:
    """What billing has of the change to a card, as the table says it."""
    changes = system.rows(
        "billing",
        "SELECT CASE WHEN closed_at IS NULL THEN 'open' ELSE 'closed' END FROM payment_method_changes "
        "WHERE payment_method_id = %(card)s",
        card=card,
    )
    tries = system.rows(
        "billing", "SELECT outcome FROM payment_tries WHERE payment_method_id = %(card)s", card=card
    )
    return f"change {', '.join(row[0] for row in changes)}; {', '.join(row[0] for row in tries) or 'no try'}"


def charges_of(stripe: StripeWorld, card: str) -> int:
    """How often a bank was asked about the card."""
    found = stripe.call("/v1/events?type=charge.failed&limit=100", "GET")["data"]
    return sum(one["data"]["object"]["payment_method"] == card for one in found)


@pytest.mark.parametrize("point", RECOVERY_POINTS)
def test_one_charge_whatever_the_point(system: System, point: str) -> None:
    """A new card that declines: SIGKILL at the point, a new process, and the bank was asked exactly once."""
    gateways = StripeGateways(system.stack.stripe_api_key, system.stack.sandbox_url)
    gateway = gateways.at(OWN)
    stripe = StripeWorld(gateway, system.stack.sandbox_url, system.stack.stripe_api_key)
    debtor = stripe.debtor()
    card = stripe.card(debtor.customer_id, DECLINES)
    system.wait(lambda: no_card_waits(system), 60)
    doomed = dying(system, point)
    doomed.start()
    stripe.make_default(debtor.customer_id, card)
    try:
        system.wait(lambda: not doomed.running, 30)
        found = stands_of_change(system, card)
    finally:
        doomed.kill()
        system.resume(system.stack.processes("billing")[0])
    system.rows("billing", "UPDATE recovery_leases SET until = now()")
    system.rows("billing", "UPDATE payment_method_changes SET due_at = now()")
    system.wait(lambda: no_card_waits(system), 60)
    gateways.close()
    recoveries[point] = found, charges_of(stripe, card)
    assert recoveries[point][1] == 1
    assert stands_of_change(system, card) == "change closed; declined"


def test_the_tables_in_the_documentation_are_what_was_found() -> None:
    """Every point has its row, as it was measured just now."""
    if outcomes.keys() != POINTS.keys() or recoveries.keys() != RECOVERY_POINTS.keys():
        pytest.skip("only some of the points were tried")
    tables = {
        "crash points": [
            "| service | dies | then there is | what happens next | mails |",
            "|---|---|---|---|---|",
            *(outcomes[point].row() for point in POINTS),
        ],
        "crash points of a new card": [
            "| dies | then there is | what happens next | questions to the bank |",
            "|---|---|---|---|",
            *(
                f"| {point} | {found} | {RECOVERY_NEXT[point]} | {asked} |"
                for point, (found, asked) in recoveries.items()
            ),
        ],
    }
    current = DOCUMENT.read_text()
    for name, rows in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
        before, after = current.split(begin)[0], current.split(end)[1]
        current = before + begin + "\n".join(rows) + end + after
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(current)
    assert DOCUMENT.read_text() == current, "run UPDATE_DOCS=1 make test-crash-points"
