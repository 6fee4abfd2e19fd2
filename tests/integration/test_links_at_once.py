"""Links are decided by several processes at the same moment, on PostgreSQL."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.portal.domain.linking import CustomerRef, Source, decide_standing
from services.portal.handlers import customers, importing
from services.portal.handlers.evidence import Evidence, take_in
from services.portal.models import CustomerRow
from services.portal.queries import links
from shared.contracts.accounts import OWN, Merchant
from shared.contracts.rpc.errors import StripeCustomerConflict
from shared.contracts.rpc.portal import CustomerArguments, CustomerLine
from tests.fixtures.story import eventually
from tests.unit.portal.builders import NOW, add_business, add_customer

AT_ONCE = 8
WORDS = 30


@pytest.fixture
def engine(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    url = postgres.create_database("links_at_once", template=migrated("portal"))
    made = create_engine(url, pool_size=AT_ONCE, isolation_level="READ COMMITTED")
    yield made
    made.dispose()
    postgres.drop_database("links_at_once")


def test_nobody_decides_over_what_another_one_is_writing(engine: Engine) -> None:
    """Metadata, the host's word and its denial, and customers who come, all at once about the same few: in the end the links
    are those that the rows decide, as if everything had come one after another."""
    with Session(engine) as session, session.begin():
        add_business(session)
        people = [add_customer(session, f"c{number}").customer_id for number in range(4)]

    def speak(number: int) -> None:
        dice = random.Random(number)
        for word in range(WORDS):
            stripe_id, customer = f"cus_{dice.randrange(4)}", dice.choice(people)
            at = NOW + dt.timedelta(seconds=dice.randrange(1000))
            with Session(engine) as session:
                try:
                    with session.begin():
                        if dice.random() < 0.6:
                            object_id = f"sub_{stripe_id[4:]}{dice.randrange(3)}"
                            new = f"c{dice.randrange(8)}"
                            names = dice.choice(
                                [CustomerRef(customer), CustomerRef(new, "sunrise"), None]
                            )
                            one = Evidence(
                                account=OWN,
                                event_id=f"evt_{number}_{word}",
                                stripe_event="evt",
                                stripe_customer_id=stripe_id,
                                object_id=object_id,
                                source=Source.METADATA,
                                said_at=at,
                                names=names,
                                before=CustomerRef(customer),
                            )
                            take_in(session, [one], at)
                        elif dice.random() < 0.3:
                            add_customer(session, f"c{dice.randrange(4, 8)}")
                        elif dice.random() < 0.5:
                            customers.link_customer(
                                session,
                                customer_id=customer,
                                stripe_customer_id=stripe_id,
                                now=at,
                            )
                        else:
                            customers.unlink_customer(
                                session,
                                customer_id=customer,
                                stripe_customer_id=stripe_id,
                                withdraw_only=dice.random() < 0.7,
                                now=at,
                            )
                except (StripeCustomerConflict, IntegrityError):
                    continue  # given to another one, or told of, in the meantime: the service tries again

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(speak, range(AT_ONCE)))
    with Session(engine) as session:
        rows = session.scalars(select(CustomerRow)).all()
        found = links.component(
            session, Merchant(OWN), [f"cus_{n}" for n in range(4)], [row.id for row in rows]
        )
        decided = {
            customer: claim.stripe_customer_id
            for customer, claim in decide_standing(found.spells()).links.items()
        }
        linked = {
            row.id: row.platform_stripe_customer_id
            for row in rows
            if row.platform_stripe_customer_id
        }
        assert linked == decided
        assert linked, "somebody is linked with somebody"


def test_what_is_told_of_a_customer_at_once_is_never_mixed(engine: Engine) -> None:
    """Each upsert is there whole or not at all, though none locks what it looks at; one who is forgotten meanwhile is made anew."""
    with Session(engine) as session, session.begin():
        add_business(session)
        customer_id = add_customer(session, "c1").customer_id

    def tell(number: int) -> None:
        for word in range(WORDS):
            mark = f"{number % 3}-{word % 2}"
            given = CustomerArguments(
                business_id="sunrise", external_id="c1", name=f"name {mark}", email=f"{mark}@example.com", locale="en",
            )  # fmt: skip
            with Session(engine) as session:
                try:
                    with session.begin():
                        if number == 0 and word == WORDS // 2:
                            importing.erase(
                                session,
                                OWN,
                                customer_id=customer_id,
                                stripe_customer_id=None,
                                now=NOW,
                            )
                        else:
                            customers.upsert_customer(session, given, NOW)
                except IntegrityError:
                    continue  # two made the customer: the service tries again
            with Session(engine) as session:
                rows = session.scalars(select(CustomerRow)).all()
            for row in rows:
                assert row.email.partition("@")[0] == row.name.removeprefix("name "), row.name

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(tell, range(AT_ONCE)))
    with Session(engine) as session:
        (row,) = session.scalars(select(CustomerRow))
        assert row.public_id != customer_id


def test_a_link_and_an_import_of_the_same_customers_end_each_other_never(engine: Engine) -> None:
    """The link has locked its customer and will lock the one before, whom it takes the Stripe customer from; the import, which brings both
    and decides nothing, locks them the other way round. It waits for the decision, and both are done."""
    with Session(engine) as session, session.begin():
        add_business(session)
        before = add_customer(session, "c1").customer_id
        after = add_customer(session, "c2").customer_id
        one = Evidence(
            account=OWN,
            event_id="evt_1",
            stripe_event="evt_1",
            stripe_customer_id="cus_1",
            object_id="sub_1",
            source=Source.METADATA,
            said_at=NOW,
            names=CustomerRef(before),
        )
        take_in(session, [one], NOW)
    lines = [
        CustomerLine(external_id=name, name="New name", email=f"{name}@example.com")
        for name in ("c1", "c2")
    ]

    def bring() -> importing.Imported:
        with Session(engine) as session, session.begin():
            return importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)

    def waits() -> bool:
        with engine.connect() as connection:
            return bool(
                connection.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
                )
            )

    with ThreadPoolExecutor(1) as threads:
        started: list[Future[importing.Imported]] = []

        def interrupt(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if "FOR UPDATE" in statement and not started:
                started.append(threads.submit(bring))
                eventually(lambda: started[0].done() or waits(), within=30)

        with Session(engine) as session, session.begin():
            event.listen(session.connection(), "after_cursor_execute", interrupt)
            customers.link_customer(session, customer_id=after, stripe_customer_id="cus_1", now=NOW)
        assert started[0].result().updated == 2
    with Session(engine) as session:
        linked = {row.public_id: row for row in session.scalars(select(CustomerRow))}
    assert linked[before].platform_stripe_customer_id is None
    assert linked[after].platform_stripe_customer_id == "cus_1"
    assert {row.name for row in linked.values()} == {"New name"}


def test_an_import_whose_words_are_taken_back_at_that_moment_says_so(engine: Engine) -> None:
    """What it had read as said already is said no more: that line decides something now, and is left to the next import."""
    with Session(engine) as session, session.begin():
        add_business(session)
        one = add_customer(session, "c1", platform_stripe_customer_id="cus_1").customer_id
        add_customer(session, "c2")
    lines = [
        CustomerLine(
            external_id="c1", name="New", email="1@x.example", platform_stripe_customer_id="cus_1"
        ),
        CustomerLine(external_id="c2", name="New", email="2@x.example"),
    ]

    def take_back(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "lock_shared" not in statement:
            return
        with Session(engine) as other, other.begin():
            customers.unlink_customer(
                other, customer_id=one, stripe_customer_id=None, withdraw_only=True, now=NOW
            )

    with Session(engine) as session, session.begin():
        event.listen(session.connection(), "before_cursor_execute", take_back)
        done = importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)
    assert done.updated == 1
    assert [(error.row, error.error) for error in done.errors] == [
        (0, "written by somebody else meanwhile")
    ]
    with Session(engine) as session:
        names = dict(session.execute(select(CustomerRow.external_id, CustomerRow.name)).all())
    assert names == {"c1": "Maria Lopez", "c2": "New"}
