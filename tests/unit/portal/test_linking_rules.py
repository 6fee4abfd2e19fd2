"""The rules by which evidence decides, without a database."""

from __future__ import annotations

import datetime as dt
import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.portal.domain.linking import (
    RANK,
    Claim,
    CustomerRef,
    Effect,
    Reason,
    Source,
    Spell,
    Statement,
    decide,
    history,
    sequence,
)
from tests.unit.portal.builders import NOW, ago

A, B = 1, 2
_ids = itertools.count(1)


def claim(
    customer: int,
    stripe_id: str = "cus_1",
    source: Source = Source.METADATA,
    said_at: dt.datetime = NOW,
) -> Claim:
    return Claim(next(_ids), stripe_id, customer, source, said_at)


def linked(*claims: Claim, denied: tuple[tuple[int, str], ...] = ()) -> dict[int, str]:
    return {
        customer: decisive.stripe_customer_id
        for customer, decisive in decide(claims, denied).links.items()
    }


def test_the_strongest_source_decides() -> None:
    """Host before metadata before reference before enrolment before unknown, whatever was said first."""
    for weaker, stronger in itertools.combinations(sorted(RANK, key=lambda one: RANK[one]), 2):
        early, late = (
            claim(A, source=weaker, said_at=ago(days=9)),
            claim(B, source=stronger),
        )
        decision = decide([early, late])
        assert linked(early, late) == {B: "cus_1"}
        assert decision.effects == {early.id: Effect.OVERRULED, late.id: Effect.DECIDES}
        assert decision.conflicts == ()


def test_among_equals_the_first_word_stays() -> None:
    """A second customer for a Stripe customer, and a second Stripe customer for a customer, are in conflict."""
    first = claim(A, said_at=ago(days=2))
    other_customer, other_stripe = claim(B, said_at=ago(days=1)), claim(A, "cus_2")
    decision = decide([other_stripe, other_customer, first])
    assert linked(first, other_customer, other_stripe) == {A: "cus_1"}
    assert {one.claim.id: one.reason for one in decision.conflicts} == {
        other_customer.id: Reason.STRIPE_CUSTOMER_TAKEN,
        other_stripe.id: Reason.CUSTOMER_HAS_ANOTHER,
    }


def test_equals_of_one_moment_link_nobody() -> None:
    """Nobody can tell which of two came first: neither counts, and nothing weaker settles what they dispute."""
    one, other = claim(A), claim(B)
    weaker = claim(A, source=Source.REFERENCE, said_at=ago(days=9))
    assert linked(one, other, weaker) == {}
    assert {each.reason for each in decide([one, other, weaker]).conflicts} == {Reason.SAID_AT_ONCE}
    assert linked(one, other, claim(B, source=Source.HOST)) == {B: "cus_1"}


def test_two_who_say_the_same_agree() -> None:
    """The customer's and the subscription's metadata name one customer: no conflict, even in one second."""
    one, other = claim(A), claim(A)
    decision = decide([one, other])
    assert sorted(decision.effects.values()) == [Effect.AGREES, Effect.DECIDES]
    assert linked(one, other) == {A: "cus_1"}


def test_what_the_host_denies_is_not_linked() -> None:
    """Not these two; but the Stripe customer may be somebody else's, and the customer somebody else."""
    assert linked(claim(A), denied=((A, "cus_1"),)) == {}
    assert linked(claim(A), claim(B), denied=((A, "cus_1"),)) == {B: "cus_1"}
    assert linked(claim(A), claim(A, "cus_2"), denied=((A, "cus_1"),)) == {A: "cus_2"}


CLAIMS = st.lists(
    st.builds(
        claim,
        st.integers(1, 4),
        st.sampled_from(["cus_1", "cus_2", "cus_3"]),
        st.sampled_from(list(Source)),
        st.sampled_from([ago(days=3), ago(days=2), ago(days=1)]),
    ),
    max_size=12,
)


@given(CLAIMS, st.randoms(use_true_random=False))
def test_a_decision_knows_no_order(claims: list[Claim], random: object) -> None:
    """Whatever the order of the rows: the same links, one Stripe customer a customer and the reverse, and each link
    rests on a claim to which nothing stronger objects."""
    expected = linked(*claims)
    shuffled = list(claims)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert linked(*shuffled) == expected
    assert len(set(expected.values())) == len(expected)
    decision = decide(claims)
    for one in claims:
        if decision.effects[one.id] is Effect.CONFLICT:
            assert expected.get(one.customer) != one.stripe_customer_id
    assert set(decision.effects) == {one.id for one in claims}


# --- one object's words --------------------------------------------------------------------------------------

NAMES = {letter: CustomerRef(letter) for letter in "ABC"}


def said(names: str, before: str, at: dt.datetime = NOW, event_id: str = "") -> Statement:
    """`said("B", "A")`: it named A before, and names B now; "-" is nobody."""
    number = next(_ids)
    return Statement(number, at, event_id or f"evt_{number}", NAMES.get(names), NAMES.get(before))


def last(*statements: Statement) -> str:
    names = sequence(statements)[-1].names
    return "-" if names is None else names.customer


def test_the_latest_word_of_an_object_stands_whatever_comes_last() -> None:
    """Metadata that was moved or removed is moved or removed, also when that is heard first."""
    story = [
        said("A", "-", ago(hours=3)),
        said("B", "A", ago(hours=2)),
        said("-", "B", ago(hours=1)),
    ]
    for order in itertools.permutations(story):
        assert last(*order) == "-"
    assert last(*story[:2]) == "B"


def test_changes_of_one_second_follow_each_other() -> None:
    """Stripe's time has whole seconds: within one, each change says what it replaced. Event ids say nothing."""
    for ids in itertools.permutations(["evt_1", "evt_2", "evt_3"]):
        story = [
            said("A", "-", event_id=ids[0]),
            said("B", "A", event_id=ids[1]),
            said("C", "B", event_id=ids[2]),
        ]
        for order in itertools.permutations(story):
            assert last(*order) == "C"


def test_a_change_back_within_a_second_changed_nothing() -> None:
    """A, B, A in one second: what was said before that second stands."""
    circle = [said("B", "A"), said("A", "B")]
    for order in itertools.permutations([said("A", "-", ago(hours=1)), *circle]):
        assert last(*order) == "A"


def test_a_word_repeated_stands_since_it_was_first_said() -> None:
    """A later update of the customer with the same metadata is no newer claim."""
    first, again = said("A", "-", ago(hours=2)), said("A", "A")
    assert sequence([again, first]) == [first]


@given(
    st.lists(st.tuples(st.sampled_from("ABC-"), st.integers(0, 4)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_a_true_story_ends_as_it_ended(changes: list[tuple[str, int]], random: object) -> None:
    """Any changes at any seconds, told in any order: the last one stands. (A circle within one second is as good as none.)"""
    now, story, second = "-", [], 0
    for names, pause in changes:
        second += pause
        if names != now:
            story.append(said(names, now, NOW + dt.timedelta(seconds=second)))
        now = names
    if not story:
        return
    visits = [(one.said_at, one.names) for one in story]
    if len(visits) != len(set(visits)):
        return  # the same name twice in a second: two events that say the same can't be told apart
    random.shuffle(story)  # type: ignore[attr-defined]
    assert last(*story) == now


def test_history_tells_when_a_link_changed() -> None:
    """The decision over what stood at each moment: linked, replaced by stronger evidence, unlinked."""
    by_reference = Spell(claim(A, "cus_1", Source.REFERENCE, ago(days=3)), None)
    by_host = Spell(claim(A, "cus_2", Source.HOST, ago(days=2)), ago(days=1))
    told = history([by_reference, by_host], A)
    assert [(at, one and one.stripe_customer_id) for at, one in told] == [
        (ago(days=3), "cus_1"),
        (ago(days=2), "cus_2"),
        (ago(days=1), "cus_1"),
    ]
