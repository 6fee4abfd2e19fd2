"""Links are decided by several processes at the same moment, on PostgreSQL."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, select
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
from shared.contracts.rpc.portal import CustomerArguments
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
