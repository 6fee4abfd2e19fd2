"""A customer's fields are declared once (`CustomerProfile`): here fails every place that a new one is missing in."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, String, select
from sqlalchemy.orm import Session

from services.portal import serializers as wire
from services.portal.domain.people import COLUMNS, COLUMNS_NEEDED, OPTIONAL, PROFILE
from services.portal.handlers import arguments, customers, importing
from services.portal.handlers.customers import Asked
from services.portal.models import Base, CustomerRow
from services.portal.service import PortalService
from shared.contracts.accounts import OWN
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import CustomerArguments, CustomerLine
from shared.database import UtcDateTime
from tests.unit.portal.builders import NOW, add_business, lookup

OURS = {
    "account",
    "id",
    "public_id",
    "business_pk",
    "on_behalf_of",
    "external_id",
    "platform_stripe_customer_id",
    "link_source",
    "link_generation",
    "fresh_link_at",
    "billing_opened_at",
    "enrolled_at",
    "created_at",
    "updated_at",
}
"""Columns that the host does not give as they are: keys, and what Portico notes."""

VALUES = (
    *("vera@one.example", "vera@two.example"),
    *("+1 415 555 0100", "+1 415 555 0200"),
    *("pt_BR", "de_AT", "Asia/Tokyo", "Europe/Oslo", "https://one.example", "https://two.example"),
    *("#101010", "#202020", "Vera One", "Vera Two"),
)


def two_values(field: str) -> tuple[str, str]:
    """Two values that the field's check takes as they are, of the rarest kind that it takes."""
    taken = []
    for value in VALUES:
        try:
            if arguments.profile_field(field, value) == value:
                taken.append(value)
        except InvalidArgument:
            continue
    assert len(taken) >= 2, f"{field}: VALUES holds no two that its check takes"
    # A name is anything: the last ones are what only a name may be.
    return (
        (taken[-2], taken[-1]) if taken[0] == VALUES[0] and len(taken) > 2 else (taken[0], taken[1])
    )


FIRST = {name: two_values(name)[0] for name in PROFILE}
SECOND = {name: two_values(name)[1] for name in PROFILE}


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session)


def line(values: dict[str, str | None], **ids: Any) -> CustomerLine:
    return CustomerLine(external_id="vera-1", **(values | ids))


def import_line(session: Session, given: CustomerLine) -> dict[str, Any]:
    done = importing.import_customers(session, business_id="sunrise", lines=[given], now=NOW)
    session.expire_all()
    answer: dict[str, Any] = plain(done.answer())
    return answer


def stored(session: Session) -> dict[str, Any]:
    row = session.scalars(select(CustomerRow)).one()
    return {name: getattr(row, name) for name in PROFILE}


def test_every_column_that_the_host_gives_is_in_the_profile() -> None:
    """A column of the table is ours, or declared with the name and the optionality that it has there."""
    columns = CustomerRow.__table__.columns
    assert set(columns.keys()) == OURS | set(PROFILE)
    assert {name for name in PROFILE if columns[name].nullable} == OPTIONAL


def test_the_import_line_has_every_field_in_the_order_of_the_wire() -> None:
    """Releases side by side read a line by its places: what is there stays where it is, a new field is the last."""
    assert CustomerLine.__struct_fields__ == COLUMNS
    needed = len(COLUMNS) - len(CustomerLine.__struct_defaults__)
    assert COLUMNS[:needed] == COLUMNS_NEEDED
    assert COLUMNS[:6] == (
        "external_id",
        "name",
        "email",
        "locale",
        "timezone",
        "platform_stripe_customer_id",
    )


def test_upsert_customer_takes_and_stores_every_field(session: Session) -> None:
    """The RPC method has an argument for each, hands each on, and changes each; what is optional stays when it is omitted, and is
    cleared by null."""
    assert set(CustomerArguments.__struct_fields__) - {"business_id"} == set(COLUMNS)
    service: Any = SimpleNamespace(_write=lambda handler: handler(session), wake_relay=lambda: None)

    def upsert(**values: str | None) -> dict[str, Any]:
        given = CustomerArguments(business_id="sunrise", external_id="vera-1", **values)
        PortalService.upsert_customer(service, given)
        session.flush()
        return stored(session)

    assert upsert(**FIRST) == FIRST
    assert upsert(**SECOND) == SECOND
    needed = {name: value for name, value in FIRST.items() if name not in OPTIONAL}
    assert upsert(**needed) == SECOND | needed
    assert upsert(**needed, **dict.fromkeys(OPTIONAL)) == FIRST | dict.fromkeys(OPTIONAL)


@pytest.mark.whole
def test_an_import_writes_every_field(session: Session) -> None:
    """New customers get each, known ones are changed in each, null keeps what is there and an empty text clears it."""
    assert import_line(session, line(FIRST))["created"] == 1
    assert stored(session) == FIRST
    for name in PROFILE:  # each alone: a column that the UPDATE forgets is no change
        assert import_line(session, line(FIRST | {name: SECOND[name]}))["updated"] == 1
        assert stored(session) == FIRST | {name: SECOND[name]}
    import_line(session, line(FIRST | dict.fromkeys(OPTIONAL)))
    assert stored(session) == {**SECOND, **FIRST} | {PROFILE[-1]: SECOND[PROFILE[-1]]}
    import_line(session, line(FIRST | dict.fromkeys(OPTIONAL, "")))
    assert stored(session) == FIRST | dict.fromkeys(OPTIONAL)


def test_a_new_customer_needs_no_optional_field(session: Session) -> None:
    """A line that ends after the needed columns, as an old release's may, makes a whole customer beside one with all."""
    short = CustomerLine("vera-2", FIRST["name"], FIRST["email"])
    done = importing.import_customers(
        session, business_id="sunrise", lines=[short, line(FIRST)], now=NOW
    )
    assert (done.created, done.errors) == (2, [])
    rows = session.scalars(select(CustomerRow).order_by(CustomerRow.external_id))
    assert [{name: getattr(row, name) for name in PROFILE} for row in rows] == [
        FIRST,
        FIRST | dict.fromkeys(OPTIONAL),
    ]


def test_an_export_has_every_column(session: Session) -> None:
    """What was imported comes back whole, for the next import."""
    import_line(session, line(FIRST))
    page = importing.export_customers(session, business_id="sunrise", after=0, limit=10)
    (customer,) = plain(page)["customers"]
    assert set(customer) == {*COLUMNS, "customer_id"}
    assert {name: customer[name] for name in PROFILE} == FIRST


def test_the_answers_about_a_customer_have_every_field(session: Session) -> None:
    """`contact` tells all of them; `lookup` all but what a link must not give away."""
    import_line(session, line(FIRST))
    (person,) = customers.contacts(
        session, [Asked(customer_id=session.scalars(select(CustomerRow.public_id)).one())], NOW
    )
    assert person is not None
    contact = plain(wire.contact(person, "https://portal.example/me/x", "Portico"))
    assert {name: contact.get(name) for name in PROFILE} == FIRST

    snapshot = lookup(session, person.customer_id, NOW)
    assert snapshot is not None
    told = plain(wire.snapshot(snapshot, NOW))
    assert {name: told[name] for name in told if name in PROFILE} == {
        name: value for name, value in FIRST.items() if name != "email"
    }


# --- erasure -------------------------------------------------------------------------------------------------

NAMES_CUSTOMER = {
    "customer_pk",
    "customer_id",
    "customer_ref",
    "previous_customer_ref",
    "stripe_customer_id",
}
"""By these columns a table knows whose a row is."""


def filled(column: Column[Any], number: int) -> Any:
    """Something of the column's type."""
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return NOW
    if isinstance(kind, String):
        return f"{column.name[: (kind.length or 99) - 2]}{number}"[: kind.length]
    return {Boolean: False, JSON: {}}.get(type(kind), number)


def values_stored(session: Session) -> Iterator[tuple[str, Any]]:
    """Every value that is stored anywhere, with the table."""
    for table in Base.metadata.sorted_tables:
        for row in session.execute(select(table)):
            yield from ((table.name, value) for value in row)


def test_erasing_leaves_nothing_of_a_customer(session: Session) -> None:
    """Neither a row of any table that names a customer, nor a value that the host gave, is left."""
    import_line(session, line(FIRST, platform_stripe_customer_id="cus_gone"))
    row = session.scalars(select(CustomerRow)).one()
    key, public_id = row.id, row.public_id
    whose = {
        "customer_pk": key,
        "business_pk": row.business_pk,
        "customer_id": public_id,
        "customer_ref": public_id,
        "previous_customer_ref": public_id,
        "account": OWN,
        "stripe_customer_id": "cus_gone",
    }
    named = [
        table for table in Base.metadata.sorted_tables if NAMES_CUSTOMER & set(table.columns.keys())
    ]
    assert len(named) >= 10
    for number, table in enumerate(named, 1000):
        values = {column.name: filled(column, number) for column in table.columns}
        session.execute(
            table.insert(), values | {name: whose[name] for name in whose if name in values}
        )
    session.flush()
    session.expire_all()
    traces = {public_id, "cus_gone", "vera-1", *FIRST.values()}

    def left() -> set[tuple[str, str]]:
        return {
            (table, trace)
            for table, value in values_stored(session)
            for trace in traces
            if trace in str(value)
        }

    assert {trace for _, trace in left()} == traces
    importing.erase(session, OWN, customer_id=public_id, stripe_customer_id="cus_gone", now=NOW)
    assert left() == set()
    assert [table.name for table in named if session.execute(select(table)).all()] == []
