"""Rows that travel as one JSON value: PostgreSQL and SQLite keep the same of them, and say the same of what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifier.models import Base, IncidentRow, Notification
from shared.database import Transactions, UnstorableValue, make_engine
from shared.statements import add_to_rows, insert_new_rows, table_of, update_rows
from tests.unit import accounts

NOTIFICATIONS, INCIDENTS = table_of(Notification), table_of(IncidentRow)
MOMENT = dt.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=dt.UTC)
ODD = 'it\'s “100%(s)s” \\ \n\t{"a"} :rows ذهب 👩‍👩‍👧'


@pytest.fixture(params=["postgresql", "sqlite"])
def db(request: pytest.FixtureRequest) -> Iterator[Transactions]:
    """The notifier's tables on either database."""
    if request.param == "postgresql":
        database: Callable[[str], str] = request.getfixturevalue("database")
        engine = make_engine(database("notifier"))
        accounts.watch(engine)
    else:
        engine = make_engine("sqlite://")
        Base.metadata.create_all(engine)
    yield Transactions(engine)
    engine.dispose()


def notification(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "notification_id": f"ntf_{number}",
        "dedupe_key": f"key_{number}",
        "kind": "payment_failed",
        "status": "pending",
        "reason": None,
        "attempt": 0,
        "correlation_id": "",
        "created_at": MOMENT,
        "due_at": MOMENT,
        "attempts": 0,
        "lookups": 0,
        "unconfirmed_posts": 0,
        "context": None,
        **changes,
    }


def add(session: Session, *rows: dict[str, Any]) -> list[Any]:
    return insert_new_rows(
        session, NOTIFICATIONS, rows, conflict=("dedupe_key",), returning="dedupe_key"
    )


def test_what_is_written_is_read_as_it_was(db: Transactions) -> None:
    """Quotes, percent signs, colons and emoji; moments to the microsecond, from other zones too; JSON within; nothing."""
    elsewhere = MOMENT.astimezone(dt.timezone(dt.timedelta(hours=-11)))
    with db.transaction() as session:
        add(
            session,
            notification(1, reason=ODD, due_at=elsewhere, context={"note": ODD, "list": [1, None]}),
            notification(2),
        )
    with db.reading() as session:
        one, two = session.scalars(select(Notification).order_by(Notification.notification_id))
        assert (one.reason, one.due_at, one.context) == (
            ODD,
            MOMENT,
            {"note": ODD, "list": [1, None]},
        )
        assert (two.reason, two.context, two.created_at, two.sent_at) == (None, None, MOMENT, None)


def test_what_is_there_already_stays(db: Transactions) -> None:
    """Only the new keys are told; nothing at all is no statement."""
    with db.transaction() as session:
        assert add(session, notification(1)) == ["key_1"]
    with db.transaction() as session:
        added = add(session, notification(2), notification(3, dedupe_key="key_1", reason="later"))
        assert (added, add(session)) == (["key_2"], [])
    with db.reading() as session:
        assert session.scalars(select(Notification.reason)).all() == [None, None]


def test_a_row_is_found_by_all_of_its_key(db: Transactions) -> None:
    """An id that another account has too names none of the other's rows."""
    row = {"status": "open", "currency": "usd", "amount_due": 1, "attempt_count": 1}
    with db.transaction() as session:
        for account, invoice in (("", "in_1"), ("acct_1", "in_2")):
            session.add(
                IncidentRow(account=account, invoice_id=invoice, stripe_customer_id="cus_1", **row)
            )
    changes = [
        {"account": "acct_1", "invoice_id": "in_1", "last_attempt": 7},
        {"account": "acct_1", "invoice_id": "in_2", "last_attempt": 8},
    ]
    with db.transaction() as session:
        update_rows(session, INCIDENTS, changes, ("account", "invoice_id"))
    with db.reading() as session:
        found = session.execute(select(IncidentRow.invoice_id, IncidentRow.attempt_count))
        assert dict(found.tuples().all()) == {"in_1": 1, "in_2": 8}


def test_rows_that_change_differently_are_written_together(db: Transactions) -> None:
    """Each gets its own values, a row that is not there none, and what is not named stays."""
    with db.transaction() as session:
        add(session, notification(1), notification(2), notification(3))
        later = MOMENT + dt.timedelta(days=1)
        changes = [
            {"notification_id": "ntf_1", "status": "sent", "sent_at": later, "context": {"a": 1}},
            {"notification_id": "ntf_2", "status": "failed", "sent_at": None, "context": None},
            {"notification_id": "ntf_9", "status": "failed", "sent_at": None, "context": None},
        ]
        update_rows(session, NOTIFICATIONS, changes, ("notification_id",))
        update_rows(session, NOTIFICATIONS, [], ("notification_id",))
    with db.reading() as session:
        rows = session.scalars(select(Notification).order_by(Notification.notification_id)).all()
        assert [(row.status, row.sent_at, row.context) for row in rows] == [
            ("sent", later, {"a": 1}),
            ("failed", None, None),
            ("pending", None, None),
        ]
        assert {row.dedupe_key for row in rows} == {"key_1", "key_2", "key_3"}


def test_what_is_added_counts_on(db: Transactions) -> None:
    """What is new is inserted; to what is there only the changes are done, each row by its own values; nothing is no statement."""
    row: dict[str, Any] = {"account": "", "stripe_customer_id": "cus_1", "status": "open"}
    row |= {"currency": "usd"} | {"last_attempt": 0, "amount_paid": 0, "amount_remaining": 0}
    counts = "amount_due = incidents.amount_due + excluded.amount_due"

    def add_up(*told: tuple[str, int]) -> None:
        with db.transaction() as session:
            rows = [{**row, "invoice_id": name, "amount_due": amount} for name, amount in told]
            add_to_rows(session, INCIDENTS, rows, conflict=("account", "invoice_id"), changes=counts)  # fmt: skip

    add_up(("in_1", 1), ("in_2", 2))
    row |= {"status": "paid"}
    add_up(("in_3", 40), ("in_2", 30))
    add_up()
    with db.reading() as session:
        found = session.execute(
            select(IncidentRow.invoice_id, IncidentRow.amount_due, IncidentRow.status).order_by(
                IncidentRow.invoice_id
            )
        )
        assert [tuple(one) for one in found] == [
            ("in_1", 1, "open"),
            ("in_2", 32, "open"),
            ("in_3", 40, "paid"),
        ]


def test_amounts_pass_through_no_float(db: Transactions) -> None:
    """The largest number that the column takes comes back to the last digit."""
    most = 2**63 - 1
    row = {
        "invoice_id": "in_1",
        "stripe_customer_id": "cus_1",
        "status": "open",
        "amount_due": most,
    }
    row |= {"last_attempt": 0, "currency": "idr", "amount_paid": 0, "amount_remaining": most - 1}
    with db.transaction() as session:
        insert_new_rows(session, INCIDENTS, [row], returning="invoice_id")
    with db.reading() as session:
        assert session.execute(
            select(IncidentRow.amount_due, IncidentRow.amount_remaining)
        ).all() == [(most, most - 1)]


@pytest.mark.parametrize("bad", ["\x00", "\ud800", "x" * 256])
def test_what_cannot_be_stored_is_said_in_one_way(bad: str, db: Transactions) -> None:
    """No further try can help: UnstorableValue, as for rows of one parameter a column."""
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite takes it")
    with pytest.raises(UnstorableValue), db.transaction() as session:
        add(session, notification(1, correlation_id=bad))


@pytest.mark.parametrize(
    "beyond",
    [
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1))),
        dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ],
)
def test_a_moment_that_utc_can_not_tell_is_stored_nowhere(
    beyond: dt.datetime, db: Transactions
) -> None:
    """PostgreSQL would take the year 10000 from a document, and every later read of the row would fail: no email could be leased
    beside it."""
    with pytest.raises(UnstorableValue), db.transaction() as session:
        add(session, notification(1, next_payment_attempt=beyond))
    with db.transaction() as session:
        add(session, notification(1, next_payment_attempt=None))
    with pytest.raises(UnstorableValue), db.transaction() as session:
        row = {"notification_id": "ntf_1", "next_payment_attempt": beyond}
        update_rows(session, NOTIFICATIONS, [row], ("notification_id",))
