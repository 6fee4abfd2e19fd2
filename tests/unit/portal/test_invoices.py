"""What is known of an invoice, whatever the order in which its events come."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.portal.domain.invoices import Invoice, with_method_change
from services.portal.domain.notice import State, Tone, make_notice, state_of
from services.portal.domain.snapshot import Subscription
from shared.contracts.invoices import SubscriptionState, owed
from shared.contracts.observations import Observation
from tests.unit.portal.builders import NOW, What, ago, ahead, invoice, observation, owned

FAILED = observation(at=ago(days=3))
DATED = observation(What.UPDATED, at=ago(days=3), next_payment_attempt=ahead(days=1))
FAILED_AGAIN = observation(at=ago(days=1), attempt_count=2)
PAID = observation(What.CLOSED, at=ago(hours=1), status="paid", amount_remaining=0, attempt_count=2)

_moments = st.integers(0, 5).map(lambda minutes: ago(minutes=minutes))
_observations = st.builds(
    observation,
    what=st.sampled_from(list(What)),
    at=_moments,
    status=st.sampled_from(["draft", "open", "paid", "void", "uncollectible"]),
    amount_remaining=st.sampled_from([0, 5000, 12900]),
    attempt_count=st.integers(0, 3),
    next_payment_attempt=st.none() | _moments,
    own_retry=st.booleans(),
)


def at_all(*seen: Observation) -> set[Invoice]:
    """The states after each order of the observations."""
    return {invoice(*order) for order in itertools.permutations(seen)}


@given(st.lists(_observations, max_size=5), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(seen: list[Observation], random: object) -> None:
    """Any order of the same observations, with any of them repeated, ends in the same state."""
    shuffled = [*seen, *seen[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert invoice(*shuffled) == invoice(*seen)


def test_a_paid_invoice_stays_paid_when_the_failure_comes_late() -> None:
    """`paid` before `payment_failed` is still paid, and the page still says thank you."""
    states = at_all(FAILED, FAILED_AGAIN, PAID)
    assert len(states) == 1
    known = states.pop()
    assert not owed(known)
    assert state_of(*owned(known), NOW) is State.PAID


def test_thanks_end_after_a_day() -> None:
    """A payment of the day before yesterday is no news."""
    assert state_of(*owned(invoice(FAILED, PAID)), ahead(days=2)) is None


def test_a_payment_that_never_failed_is_no_news() -> None:
    """An autopay charge that went through at once says nothing on the page."""
    assert state_of(*owned(invoice(PAID)), NOW) is None


def test_the_date_of_the_next_attempt_is_filled_by_a_later_update() -> None:
    """`next_payment_attempt` may be missing in the failure and come in an update, in either order."""
    states = at_all(FAILED, DATED)
    assert {each.next_payment_attempt for each in states} == {ahead(days=1)}


def test_a_new_attempt_forgets_the_date_of_the_one_before() -> None:
    """After another failure the old date says nothing about what comes next."""
    assert {each.next_payment_attempt for each in at_all(FAILED, DATED, FAILED_AGAIN)} == {None}


def test_only_failed_autopay_invoices_with_something_due_are_owed() -> None:
    """First payments at checkout, invoices paid by hand and empty ones are not asked for."""
    assert owed(invoice(FAILED))
    assert not owed(invoice(observation(billing_reason="subscription_create")))
    assert not owed(invoice(observation(collection_method="send_invoice")))
    assert not owed(invoice(observation(amount_remaining=0)))
    assert not owed(invoice(observation(What.UPDATED)))
    assert not owed(invoice(FAILED, observation(What.CLOSED, status="void")))
    assert not owed(invoice(FAILED, observation(What.CLOSED, status="uncollectible")))


def test_a_bad_debt_can_still_be_paid() -> None:
    """`uncollectible` is not the end: a payment after it wins."""
    given_up = observation(What.CLOSED, at=ago(hours=2), status="uncollectible")
    assert {each.status for each in at_all(FAILED, given_up, PAID)} == {"paid"}


def test_a_new_payment_method_is_being_charged_until_an_answer_comes() -> None:
    """Card saved, then failed again: settling first, then "that one didn't work either"."""
    changed = with_method_change(invoice(FAILED), ago(minutes=1))
    assert changed.retrying_since == ago(minutes=1)
    assert state_of(*owned(changed), NOW) is State.SETTLING
    again = with_method_change(
        invoice(FAILED, observation(at=ago(seconds=50), own_retry=True)), ago(minutes=1)
    )
    assert again.retrying_since is None
    assert state_of(*owned(again), NOW) is State.STILL_DECLINED


def test_within_one_second_only_our_own_retry_answers_a_new_payment_method() -> None:
    """Stripe's clock ticks in seconds: a failure of the same second came before the change, unless it is ours."""
    at = ago(minutes=1)
    theirs = with_method_change(invoice(observation(at=at)), at)
    ours = with_method_change(
        invoice(observation(at=ago(days=1)), observation(at=at, own_retry=True)), at
    )
    assert theirs.retrying_since == at
    assert ours.retrying_since is None


def test_a_change_before_the_first_failure_explains_nothing() -> None:
    """A card changed last month is neither being retried nor "not working either"."""
    known = with_method_change(invoice(FAILED), ago(days=30))
    assert known.retrying_since is None
    assert state_of(*owned(known), NOW) is State.DECLINED


def test_a_payment_that_takes_days_stops_updating() -> None:
    """After a quarter of an hour without an answer the page says that it waits for the bank, and rests."""
    known = with_method_change(invoice(FAILED), ago(hours=1))
    notice = make_notice(owned(known), now=NOW)
    assert notice.tone is Tone.PENDING
    assert notice.refresh_seconds is None


def test_a_payment_that_never_began_is_not_called_under_way() -> None:
    """Collecting was stopped when the new payment method came: once billing knows of no payment, the invoice is due as before."""
    known = with_method_change(invoice(FAILED), ago(hours=3))
    assert state_of(*owned(known), NOW) is State.PENDING, "nobody was asked yet"
    asked = known.with_changes(ask_again_at=ago(minutes=1))
    assert state_of(*owned(asked), NOW) is State.DECLINED
    assert state_of(*owned(asked), ago(hours=2)) is State.PENDING, "our own try may wait an hour"
    under_way = asked.with_changes(under_way_since=asked.retrying_since)
    assert state_of(*owned(under_way), NOW) is State.PENDING


def test_a_confirmation_is_asked_for_whichever_event_comes_first() -> None:
    """`payment_failed` and `payment_action_required` of one attempt mean: confirm."""
    asked = observation(What.ACTION_REQUIRED, at=ago(hours=1))
    also = observation(at=ago(hours=1) + dt.timedelta(seconds=1))
    assert {state_of(*owned(each), NOW) for each in at_all(asked, also)} == {State.CONFIRM}


def test_a_later_decline_ends_the_request_to_confirm() -> None:
    """Once a later attempt is declined, confirming the old one leads nowhere."""
    asked = observation(What.ACTION_REQUIRED, at=ago(days=1))
    declined = observation(at=ago(hours=1), attempt_count=2)
    assert {state_of(*owned(each), NOW) for each in at_all(asked, declined)} == {State.DECLINED}


def test_a_date_in_the_past_is_not_promised() -> None:
    """The page names the next attempt only while it is still to come."""
    stale = looked_up(invoice(observation(next_payment_attempt=ago(hours=1))))
    fresh = looked_up(invoice(observation(next_payment_attempt=ahead(hours=1))))
    assert make_notice(owned(stale), now=NOW).lines[0].next_attempt is None
    assert make_notice(owned(fresh), now=NOW).lines[0].next_attempt == ahead(hours=1)


def looked_up(known: Invoice, **learnt: Any) -> Invoice:
    """The invoice after billing was asked about its last failure."""
    return known.with_changes(card_of_failure=known.last_failed_at, **learnt)


def test_a_date_is_promised_only_when_a_charge_will_really_happen() -> None:
    """Not while the decline isn't known, nor after one that stops Stripe's tries, nor when Stripe has given up."""
    dated = invoice(observation(next_payment_attempt=ahead(days=1)))

    def promised(known: Invoice, subscription: SubscriptionState | None = None) -> bool:
        (mine,) = owned(known)
        line = make_notice([replace(mine, subscription=subscription)], now=NOW).lines[0]
        return line.next_attempt is not None

    assert promised(looked_up(dated))
    assert not promised(dated)
    assert not promised(looked_up(dated, needs_new_method=True))
    assert not promised(looked_up(dated), SubscriptionState("unpaid"))
    assert not promised(looked_up(dated), SubscriptionState("canceled", "payment_failed"))


def test_a_bad_debt_is_nothing_to_speak_of() -> None:
    """The business has let it go: the page asks for nothing and promises nothing, however its subscription stands."""
    given_up = observation(What.CLOSED, at=ago(hours=1), status="uncollectible")
    for state in (None, SubscriptionState("past_due"), SubscriptionState("unpaid")):
        (mine,) = owned(invoice(FAILED, given_up))
        assert make_notice([replace(mine, subscription=state)], now=NOW).tone is Tone.WELL


def test_nobody_is_all_set_while_an_invoice_that_was_sent_is_unpaid() -> None:
    """It is known where a try by hand failed; else by its subscription alone, whose invoices are sent. Of what is charged by itself the
    notice has its own rules, and a payment under way is none to ask for."""

    def tone(*seen: Observation, **stands: Any) -> Tone:
        invoices = owned(invoice(*seen)) if seen else ()
        known = {"status": "active", "collection_paused": None, **stands}
        given = Subscription(ref=1, subscription_id="sub_1", **known)
        return make_notice(invoices, now=NOW, subscriptions=[given]).tone

    by_hand = observation(collection_method="send_invoice")
    paid = observation(What.CLOSED, status="paid", amount_remaining=0, collection_method="send_invoice")  # fmt: skip
    assert tone(by_hand) is Tone.UNPAID
    assert tone(by_hand, paid) is not Tone.UNPAID
    assert tone(status="past_due") is tone(status="unpaid") is Tone.UNPAID
    assert tone(status="past_due", collection_paused=False) is Tone.WELL
    assert tone(status="active") is tone(status="canceled") is Tone.WELL
    assert tone(FAILED, status="past_due") is Tone.DECLINED


def test_who_left_is_asked_for_nothing() -> None:
    """An invoice of a subscription that somebody ended is collected no more; one that ended unpaid is owed."""

    def states(reason: str) -> State | None:
        (mine,) = owned(invoice(FAILED))
        return state_of(replace(mine, subscription=SubscriptionState("canceled", reason)), NOW)

    assert states("cancellation_requested") is None
    assert states("payment_disputed") is None
    assert states("payment_failed") is State.DECLINED


def test_nobody_is_thanked_for_what_was_let_go() -> None:
    """A credit note for all of it makes Stripe say `paid` without any money."""
    at = ago(hours=1)
    waived = observation(
        What.CLOSED, at=at, status="paid", amount_due=0, amount_remaining=0, amount_credited=12900
    )
    part = observation(
        What.CLOSED,
        at=at,
        status="paid",
        amount_due=2900,
        amount_paid=2900,
        amount_remaining=0,
        amount_credited=10000,
    )
    assert state_of(*owned(invoice(FAILED, waived)), NOW) is None
    (line,) = make_notice(owned(invoice(FAILED, part)), now=NOW).lines
    assert (line.state, line.amount) == (State.PAID, 2900)


def test_what_is_owed_hides_what_was_paid_and_the_worst_comes_first() -> None:
    """One notice: the invoice that needs the customer sets its tone."""
    settling = with_method_change(invoice(FAILED), ago(minutes=1))
    notice = make_notice(owned(invoice(FAILED, PAID), settling, invoice(FAILED)), now=NOW)
    assert notice.tone is Tone.DECLINED
    assert [line.state for line in notice.lines] == [State.DECLINED, State.SETTLING]
    assert notice.refresh_seconds is None


def test_a_customer_who_may_be_just_back_sees_a_page_that_looks_again() -> None:
    """After Stripe's page was opened the page updates for a while, until an answer is here."""
    owed = invoice(FAILED)
    assert make_notice(owned(owed), now=NOW, billing_opened_at=ago(minutes=1)).refresh_seconds == 5
    assert make_notice(owned(owed), now=NOW, billing_opened_at=ago(hours=1)).refresh_seconds is None
    answered = invoice(FAILED, observation(at=ago(seconds=10)))
    notice = make_notice(owned(answered), now=NOW, billing_opened_at=ago(minutes=1))
    assert notice.refresh_seconds is None


def test_a_saved_card_is_confirmed_when_nothing_is_owed() -> None:
    """Coming back after changing the card, the customer reads that it is saved."""

    def tone(opened: dt.datetime | None, changed: dt.datetime | None) -> Tone:
        return make_notice(
            owned(), now=NOW, billing_opened_at=opened, method_changed_at=changed
        ).tone

    assert tone(ago(minutes=6), ago(minutes=5)) is Tone.SAVED
    assert tone(ago(days=5), ago(days=5)) is Tone.WELL
    assert tone(ago(minutes=6), None) is Tone.WELL


def test_a_card_that_somebody_else_set_is_not_confirmed() -> None:
    """A card saved before the customer ever went to Stripe's page from here is no news to confirm."""

    def tone(opened: dt.datetime | None) -> Tone:
        changed = ago(minutes=5)
        return make_notice(
            owned(), now=NOW, billing_opened_at=opened, method_changed_at=changed
        ).tone

    assert tone(None) is Tone.WELL
    assert tone(ago(minutes=1)) is Tone.WELL
