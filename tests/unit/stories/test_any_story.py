"""Stories that nobody thought of: whatever happens, in whatever order and however often it is told."""

from __future__ import annotations

import os
import random
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.notification_rules import STOPPED_BECAUSE
from services.notifier.domain.vocabulary import Reason
from tests.unit.stories import steps
from tests.unit.stories.claims import contradictions
from tests.unit.stories.drawing import Drawn, draw
from tests.unit.stories.rows import ACH, NEEDS_BANK, SEPA, SEPA_FAILS, Row
from tests.unit.stories.steps import BAD_CARD, GOOD_CARD

STORIES = os.environ.get("STORIES")
"""How many to invent, by the dice of the day; without it a few, the same each time."""

CODES = st.sampled_from(
    [
        "insufficient_funds",
        "generic_decline",
        "expired_card",
        "lost_card",
        "authentication_required",
    ]
)
METHODS = st.sampled_from([GOOD_CARD, BAD_CARD, NEEDS_BANK, SEPA, SEPA_FAILS, ACH])
STEPS = st.one_of(
    st.builds(steps.renewal_fails, CODES),
    st.builds(steps.next_try, st.one_of(st.none(), CODES)),
    st.builds(steps.new_method, METHODS),
    st.builds(steps.pays_at_checkout, METHODS),
    st.builds(steps.pays_by_debit, st.sampled_from([SEPA, SEPA_FAILS, ACH])),
    st.builds(steps.credits, st.sampled_from([0.5, 1.0])),
    st.builds(steps.collects, st.booleans()),
    st.builds(steps.confirms, st.booleans()),
    st.builds(steps.holds_events, st.booleans()),
    st.builds(steps.stripe_is_busy, st.booleans()),
    st.builds(steps.reschedules, days=st.sampled_from([1, 6])),
    st.builds(steps.wait, hours=st.sampled_from([1, 5, 30, 100])),
    st.sampled_from(
        [
            steps.another_subscription,
            steps.bank_renews_the_card,
            steps.cancels,
            steps.cancels_at_period_end,
            steps.debit_settles,
            steps.disputes,
            steps.gives_it_up,
            steps.invoice_by_api,
            steps.loses_the_method,
            steps.pauses(),
            steps.pays_by_hand,
            steps.pays_outside,
            steps.portico_looks_through_unpaid,
            steps.renewal,
            steps.reschedules(),
            steps.sends_an_invoice,
            steps.takes_the_cancelling_back,
            steps.voids,
        ]
    ),
)
BEGINNINGS = st.one_of(
    st.builds(steps.opens, st.sampled_from(["pm_card_visa", SEPA, ACH])),
    st.just(steps.opens_the_old_way),
    st.builds(steps.checks_out, st.sampled_from([BAD_CARD, NEEDS_BANK, SEPA_FAILS])),
)
ACCOUNTS = st.fixed_dictionaries(
    {},
    optional={
        "after_last_retry": st.sampled_from(["unpaid", "past_due"]),
        "automations": st.just(True),
        "cancel_on_dispute": st.just(True),
        "retry_debits": st.just(True),
    },
)
AT_LAST = (
    steps.holds_events(False),
    steps.stripe_is_busy(False),
    steps.wait(hours=2),
)
"""All is told, and everybody has had the time to do what follows."""


STOPPED = frozenset(one.value for one in STOPPED_BECAUSE.values())
"""Why a failure was not told while nobody collected its invoice."""


def untold(drawn: Drawn) -> list[str]:
    """Failures that the customer should have heard of once, and heard of never or twice."""
    rows = [one for one in drawn.house.notifier.rows() if Kind(one.kind) in DUNNING]
    told = Counter(one.charge_id for one in rows if one.sent_at and one.charge_id)
    found = [f"{charge} was told {times} times" for charge, times in told.items() if times > 1]
    found += [
        f"{one.dedupe_key} has neither a mail nor a reason"
        for one in rows
        if one.sent_at is None and not one.reason
    ]
    own = {Reason.OWN_RETRY}
    for invoice_id in drawn.asked:
        mine = [one for one in rows if one.invoice_id == invoice_id]
        if {one.reason for one in mine} - own and not any(one.sent_at for one in mine):
            found.append(f"{invoice_id} is asked for, and no mail told of it")
        held = [one for one in mine if one.sent_at or one.told_in or one.reason in STOPPED]
        if held and held[-1].reason in STOPPED:
            found.append(f"{invoice_id} is collected again, and nobody told of its last failure")
    return found


@settings(
    max_examples=int(STORIES or 12),
    derandomize=STORIES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(BEGINNINGS, st.lists(STEPS, min_size=2, max_size=9), ACCOUNTS, st.integers(0, 9999))
def test_no_story_breaks_a_promise(beginning, then, account, dice) -> None:  # type: ignore[no-untyped-def]
    """Nothing is charged after its collection was stopped, nobody is thanked for money that did not come, no date is
    promised that Stripe has withdrawn, each failure is told once, and no two rooms disagree at the end."""
    row = Row("invented", (beginning, steps.renewal_fails()), (*then, *AT_LAST), account)
    drawn = draw(row, random.Random(dice))
    assert contradictions(drawn) == []
    assert untold(drawn) == []
