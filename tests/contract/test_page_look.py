"""A look is one statement whose JSON the database makes. PostgreSQL and SQLite tell the same of the same rows, and what they were
given: whatever the texts, the numbers, the moments, and the session's time zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, text

from local.servers import PostgreSQL
from services.portal.domain.invoices import Invoice
from services.portal.domain.snapshot import (
    Appointment,
    Asked,
    Business,
    OwnedInvoice,
    Snapshot,
    Subscription,
)
from services.portal.models import (
    AppointmentRow,
    Base,
    BusinessRow,
    CancellationRequestRow,
    CustomerRow,
    InvoiceRow,
    MethodChangeRow,
    SubscriptionRow,
)
from services.portal.queries.page import lookup_many
from shared.contracts.invoices import SubscriptionState
from shared.contracts.prices import Lasts, NextInvoice, Pricing, Terms
from shared.database import Transactions, UnstorableValue, make_engine
from tests.unit import accounts

NOW = dt.datetime(2026, 3, 8, 9, 59, 59, 999_999, tzinfo=dt.UTC)
MARIA, EMPTY = "M" * 22, "E" * 22
ODD = 'Žofie "O’Hara" \\ <b>&amp;</b>\t\n\u2028 null 1e999 דנה 🏠 \u202e {"a": [1]} \x7f'
LARGEST, ODD_NUMBER = 2**63 - 1, 2**53 + 1
LONG_AGO = dt.datetime(1912, 4, 14, 23, 40, 0, 1, tzinfo=dt.UTC)
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
ELSEWHERE = dt.timezone(dt.timedelta(hours=-9, minutes=-30))
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns")


def at(**parts: float) -> dt.datetime:
    return NOW + dt.timedelta(**parts)


def odd_rows() -> Iterator[tuple[type[Base], dict[str, Any]]]:
    """A customer of whom everything is known, and one of whom as little as may be."""
    made = {"created_at": NOW, "updated_at": NOW}
    yield BusinessRow, {
        "id": 1, "business_id": "b1", "name": ODD, "email": "ß@exämple.com", "phone": "", "website": None,
        "logo_url": None, "color": "#2f6f9f", "locale": "de", "timezone": "Europe/Berlin", "service_note": ODD,
        "charged_as": ODD, "mode": "observe", "live_since": LONG_AGO, "may_cancel": False, **made,
    }  # fmt: skip
    yield BusinessRow, {
        "id": 2, "business_id": "b2", "name": "Zwei", "locale": "en", "timezone": "UTC", "may_cancel": None, **made,
    }  # fmt: skip
    yield CustomerRow, {
        "id": 1, "public_id": MARIA, "business_pk": 1, "external_id": "null", "name": ODD, "email": "m@example.com",
        "locale": "cs", "timezone": "Asia/Tokyo", "platform_stripe_customer_id": "cus_1", "link_generation": ODD_NUMBER,
        "billing_opened_at": LONG_AGO, **made,
    }  # fmt: skip
    yield CustomerRow, {
        "id": 2, "public_id": EMPTY, "business_pk": 2, "external_id": "", "name": "E", "email": "",
        "link_generation": 1, **made,
    }  # fmt: skip
    for number, (starts_at, ends_at) in enumerate(VISITS, 1):
        yield AppointmentRow, {
            "id": number, "customer_pk": 1, "external_id": f"a{number}", "title": ODD, "starts_at": starts_at,
            "ends_at": ends_at, "location": None, "status": "scheduled", "updated_at": NOW,
        }  # fmt: skip
    invoice = {
        "stripe_customer_id": "cus_1", "status": "open", "currency": "jpy", "amount_due": LARGEST,
        "amount_remaining": ODD_NUMBER, "attempt_count": 2, "collection_method": "charge_automatically",
        "first_failed_at": LONG_AGO, "last_failure_own": True,
    }  # fmt: skip
    yield (
        InvoiceRow,
        invoice | {"invoice_id": "in_2", "auto_advance": True, "subscription_id": "sub_2"},
    )
    yield InvoiceRow, invoice | {
        "invoice_id": "in_1", "auto_advance": False, "subscription_id": "sub_1", "purpose": ODD, "number": "1e5",
        "closed_at": None, "card_exp_year": 2031, "schedule_changed": True, "next_payment_attempt": LAST,
    }  # fmt: skip
    yield InvoiceRow, invoice | {"invoice_id": "in_0", "first_failed_at": None}  # nothing to tell
    sent = {"first_failed_at": None, "collection_method": "send_invoice"}
    yield InvoiceRow, invoice | sent | {"invoice_id": "in_3"}
    paid = {"status": "paid", "closed_at": at(hours=-1)}
    yield InvoiceRow, invoice | sent | paid | {"invoice_id": "in_4"}  # nothing to tell
    yield (
        InvoiceRow,
        invoice | {"invoice_id": "in_9", "stripe_customer_id": "cus_9"},
    )  # somebody else's
    yield (
        MethodChangeRow,
        {"stripe_customer_id": "cus_1", "subscription_id": "", "changed_at": at(seconds=-1)},
    )
    yield (
        MethodChangeRow,
        {"stripe_customer_id": "cus_1", "subscription_id": "in_1", "changed_at": at(days=-1)},
    )
    bought = {"stripe_customer_id": "cus_1", "interval_count": 1, "as_of": at(days=-1)}
    yield SubscriptionRow, bought | {
        "id": 1, "subscription_id": "sub_1", "status": "canceled", "end_reason": "payment_failed",
        "ends_at": at(hours=-1), "terms_as_of": None,
    }  # fmt: skip
    yield SubscriptionRow, bought | {
        "id": 2, "subscription_id": "sub_3", "status": "active", "terms_as_of": at(days=-1), "pricing": "fixed",
        "amount": LARGEST, "currency": "usd", "interval": "month", "discounted": False, "discount_seen": True,
        "collection_paused": False, "previewed_at": at(minutes=-1), "next_amount": 0, "next_recurring": ODD_NUMBER,
        "next_discount": "repeating", "next_discount_until": LAST, "current_period_end": LAST, "description": ODD,
    }  # fmt: skip
    for number, status in ((1, "declined"), (2, "open")):
        yield CancellationRequestRow, {
            "id": number, "request_id": f"r{number}", "customer_pk": 1, "stripe_customer_id": "cus_1",
            "subscription_id": "sub_3", "status": status, "asked_at": at(days=-2), "tries": 0,
        }  # fmt: skip
    # Another account's, of the same ids: none of it is of this customer.
    other: dict[str, Any] = {"account": "acct_1"}
    yield InvoiceRow, invoice | other | {"invoice_id": "in_8", "subscription_id": "sub_3"}
    yield (
        MethodChangeRow,
        other | {"stripe_customer_id": "cus_1", "subscription_id": "in_8", "changed_at": NOW},
    )
    yield (
        SubscriptionRow,
        bought | other | {"id": 3, "subscription_id": "sub_8", "status": "active"},
    )
    yield SubscriptionRow, bought | other | {
        "id": 4, "subscription_id": "sub_2", "status": "unpaid",
    }  # fmt: skip
    yield CancellationRequestRow, other | {
        "id": 3, "request_id": "r3", "customer_pk": 1, "stripe_customer_id": "cus_1", "subscription_id": "sub_3",
        "status": "declined", "asked_at": NOW, "tries": 0,
    }  # fmt: skip


VISITS = (
    (at(days=1), None),
    (LAST, LAST),
    (LONG_AGO, at(microseconds=1)),  # goes on
    (at(hours=-1, microseconds=-1), None),
    (dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), at(microseconds=-1)),
    # The same moment, written down in another time zone.
    (at(days=-3).astimezone(ELSEWHERE), None),
    (at(hours=-1), None),  # taken to last an hour
)
UPCOMING_THEN_PAST = (3, 7, 1, 2, 4, 6, 5)


@pytest.fixture(scope="module", params=["sqlite", *ZONES])
def database(request: pytest.FixtureRequest) -> Iterator[Transactions]:
    """The odd rows in SQLite, or in PostgreSQL spoken to from a session in that time zone."""
    postgres: PostgreSQL | None = None
    url = "sqlite://"
    if request.param != "sqlite":
        postgres = request.getfixturevalue("postgres")
        url = postgres.create_database("page_look")
    engine = make_engine(url, pool_size=1, max_overflow=0)
    accounts.watch(engine)
    Base.metadata.create_all(engine)
    transactions = Transactions(engine)
    with transactions.transaction() as session:
        for model, values in odd_rows():
            session.execute(insert(model), [values])
    if postgres is not None:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET TIME ZONE '{request.param}'")
            connection.commit()
        with transactions.reading() as session:  # the one connection of the pool keeps it
            assert session.scalar(text("SHOW timezone")) == request.param
    yield transactions
    engine.dispose()
    if postgres is not None:
        postgres.drop_database("page_look")


def look(database: Transactions, *public_ids: str) -> dict[str, Snapshot]:
    with database.reading() as session:
        return lookup_many(session, public_ids, NOW)


def expected() -> Snapshot:
    rows = list(odd_rows())
    _, business = rows[0]
    declined = {
        "status": "open", "currency": "jpy", "amount_due": LARGEST, "amount_remaining": ODD_NUMBER, "attempt_count": 2,
        "collection_method": "charge_automatically", "first_failed_at": LONG_AGO, "last_failure_own": True,
    }  # fmt: skip
    return Snapshot(
        name=ODD, email="m@example.com", locale="cs", timezone="Asia/Tokyo",
        customer_id=MARIA, external_id="null", link_generation=ODD_NUMBER, platform_stripe_customer_id="cus_1",
        billing_opened_at=LONG_AGO, method_changed_at=at(seconds=-1),
        business=Business(**{name: business[name] for name in Business.__slots__}),
        appointments=tuple(
            Appointment(
                ref=number, external_id=f"a{number}", title=ODD, starts_at=VISITS[number - 1][0],
                ends_at=VISITS[number - 1][1],
            )
            for number in UPCOMING_THEN_PAST
        ),
        invoices=(
            OwnedInvoice(
                invoice_id="in_1",
                invoice=Invoice(
                    **declined, auto_advance=False, subscription_id="sub_1", purpose=ODD, number="1e5",
                    card_exp_year=2031, schedule_changed=True, next_payment_attempt=LAST,
                ),
                subscription=SubscriptionState("canceled", "payment_failed", at(hours=-1)),
            ),
            OwnedInvoice(
                invoice_id="in_2", invoice=Invoice(**declined, auto_advance=True, subscription_id="sub_2")
            ),
            OwnedInvoice(
                invoice_id="in_3",
                invoice=Invoice(**declined | {"first_failed_at": None, "collection_method": "send_invoice"}),
            ),
        ),
        subscriptions=(
            Subscription(
                ref=2, subscription_id="sub_3", status="active", as_of=at(days=-1), current_period_end=LAST,
                description=ODD, collection_paused=False, previewed_at=at(minutes=-1), nothing_due=True,
                terms=Terms(
                    pricing=Pricing.FIXED, amount=LARGEST, currency="usd", interval="month", interval_count=1,
                    discounted=True,
                    next_invoice=NextInvoice(amount=0, recurring=ODD_NUMBER, discount=Lasts.REPEATING, until=LAST),
                ),
                asked=Asked(request_id="r2", status="open", asked_at=at(days=-2)),
            ),
            Subscription(
                ref=1, subscription_id="sub_1", status="canceled", as_of=at(days=-1), ends_at=at(hours=-1)
            ),
        ),
    )  # fmt: skip


def test_all_that_is_known_comes_as_it_was_given(database: Transactions) -> None:
    """Texts with all their characters, numbers with all their digits, moments to the microsecond, lists in their order."""
    assert look(database, MARIA, "Z" * 22) == {MARIA: expected()}


def test_moments_come_in_utc(database: Transactions) -> None:
    """Whatever time zone the session has: pages and answers write them as they come."""
    found = look(database, MARIA)[MARIA]
    moments = [each.starts_at for each in found.appointments]
    moments += [found.billing_opened_at, found.subscriptions[0].as_of]  # type: ignore[list-item]
    assert [each.utcoffset() for each in moments] == [dt.timedelta()] * len(moments)
    assert moments[0].isoformat() == "1912-04-14T23:40:00.000001+00:00"


def test_what_is_not_known_stays_unknown(database: Transactions) -> None:
    """A customer whom Stripe doesn't know, without a visit: empty lists, and None for each empty column."""
    assert look(database, EMPTY)[EMPTY] == Snapshot(
        name="E", email="", customer_id=EMPTY, external_id="", link_generation=1, platform_stripe_customer_id=None,
        billing_opened_at=None, method_changed_at=None,
        business=Business(business_id="b2", name="Zwei", locale="en", timezone="UTC"),
    )  # fmt: skip


def test_many_come_in_one_statement(database: Transactions) -> None:
    """Each once, however often it was asked for; nobody is an answer too."""
    assert set(look(database, MARIA, EMPTY, MARIA)) == {MARIA, EMPTY}
    assert look(database, "Z" * 22) == {}


def test_nul_is_in_no_text(database: Transactions) -> None:
    """PostgreSQL can't store it, and says so before anything is written; so no document has one."""
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite takes everything")
    with pytest.raises(UnstorableValue), database.transaction() as session:
        session.execute(text("UPDATE customers SET name = :name"), {"name": "a\0b"})
    with pytest.raises(UnstorableValue):
        look(database, "a\0b")
