"""Signed Checkout references."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.domain.linking import CLOCK_SKEW, REFERENCE_AGE, reference_problem
from services.portal.domain.people import new_public_id
from services.portal.tokens.links import Links
from services.portal.tokens.references import CheckoutReferences
from services.portal.tokens.request_links import RequestLinks
from services.portal.tokens.signing import BadToken
from shared.settings import Secret
from tests.unit.portal.builders import NOW

OLD, NEW = Secret("o" * 32), Secret("n" * 32)
PUBLIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def test_a_reference_says_for_whom_it_was_made_and_when() -> None:
    """Customer, business and second come out as they went in."""
    references = CheckoutReferences([NEW])
    public_id = new_public_id()
    read = references.read(references.write(public_id, "sunrise", NOW))
    assert (read.public_id, read.made_at) == (public_id, NOW)
    assert read.is_of("sunrise")
    assert not read.is_of("moonlight")


def test_a_payment_link_takes_it_whole() -> None:
    """Payment Links drop a client_reference_id with other characters, and one beyond 200."""
    text = CheckoutReferences([NEW]).write(new_public_id(), "a business with spaces and ü" * 3, NOW)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text)


def test_keys_rotate() -> None:
    """A reference of an older key is read, one of a withdrawn key is not."""
    text = CheckoutReferences([OLD]).write(PUBLIC_ID, "sunrise", NOW)
    assert CheckoutReferences([NEW, OLD]).read(text).public_id == PUBLIC_ID
    with pytest.raises(BadToken):
        CheckoutReferences([NEW]).read(text)


@given(st.integers(0, 85), st.sampled_from("Aa0_-.x= \n"))
def test_a_changed_reference_is_none(place: int, letter: str) -> None:
    """No character can be changed: neither the customer nor the time."""
    references = CheckoutReferences([NEW])
    text = references.write(PUBLIC_ID, "sunrise", NOW)
    changed = text[:place] + letter + text[place + 1 :]
    if changed != text:
        with pytest.raises(BadToken):
            references.read(changed)


@pytest.mark.parametrize("foreign", ["", "4711", "ext-1041", "A" * 86, "A" * 200, "é" * 86])
def test_what_portico_did_not_make_is_none(foreign: str) -> None:
    """A host's own numbers, other tools' references, and anything a stranger can think of."""
    with pytest.raises(BadToken):
        CheckoutReferences([NEW]).read(foreign)


def test_no_other_token_is_a_reference() -> None:
    """The same keys sign customers' links and the business's answers; none is taken for another."""
    references = CheckoutReferences([NEW])
    with pytest.raises(BadToken):
        references.read(Links([NEW], "https://x").token(PUBLIC_ID, 1))
    with pytest.raises(BadToken):
        Links([NEW], "https://x").read(references.write(PUBLIC_ID, "sunrise", NOW))
    with pytest.raises(BadToken):
        RequestLinks([NEW], "https://x").read(references.write(PUBLIC_ID, "sunrise", NOW))


@pytest.mark.parametrize(
    ("began", "problem"),
    [
        (NOW, None),
        (NOW + REFERENCE_AGE, None),
        (NOW + REFERENCE_AGE + dt.timedelta(seconds=1), "too_old"),
        (NOW - CLOCK_SKEW, None),
        (NOW - CLOCK_SKEW - dt.timedelta(seconds=1), "before_it_was_made"),
        (None, "no_session_time"),
    ],
)
def test_its_age_is_that_at_the_sessions_beginning(
    began: dt.datetime | None, problem: str | None
) -> None:
    """When the webhook comes says nothing; a session that began before the reference was made can't have had it."""
    assert reference_problem(NOW, began) == problem
