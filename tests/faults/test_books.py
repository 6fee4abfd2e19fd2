"""The judge is judged: books that do not balance are called so."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifier.domain.sending import GRACE
from tests.faults.books import Books, check
from tests.faults.plan import Plan
from tests.faults.poster import Ledger

AT = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)


class Found:
    """A system after a run, told by what is in its tables."""

    def __init__(self) -> None:
        self.inbox = ["evt_1"]
        self.unpublished = 0
        self.notifications: list[tuple[Any, ...]] = [
            ("ntf_1", "in_1", 1, "payment_failed", "sent", None, "evt_1")
        ]
        self.mails = ["ntf_1"]
        self.apart = dt.timedelta()
        self.queues: dict[str, int] = {}
        self.lacking: dict[str, int] = {}
        self.stack = SimpleNamespace(vhost="v")

    def rows(self, service: str, statement: str) -> list[tuple[Any, ...]]:
        if service == "notifier":
            return self.notifications
        return [(self.unpublished,)] if "outbox" in statement else [(one,) for one in self.inbox]

    def left(self) -> dict[str, int]:
        return self.queues

    def deaf(self) -> dict[str, int]:
        return self.lacking

    def sandbox(self, method: str, path: str) -> list[dict[str, Any]]:
        return [
            {
                "received_at": (AT + number * self.apart).isoformat(),
                "custom_args": {"notification_id": one},
            }
            for number, one in enumerate(self.mails)
        ]


def judged(found: Found, forced: set[str] | None = None) -> Books:
    plan = Plan(1, genuine={"evt_1"}, failures={("in_1", 1)}, must_mail={("in_1", 1)})
    system: Any = found
    return check(system, plan, Ledger(accepted={"evt_1": 1.0}), forced or set())


def test_books_that_balance_raise_no_complaint() -> None:
    """One webhook, one row, one mail."""
    assert judged(Found()).complaints() == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"inbox": []}, "not in the inbox"),
        ({"inbox": ["evt_1", "evt_forged"]}, "forged webhooks were stored"),
        ({"unpublished": 2}, "still in the outbox"),
        ({"notifications": []}, "neither a mail nor a reason"),
        ({"mails": []}, "neither a mail nor a reason"),
        ({"mails": ["ntf_1", "ntf_1"]}, "mailed twice"),
        (
            {"queues": {"notifier.billing-events.dead": 1}},
            "are left in notifier.billing-events.dead",
        ),
        ({"lacking": {"rpc-portal": 1}}, "rpc-portal lacks 1 consumers"),
        (
            {
                "mails": [],
                "notifications": [
                    ("ntf_1", "in_1", 1, "payment_failed", "suppressed", "whim", "evt_1")
                ],
            },
            "without a reason that holds",
        ),
    ],
)
def test_books_that_do_not_are_called_so(change: dict[str, Any], complaint: str) -> None:
    """Lost, invented, stuck, doubled, silenced: each is seen."""
    found = Found()
    for name, value in change.items():
        setattr(found, name, value)
    (said,) = judged(found).complaints()
    assert complaint in said


def test_a_double_after_a_lost_answer_is_counted_apart() -> None:
    """SendGrid lost its answer and the mail was sent once more: not our double."""
    found = Found()
    found.mails = ["ntf_1", "ntf_1"]
    books = judged(found, forced={"ntf_1"})
    assert (books.complaints(), books.doubled_after_lost_answer) == ([], [("in_1", 1)])
    found.apart = GRACE  # by the notifier itself, where a run takes so long
    assert judged(found).doubled_after_lost_answer == [("in_1", 1)]
    found.apart = GRACE - dt.timedelta(seconds=1)
    assert judged(found).doubled == [("in_1", 1, 899.0)]
