"""An incident comes back from the database as it was written, and so does an email that is to go out: PostgreSQL and SQLite make the same
document of it, whatever is in its fields, and whatever the session's time zone."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update

from local.servers import PostgreSQL
from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason
from services.notifier.models import Base, IncidentRow, Notification
from services.notifier.queries import incidents, notifications
from shared.contracts.accounts import OWN, Account, StripeId
from shared.database import Transactions, make_engine

MOMENT = dt.datetime(2026, 3, 8, 9, 59, 59, 999_999, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(1912, 4, 14, 23, 40, 0, 1, tzinfo=dt.UTC)
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
ODD = 'Žofie "O’Hara" \\ <b>&amp;</b>\t\n\u2028 null 1e999 דנה 🏠 {"a": [1]} \x7f'
LARGEST, ODD_NUMBER = 2**63 - 1, 2**53 + 1

WHOLE = Incident(
    account=Account("acct_1"),
    invoice_id="in_1",
    stripe_customer_id=ODD,
    on_behalf_of="acct_2",
    status="open",
    currency="jpy",
    amount_due=LARGEST,
    amount_remaining=ODD_NUMBER,
    amount_paid=-1,
    amount_credited=LARGEST,
    attempt_count=2**31 - 1,
    collection_method="charge_automatically",
    billing_reason="null",
    number="1e5",
    subscription_id="sub_1",
    purpose=ODD,
    purpose_more=3,
    finalized_at=LONG_AGO,
    as_of=MOMENT,
    next_payment_attempt=LAST,
    schedule_as_of=MOMENT,
    schedule_changed=True,
    auto_advance=False,
    auto_advance_as_of=LONG_AGO,
    was_advancing=True,
    first_failed_at=LONG_AGO,
    last_failed_at=MOMENT.replace(microsecond=0),
    last_failure_own=True,
    action_required_at=MOMENT,
    closed_at=LAST,
    opened_at=LONG_AGO,
    last_mailed_at=MOMENT,
    asked_at=MOMENT.astimezone(dt.timezone(dt.timedelta(hours=-9, minutes=-30))),
    failure_heard_at=MOMENT,
    end_noted=True,
)
BLANK = Incident(invoice_id="in_1", stripe_customer_id="cus_1")
"""Of another account, as little as may be."""


@pytest.fixture(params=["sqlite", "UTC", "Asia/Kathmandu", "America/St_Johns"])
def database(request: pytest.FixtureRequest) -> Iterator[Transactions]:
    """Both incidents in SQLite, or in PostgreSQL spoken to from a session in that time zone."""
    postgres: PostgreSQL | None = None
    url = "sqlite://"
    if request.param != "sqlite":
        postgres = request.getfixturevalue("postgres")
        url = postgres.create_database("incidents")
    engine = make_engine(url, pool_size=1, max_overflow=0)
    Base.metadata.create_all(engine)
    if postgres is not None:
        with engine.connect() as connection:  # the one connection of the pool keeps it
            connection.exec_driver_sql(f"SET TIME ZONE '{request.param}'")
            connection.commit()
    transactions = Transactions(engine)
    with transactions.transaction() as session:
        incidents.add_incidents(session, [WHOLE, BLANK])
    yield transactions
    engine.dispose()
    if postgres is not None:
        postgres.drop_database("incidents")


def test_an_incident_comes_back_as_it_was_written(database: Transactions) -> None:
    """Each field of it, by each way to it."""
    names = {StripeId(Account("acct_1"), "in_1"): WHOLE, StripeId(OWN, "in_1"): BLANK}
    with database.transaction() as session:
        assert incidents.read_incidents(session, names) == names
        assert incidents.lock_incidents(session, names) == names
        opened = incidents.lock_open_incidents(session, (), {BLANK.customer})
        assert opened == {BLANK.name: BLANK}
        incidents.store_incidents(session, [BLANK.with_changes(end_noted=True)])
        found = incidents.lock_known_incident(session, BLANK.name)
        assert found == BLANK.with_changes(end_noted=True)


def test_an_amount_that_an_earlier_release_left_out_is_nothing(database: Transactions) -> None:
    """It wrote no remainder: NULL there is nought here."""
    with database.transaction() as session:
        session.execute(update(IncidentRow).values(amount_remaining=None))
        found = incidents.read_incidents(session, [WHOLE.name])
        assert found == {WHOLE.name: WHOLE.with_changes(amount_remaining=0)}


def notify(transactions: Transactions, notification_id: str, **about: object) -> None:
    """Write an email down, about BLANK's invoice."""
    new = notifications.NewNotification(
        account=BLANK.account,
        dedupe_key=f"{notification_id}/{ODD}",
        kind=Kind.PAYMENT_FAILED,
        now=MOMENT,
        invoice_id=BLANK.invoice_id,
        notification_id=notification_id,
        **about,  # type: ignore[arg-type]
    )
    with transactions.transaction() as session:
        assert notifications.add_notification(session, new)


def test_an_email_comes_back_as_it_was_written(database: Transactions) -> None:
    """Each field of it as SQLAlchemy reads it, with and without what may be missing; and the incident beside it."""
    context = {"a": [1, 1.5, None, True], "odd": ODD}
    notify(database, "ntf_1")
    notify(
        database,
        "ntf_2",
        reason=Reason.PAID,
        attempt=2**31 - 1,
        next_payment_attempt=MOMENT,
        stripe_customer_id=ODD,
        on_behalf_of="acct_2",
        correlation_id=ODD,
        occurred_at=LONG_AGO,
        context=context,
    )
    ids = ["ntf_2", "ntf_1", "ntf_0"]
    with database.transaction() as session:
        found, rows = notifications.lock_to_send(session, ids, {WHOLE.name}, {BLANK.customer})
        assert found == {BLANK.name: BLANK, WHOLE.name: WHOLE}
        assert list(rows) == ["ntf_1", "ntf_2"]
        for one in session.scalars(select(Notification)):
            row = rows[one.notification_id]
            for name in row.__struct_fields__:
                assert name == "stored" or getattr(row, name) == getattr(one, name)
        assert rows["ntf_2"].context == context
        assert notifications.lock_to_send(session, [], ()) == ({}, {})


def test_an_incident_is_locked_before_its_email_and_both_are_the_newest(
    postgres: PostgreSQL,
) -> None:
    """Whoever has the incident may go on to its email while another waits for both, who then finds what became of them."""
    engine = make_engine(postgres.create_database("locking"), pool_size=2, max_overflow=0)
    try:
        Base.metadata.create_all(engine)
        database = Transactions(engine)
        with database.transaction() as session:
            incidents.add_incidents(session, [BLANK])
        notify(database, "ntf_1")
        with ThreadPoolExecutor(1) as pool:
            with database.transaction() as session:
                incidents.lock_incidents(session, [BLANK.name])

                def lock() -> tuple[bool, str]:
                    with database.transaction() as other:
                        found, rows = notifications.lock_to_send(other, ["ntf_1"], [BLANK.name])
                        return found[BLANK.name].end_noted, rows["ntf_1"].status

                waiting = pool.submit(lock)
                end = time.monotonic() + 10
                waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                while not session.scalar(waits) and time.monotonic() < end:
                    time.sleep(0.01)
                assert not waiting.done()
                incidents.store_incidents(session, [BLANK.with_changes(end_noted=True)])
                rows = notifications.lock_to_send(session, ["ntf_1"], ())[1]
                rows["ntf_1"].status = "suppressed"
                notifications.store_sent(session, rows.values())
            assert waiting.result(10) == (True, "suppressed")
    finally:
        engine.dispose()
        postgres.drop_database("locking")
