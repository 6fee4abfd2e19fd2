"""The host's claim ends the same, whatever came first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import resolved_links
from services.portal.models import Base, CustomerRow
from services.portal.tokens.links import Claim
from tests.unit import tables
from tests.unit.portal.builders import NOW, add_business, add_customer, ahead, enrol, seen
from tests.unit.portal.test_claiming import by_import, by_link, by_metadata, by_upsert, one_row

pytestmark = pytest.mark.whole

STEPS = st.lists(
    st.sampled_from(["pays", "again", "upsert", "link", "import", "metadata", "host_tells"]),
    min_size=1,
    max_size=7,
)


@given(STEPS)
def test_whatever_comes_first_a_claim_ends_in_one_row(steps: list[str]) -> None:
    """Paying, being told of by the host and being claimed, in any order and repeated: one customer, who is the host's once claimed,
    and every link that was ever given opens their page."""
    do: dict[str, Callable[[Session], Any]] = {
        "pays": lambda session: enrol(session, seen("cus_1", "m@example.com", pays="paid")),
        "again": lambda session: enrol(session, seen("cus_1", "m@example.com", at=ahead(hours=1))),
        "upsert": by_upsert,
        "link": by_link,
        "import": by_import,
        "metadata": by_metadata,
        "host_tells": lambda session: add_customer(session, "c1", email="c1@example.com"),
    }
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
        add_business(session, enrolment="from_stripe")
        given_links: set[str] = set()
        for step in [*steps, "upsert"]:
            do[step](session)
            session.flush()
            given_links |= set(session.scalars(select(CustomerRow.public_id)))
        row = one_row(session)
        assert (row.external_id, row.platform_stripe_customer_id) == ("c1", "cus_1")
        for public_id in given_links:
            (found,) = resolved_links.look_many(session, [public_id], NOW)
            assert found is not None
            assert resolved_links.current(found, Claim(public_id, 1)).customer_id == row.public_id
