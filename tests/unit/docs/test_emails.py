"""The page of emails: what stands in it is measured as it says."""

from __future__ import annotations

import re

import pytest

from scripts.mails_page import LANGUAGES, LONGEST, prose, reading_grade, samples, subjects
from services.notifier.domain.kinds import TO_BUSINESS

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_phone_shows_a_subject_whole(language: str) -> None:
    """In every language and whatever happened, with a usual amount, name and day: so what happened is never cut off."""
    assert [said for said in subjects(language) if len(said[1]) > LONGEST] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_subject_is_no_shout(language: str) -> None:
    """No exclamation and no capitals: what filters and people take for fraud."""
    for name, subject in subjects(language):
        assert "!" not in subject, name
        shouted = [word for word in re.findall(r"\w{2,}", subject) if word.isupper()]
        assert set(shouted) <= {"US", "USD"}, name


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("The cat sat on the mat.", -1.45),
        # https://en.wikipedia.org/wiki/Flesch-Kincaid_readability_tests
        (
            "The Australian platypus is seemingly a hybrid of a mammal and reptilian creature.",
            11.3,
        ),
    ],
)
def test_the_grade_is_that_of_known_sentences(text: str, grade: float) -> None:
    """The formula is the known one; counting vowels misses few syllables."""
    assert reading_grade(text) == pytest.approx(grade, abs=1)


def test_every_english_email_is_plain() -> None:
    """Twelve-year-olds could read what customers get; what businesses get may hold a few long words in a short text."""
    grades = {letter.kind: reading_grade(prose(letter)) for _, letter in samples("en")}
    assert {
        kind for kind, grade in grades.items() if grade > (9 if kind in TO_BUSINESS else 6)
    } == set()
