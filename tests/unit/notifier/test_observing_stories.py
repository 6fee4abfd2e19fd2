"""Observe, then live, in any story: only what has failed since the line is told, and what a person accepts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.observing import happened_at
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.handlers import subscriptions
from services.notifier.models import Base, IncidentRow
from services.notifier.workflows import observing as workflow
from shared import events as contract
from tests.unit import tables
from tests.unit.notifier.conftest import House, event, failed, paid
from tests.unit.notifier.fakes import FakePortal, a_contact
from tests.unit.notifier.observed_house import (
    QUIET,
    SUNRISE,
    accept,
    all_that_waits,
    business,
    go_live,
    observe,
    page,
    until_quiet,
)

pytestmark = pytest.mark.whole

# --- any story -------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("fail"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("action"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("late"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("pay"), st.integers(1, 3)),
    st.tuples(st.just("unknown"), st.booleans()),
    st.tuples(
        st.just("end"),
    ),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.2, 3, 30, 200])),
    st.tuples(
        st.just("send"),
    ),
)


def play(house: House, steps: list[Any], line: dt.datetime | None = None) -> None:
    """What happens at Stripe and here; what comes late happened before the line."""
    for number, (what, *rest) in enumerate(steps):
        now = house.clock()
        if what in ("fail", "action", "late"):
            invoice, attempt = rest
            kinds = {"action": contract.InvoicePaymentActionRequired}
            at = (line or now) - dt.timedelta(hours=5) if what == "late" else now
            kind = kinds.get(what, contract.InvoicePaymentFailed)
            house.hear(
                event(
                    kind, f"evt_{now}_{number}", invoice_id=f"in_{invoice}", attempt_count=attempt, occurred_at=at
                )
            )  # fmt: skip
        elif what == "pay":
            house.hear(paid(f"evt_{now}_{number}", invoice_id=f"in_{rest[0]}", occurred_at=now))
        elif what == "unknown":
            if rest[0]:
                house.gone = house.portal.people.pop("cus_1", None) or house.gone
            elif house.gone is not None:
                house.portal.people["cus_1"] = house.gone
        elif what == "end":
            with house.db.transaction() as session:
                subscriptions.note_silent(session, now)
        elif what == "wait":
            house.clock.forward(hours=rest[0])
        until_quiet(house)


def assert_only_what_has_failed_since_is_told(house: House, line: dt.datetime) -> None:
    """No email of what happened before the line; and none is missing of what failed after it and is owed, unless it waits for a customer
    whom nobody knows."""
    rows = house.rows()
    since = [row for row in rows if happened_at(row.occurred_at or row.created_at, row.created_at) >= line]  # fmt: skip
    told = {mail.notification_id for mail in house.mailer.inbox}
    assert told <= {row.notification_id for row in since}
    unknown = {row.invoice_id for row in rows if row.lookups and row.status != Status.OBSERVED}
    failures = [
        row for row in since if Kind(row.kind) in DUNNING and row.reason != Reason.OVERTAKEN
    ]
    missing = {row.invoice_id for row in failures} - unknown
    for incident in house.table(IncidentRow):
        if incident.closed_at is not None or incident.last_mailed_at is not None:
            missing.discard(incident.invoice_id)
    assert missing == set()


@given(
    observing=st.lists(STEPS, max_size=10),
    afterwards=st.lists(STEPS, max_size=8),
    quiet=st.booleans(),
    installation=st.booleans(),
)
def test_no_story_sends_anything_of_the_time_before(
    observing: list[Any], afterwards: list[Any], quiet: bool, installation: bool
) -> None:
    """Whatever happens while it observes, nothing goes; whatever happens then, nothing of it goes either, all that fails then is told, and
    nothing stays pending but what waits for a customer. What is accepted goes at most once a failure."""
    house = House(tables.empty(Base.metadata), portal=FakePortal({"cus_1": a_contact()}))
    changes: dict[str, Any] = {"reminders": QUIET} if quiet else {}
    business(house, **changes)
    if installation:
        house.observes = True
    else:
        observe(house)
    house.gone = house.portal.people["cus_1"]
    play(house, observing)
    assert house.mailer.inbox == []
    house.portal.people["cus_1"] = house.gone
    go_live(house)
    line = house.clock()
    house.gone = house.portal.people["cus_1"]
    house.observes = False
    play(house, afterwards, line)
    house.portal.people["cus_1"] = house.gone
    all_that_waits(house)
    assert_only_what_has_failed_since_is_told(house, line)
    told = len(house.mailer.inbox)
    waits = [row for row in house.rows() if row.status in ACTIVE]
    assert all(row.lookups or row.reason == Reason.WAITS_FOR_END for row in waits)
    observed = [row for row in house.rows() if row.status == Status.OBSERVED]
    if observed:
        accept(house, *observed)
        accept(house, *observed)
        all_that_waits(house)
    assert len(house.mailer.inbox) <= told + len(observed)
    assert not any(row.status == Status.OBSERVED for row in house.rows())


def test_a_storm_is_observed_and_exactly_what_is_accepted_goes(house: House) -> None:
    """Fifty fail: no email, all observed. Live: still none. Accepted: those, less what was paid meanwhile."""
    people = house.portal.people
    for number in range(50):
        people[f"cus_{number}"] = a_contact(email=f"c{number}@example.com")
    observe(house)
    for number in range(50):
        house.hear(failed(invoice_id=f"in_{number}", stripe_customer_id=f"cus_{number}"))
    assert until_quiet(house) == ["observed"] * 50
    go_live(house)
    all_that_waits(house)
    assert house.mailer.inbox == []
    offered = page(house, limit=500).notifications
    assert len(offered) == 50
    for number in range(5):
        house.hear(paid(invoice_id=f"in_{number}"))
    people[SUNRISE] = people["cus_1"]
    wanted = [one.notification_id for one in offered if one.invoice_id != "in_49"]
    workflow.accept(house.db, house.portal, wanted, house.clock(), observes=False)
    outcomes = until_quiet(house)
    assert (outcomes.count("sent"), outcomes.count("suppressed")) == (44, 5)
    expected = {f"c{number}@example.com" for number in range(5, 49)}
    assert {mail.to for mail in house.mailer.inbox} == expected
    assert len(house.mailer.inbox) == 44
    all_that_waits(house)
    assert len(house.mailer.inbox) == 44
    assert [row.invoice_id for row in house.rows() if row.status == "observed"] == ["in_49"]
