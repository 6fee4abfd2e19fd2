"""What is old goes, in batches; what could still come again stays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import func, select

from services.billing.models import Base, InboxEvent, OutboxEvent, Recovery
from services.billing.retention import RULES
from shared.database import Transactions
from shared.retention import RETENTION, parse_age, prune_batch, prune_round
from tests.unit import tables
from tests.unit.billing.conftest import NOW

OLD = NOW - RETENTION - dt.timedelta(days=1)


@pytest.fixture
def database() -> Transactions:
    return tables.empty(Base.metadata)


def event(number: int, at: dt.datetime, status: str = "translated") -> InboxEvent:
    return InboxEvent(id=f"evt_{number}", type="t", received_at=at, status=status, payload="")


def queued(number: int, published: dt.datetime | None) -> OutboxEvent:
    return OutboxEvent(
        event_id=f"e{number}", dedupe_key=f"k{number}", type="t", body="{}", created_at=OLD,
        published_at=published, attempts=0, next_attempt_at=OLD,
    )  # fmt: skip


def tried(attempt: int, at: dt.datetime) -> Recovery:
    return Recovery(
        invoice_id="in_1", payment_method_id="pm_1", attempt=attempt, stripe_customer_id="cus_1",
        outcome="paid", at=at,
    )  # fmt: skip


@pytest.mark.whole
def test_addresses_go_sooner(database: Transactions) -> None:
    """What was told of a Stripe customer is of no use once the portal has it; other events, and what is not published, stay."""
    with database.transaction() as session:
        for number, (kind, days) in enumerate(
            [
                ("customer.seen", 8),
                ("customer.seen", 6),
                ("invoice.paid", 8),
                ("customer.seen", None),
            ]
        ):
            row = queued(number, None if days is None else NOW - dt.timedelta(days=days))
            row.type = kind
            session.add(row)
    prune_round(database, RULES, NOW)
    with database.reading() as session:
        assert set(session.scalars(select(OutboxEvent.event_id))) == {"e1", "e2", "e3"}


def count(database: Transactions, model: type[Any]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


@pytest.mark.whole
def test_old_rows_go_and_what_is_not_finished_stays(database: Transactions) -> None:
    """Old inbox rows go, quarantined, lately closed and young ones stay; an event that was never published is never old."""
    with database.transaction() as session:
        session.add_all([event(1, OLD), event(2, NOW), event(3, OLD, "quarantined")])
        for number, closed in ((4, OLD), (5, NOW)):
            row = event(number, OLD, "closed")
            row.closed_at = closed
            session.add(row)
        session.add_all([queued(1, OLD), queued(2, NOW), queued(3, None)])
        session.add_all([tried(1, OLD), tried(2, NOW)])
    assert prune_round(database, RULES, NOW) is False
    with database.reading() as session:
        assert set(session.scalars(select(InboxEvent.id))) == {"evt_2", "evt_3", "evt_5"}
        assert set(session.scalars(select(OutboxEvent.event_id))) == {"e2", "e3"}
        assert list(session.scalars(select(Recovery.attempt))) == [2]


def test_a_batch_is_bounded(database: Transactions) -> None:
    """No transaction deletes more than its limit of a table."""
    with database.transaction() as session:
        session.add_all([event(number, OLD) for number in range(25)])
    with database.transaction() as session:
        assert prune_batch(session, RULES, NOW, limit=10)["inbox"] == 10
    assert count(database, InboxEvent) == 15


@pytest.mark.parametrize("text", ["", "90", "90h", "44d", "-90d"])
def test_an_age_that_is_none_or_too_short_is_refused(text: str) -> None:
    """Below 45 days a webhook could come again and find no memory of itself."""
    with pytest.raises(ValueError):
        parse_age(text)
