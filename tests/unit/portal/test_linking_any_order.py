"""The links are a function of what was said, whatever the order in which it came."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers.events import handle
from services.portal.models import Base, CustomerRow
from shared import events
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    REFERENCES,
    add_business,
    add_customer,
    checkout,
    event,
    says,
    take_in,
)

pytestmark = pytest.mark.whole

STORIES = st.lists(
    st.tuples(
        st.sampled_from(["cus_1", "cus_2", "sub_1", "sub_2"]),
        st.sampled_from(["c1", "c2", "c3", None]),
        st.integers(0, 3),
    ),
    max_size=6,
)


@given(STORIES, st.lists(st.integers(1, 3), max_size=3), st.booleans(), st.integers(0, 999))
def test_any_order_and_any_repetition_end_the_same(
    changes: list[tuple[str, str | None, int]], carts: list[int], gone: bool, seed: int
) -> None:
    """The links are a function of what was said: shuffled, repeated, in batches or alone, the same customers are linked."""
    dice = random.Random(seed)
    ends = set()
    for _ in range(3):
        with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
            add_business(session)
            made = {name: add_customer(session, name).customer_id for name in ("c1", "c2")}
            story = [
                *_true_story(changes),
                *(
                    checkout(
                        REFERENCES.write(made[f"c{n}"], "sunrise", NOW),
                        f"cus_{n}",
                        session_id=f"cs_{i}",
                    )
                    for i, n in enumerate(carts)
                    if n < 3
                ),
            ]
            if gone:
                story.append(event(events.CustomerDeleted(stripe_customer_id="cus_2")))
            told = story + dice.sample(story, len(story) // 2)
            dice.shuffle(told)
            for one in told:
                if isinstance(one.data, events.CustomerDeleted):
                    handle(session, one, NOW)
                else:
                    take_in(session, one)
            add_customer(session, "c3")
            found = session.execute(
                select(CustomerRow.external_id, CustomerRow.platform_stripe_customer_id)
            )
            ends.add(frozenset(found.tuples().all()))
    assert len(ends) == 1


def _true_story(changes: list[tuple[str, str | None, int]]) -> list[events.Event]:
    """Changes of metadata as Stripe tells them: each object's in its order, never twice the same name in one second."""
    now: dict[str, str | None] = {}
    used: set[tuple[str, str | None, int]] = set()
    story, second = [], 0
    for object_id, names, pause in changes:
        second += pause
        before = now.get(object_id)
        if names == before or (object_id, names, second) in used:
            continue
        used |= {(object_id, names, second), (object_id, before, second)}
        now[object_id] = names
        story.append(
            says(
                names,
                object_id.replace("sub", "cus"),
                object_id=object_id,
                at=NOW + dt.timedelta(seconds=second),
                business="sunrise" if names else None,
                before=before,
                before_business="sunrise" if before else None,
            )
        )
    return story
