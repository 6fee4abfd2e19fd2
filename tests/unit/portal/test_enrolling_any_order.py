"""Who is enrolled, however what Stripe tells comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.domain.profiles import Profile, known
from services.portal.handlers import enrolling
from services.portal.models import Base, StripeProfileRow
from services.portal.rpc.enrolment import Enrolling
from tests.unit import tables
from tests.unit.portal.builders import add_business, add_customer, ago, ahead, enrol, seen
from tests.unit.portal.test_enrolling import later, rows, standings

pytestmark = pytest.mark.whole

MOMENTS = st.sampled_from([None, ago(hours=2), ago(hours=1)])
PROFILES = st.builds(
    Profile,
    email=st.sampled_from([None, "a@example.com", "b@example.com"]),
    told_at=MOMENTS,
    firm=st.booleans(),
    pays=st.sampled_from(["paid", "subscribed", "saved_method"]),
    pays_at=MOMENTS,
).map(lambda one: one if one.pays_at else Profile(one.email, None, None, one.told_at, one.firm))


@given(st.lists(PROFILES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_knows_no_order(told: list[Profile], random: Any) -> None:
    """Shuffled and repeated, the same events make the same profile; what was paid to others says nothing."""
    shuffled = told + told[:2]
    random.shuffle(shuffled)
    assert known(shuffled) == known(told)
    assert known([Profile()], told).pays is None


TOLD = st.lists(
    st.builds(
        seen,
        st.sampled_from(["cus_1", "cus_2", "cus_3"]),
        st.sampled_from(["a@example.com", "B@example.com", "b@example.com", "c@example.com", None]),
        at=st.integers(0, 5).map(lambda hours: ahead(hours=hours)),
        pays=st.sampled_from([None, "paid", "saved_method"]),
    ),
    max_size=8,
)


@given(TOLD, st.randoms(use_true_random=False))
def test_however_it_comes_nobody_shares_an_address(told: list[Any], random: Any) -> None:
    """In any order, in batches of any size: the same is known of each, no address is two customers', and once all has come again nobody
    is left who could be enrolled."""
    known_then = []
    for _ in range(2):
        with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
            add_business(session, enrolment="from_stripe")
            left = list(told)
            while left:
                batch = [left.pop() for _ in range(random.randint(1, len(left)))]
                enrol(session, *batch)
                addresses = [row.email.lower() for row in rows(session).values()]
                assert len(addresses) == len(set(addresses))
            enrol(session, *told)
            assert "new" not in {standing for standing, _ in standings(session).values()}
            known_then.append(
                {
                    (one.stripe_customer_id, one.email, one.firm, one.pays, one.pays_at)
                    for one in session.scalars(select(StripeProfileRow))
                }
            )
        random.shuffle(told)
    assert known_then[0] == known_then[1]


def test_all_that_wait_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a portion in a transaction."""
    monkeypatch.setattr(enrolling, "MOST_AGAIN", 2)
    service: Any = SimpleNamespace(db=tables.empty(Base.metadata))
    with service.db.transaction() as session:
        add_business(session, enrolment="from_stripe")
        for number in range(5):
            add_customer(session, f"v{number}", email=f"v{number}@example.com")
            enrol(session, seen(f"cus_{number}", f"a{number}@example.com", pays="paid"))
            enrol(session, seen(f"cus_{number}", f"v{number}@example.com", at=ahead(hours=1)))
            later(session, f"v{number}", f"w{number}@example.com")
    assert Enrolling.follow_waiting(service) is False
    with service.db.reading() as session:
        found = {row.email for name, row in rows(session).items() if name.startswith("stripe:")}
    assert found == {f"v{number}@example.com" for number in range(5)}
