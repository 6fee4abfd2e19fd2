"""The books, checked from outside: what was accepted, what was stored, what was mailed, and why not."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from services.notifier.domain.kinds import DUNNING
from services.notifier.domain.sending import GRACE
from shared.contracts.accounts import in_account
from tests.faults.plan import Plan
from tests.faults.poster import Ledger
from tests.faults.system import System

NAME = "CASE WHEN coalesce(account, '') = '' THEN {0} ELSE account || '/' || {0} END"
"""The whole name of what a column names, as people write it."""
FINAL = ("sent", "delivered", "bounced", "suppressed", "failed")


@dataclass
class Books:
    """What a run came to. Empty lists are what is hoped for."""

    lost_webhooks: list[str] = field(default_factory=list)
    """Accepted with a 2xx, and not in the inbox."""
    invented: list[str] = field(default_factory=list)
    """In the inbox, but never sent by Stripe: forged."""
    unpublished: int = 0
    lost_mails: list[tuple[str, int]] = field(default_factory=list)
    """Failed charges that ended neither in a mail nor in a recorded reason."""
    silent: list[tuple[str, int]] = field(default_factory=list)
    """Failed charges that nothing spoke against, and that were suppressed all the same."""
    doubled: list[tuple[str, int, float]] = field(default_factory=list)
    """Failed charges mailed more than once without a lost answer of SendGrid's, and how many seconds apart."""
    doubled_after_lost_answer: list[tuple[str, int]] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    """Messages left in queues, dead letters among them."""
    wrong_people: list[str] = field(default_factory=list)
    """Mails about one's invoice to somebody else."""
    wrong_calls: list[str] = field(default_factory=list)
    """Requests to Stripe on an account that doesn't have what they name, or without access."""
    deaf: dict[str, int] = field(default_factory=dict)
    """Queues that have fewer consumers than their service has processes, and how many fewer."""
    mails: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    longest_delay: float = 0.0
    """Seconds from the first 2xx to SendGrid's acceptance."""

    def complaints(self) -> list[str]:
        """What is wrong, in sentences; empty when the promise was kept."""
        found = [
            f"{len(what)} {words}, such as {what[0]}"
            for what, words in (
                (self.lost_webhooks, "accepted webhooks are not in the inbox"),
                (self.invented, "forged webhooks were stored"),
                (self.lost_mails, "failed charges have neither a mail nor a reason"),
                (self.silent, "failed charges were suppressed without a reason that holds"),
                (self.doubled, "failed charges were mailed twice"),
                (self.wrong_people, "mails went to somebody else"),
                (self.wrong_calls, "calls were made on a wrong account"),
            )
            if what
        ]
        if self.unpublished:
            found.append(f"{self.unpublished} events are still in the outbox")
        found += [f"{name} lacks {count} consumers" for name, count in self.deaf.items()]
        found += [f"{count} messages are left in {name}" for name, count in self.queues.items()]
        return found


def check(system: System, plan: Plan, ledger: Ledger, forced: set[str]) -> Books:
    """Compare what Stripe was told with what there is. `forced`: notifications whose delivery is unconfirmed that were tried again."""
    books = Books()
    inbox = {row[0] for row in system.rows("billing", f"SELECT {NAME.format('id')} FROM inbox")}
    books.lost_webhooks = sorted(set(ledger.accepted) - inbox)
    books.invented = sorted(inbox - plan.genuine)
    books.unpublished = int(
        system.rows("billing", "SELECT count(*) FROM outbox WHERE published_at IS NULL")[0][0]
    )
    books.queues = system.left()
    books.deaf = system.deaf()
    _check_mails(system, plan, ledger, forced, books)
    if plan.people:
        _check_accounts(system, plan, books)
    return books


def _check_accounts(system: System, plan: Plan, books: Books) -> None:
    """Nothing was mixed up between accounts, of which some have the same ids."""
    whose = {in_account(one.account, one.invoice_id): one for one in plan.people}
    rows = system.rows(
        "notifier",
        f"SELECT notification_id, {NAME.format('invoice_id')}, {NAME.format('stripe_customer_id')} FROM notifications",
    )
    about = {notification_id: (invoice, customer) for notification_id, invoice, customer in rows}
    for mail in _mails(system):
        invoice, customer = about[mail["custom_args"]["notification_id"]]
        owner = whose[invoice]
        right = (
            in_account(owner.account, owner.customer_id) == customer and mail["to"] == owner.email
        )
        if not right:
            books.wrong_people.append(f"{mail['to']} about {invoice} of {customer}")
    asked = system.sandbox("GET", "/sandbox/requests")
    books.wrong_calls = [str(one) for one in asked["wrong_calls"]]
    if not asked["reads"]:
        books.wrong_calls.append("Stripe was never asked")
    if asked["no_access"]:
        books.wrong_calls.append(f"{asked['no_access']} calls without access")


def _check_mails(
    system: System, plan: Plan, ledger: Ledger, forced: set[str], books: Books
) -> None:
    mails = accepted_mails(system)
    books.mails = sum(map(len, mails.values()))
    rows: dict[tuple[str, int], list[tuple[str, str, str | None, str]]] = defaultdict(list)
    began: dict[tuple[str, int], float] = {}
    for notification_id, invoice, attempt, kind, status, reason, thread in system.rows(
        "notifier",
        f"SELECT notification_id, {NAME.format('invoice_id')}, attempt, kind, status, reason, "
        f"{NAME.format('correlation_id')} FROM notifications",
    ):
        if kind in DUNNING:
            rows[invoice, attempt].append((notification_id, status, reason, kind))
            if thread in ledger.accepted:
                stamp = ledger.accepted[thread]
                began[invoice, attempt] = min(stamp, began.get((invoice, attempt), stamp))
    for failure in sorted(plan.failures):
        sent = [
            (notification_id, at)
            for notification_id, *_ in rows[failure]
            for at in mails.get(notification_id, ())
        ]
        settled = bool(rows[failure]) and all(status in FINAL for _, status, _, _ in rows[failure])
        reasons = [reason for _, _, reason, _ in rows[failure] if reason]
        if not settled or not (sent or reasons):
            books.lost_mails.append(failure)
        elif not sent and failure in plan.must_mail:
            books.silent.append(failure)
        if len(sent) > 1:
            first, second = sorted(at for _, at in sent)[:2]
            # A run may take so long that the notifier sends once more by itself (docs/adr/0004-maybe-sent.md).
            waited = len({one for one, _ in sent}) == 1 and second - first >= GRACE.total_seconds()
            if waited or any(notification_id in forced for notification_id, _ in sent):
                books.doubled_after_lost_answer.append(failure)
            else:
                books.doubled.append((*failure, round(second - first, 1)))
        if not sent:
            books.reasons.update(reasons)
        elif failure in began:
            delay = min(at for _, at in sent) - began[failure]
            books.longest_delay = max(books.longest_delay, delay)


def accepted_mails(system: System) -> dict[str, list[float]]:
    """When SendGrid accepted a mail of each notification, in seconds since the epoch."""
    found: dict[str, list[float]] = defaultdict(list)
    for mail in _mails(system):
        at = dt.datetime.fromisoformat(mail["received_at"]).timestamp()
        found[mail["custom_args"].get("notification_id", "")].append(at)
    return found


def _mails(system: System) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = system.sandbox("GET", "/inbox.json?bodies=0&limit=20000")
    return listed
