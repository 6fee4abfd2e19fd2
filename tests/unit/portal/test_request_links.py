"""The links with which a business answers, and the rules of the steps that follow."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.domain.cancelling import (
    LONGEST_PAUSE,
    Decision,
    Step,
    next_step,
    pause_after,
)
from services.portal.tokens.links import Links
from services.portal.tokens.request_links import RequestLinks
from services.portal.tokens.signing import BadToken
from shared.settings import Secret

KEY = Secret("k" * 32)
PUBLIC = "https://portal.example.com"
REQUEST_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def test_a_link_says_the_request_and_the_answer() -> None:
    """Each of the two links reads back as what it was made for."""
    links = RequestLinks([KEY], PUBLIC)
    for decision in Decision:
        url = links.url(REQUEST_ID, decision)
        assert url.startswith(f"{PUBLIC}/requests/")
        answer = links.read(url.rpartition("/")[2])
        assert (answer.request_id, answer.decision) == (REQUEST_ID, decision)


@given(st.integers(0, 66), st.sampled_from("Aa0_-.x"))
def test_a_changed_link_is_none(place: int, letter: str) -> None:
    """No character of a link can be changed: a yes never becomes from a no."""
    links = RequestLinks([KEY], PUBLIC)
    token = links.url(REQUEST_ID, Decision.DECLINE).rpartition("/")[2]
    changed = token[:place] + letter + token[place + 1 :]
    if changed == token:
        return
    with pytest.raises(BadToken):
        links.read(changed)


def test_links_of_customers_and_of_requests_are_no_substitutes() -> None:
    """The same keys sign both; neither is taken for the other."""
    customers, requests = Links([KEY], PUBLIC), RequestLinks([KEY], PUBLIC)
    with pytest.raises(BadToken):
        requests.read(customers.token(REQUEST_ID, 1))
    with pytest.raises(BadToken):
        customers.read(requests.url(REQUEST_ID, Decision.APPROVE).rpartition("/")[2])


@given(
    st.sampled_from(["open", "approved", "declined", "overtaken"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_every_request_comes_to_rest(
    status: str, business_told: bool, carried_out: bool, customer_told: bool
) -> None:
    """Whatever the state, doing each due step once ends in nothing to do; billing acts only after a yes."""
    done = {
        Step.TELL_BUSINESS: business_told,
        Step.CANCEL: carried_out,
        Step.TELL_CUSTOMER: customer_told,
    }
    for _ in range(4):
        step = next_step(
            status=status,
            business_told=done[Step.TELL_BUSINESS],
            carried_out=done[Step.CANCEL],
            customer_told=done[Step.TELL_CUSTOMER],
        )
        if step is None:
            return
        assert step is not Step.CANCEL or status == "approved"
        assert not done[step]
        done[step] = True
    pytest.fail("never at rest")


@given(st.integers(0, 10_000))
def test_pauses_grow_and_are_bounded(tries: int) -> None:
    """Never at once, never more than an hour, never shorter than before."""
    assert dt.timedelta(seconds=5) <= pause_after(tries) <= LONGEST_PAUSE
    assert pause_after(tries) <= pause_after(tries + 1)
