"""Signed links."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.domain.people import new_public_id, public_id_bytes
from services.portal.tokens.links import Claim, Links
from services.portal.tokens.signing import BadToken
from shared.settings import Secret

OLD, NEW = Secret("o" * 32), Secret("n" * 32)
URL = "https://portal.example.com"
ALPHABET = string.ascii_letters + string.digits + "-_"


def test_a_token_says_whose_link_it_is_and_of_which_generation() -> None:
    """What goes into a token comes out of it, in at most 90 characters."""
    links = Links([NEW], URL)
    public_id = new_public_id()
    token = links.token(public_id, 7)
    assert links.read(token) == Claim(public_id, 7)
    assert len(token) <= 90
    assert links.url(token) == f"{URL}/me/{token}"


def test_a_token_of_an_older_key_is_read_and_new_ones_are_signed_with_the_newest() -> None:
    """Keys rotate without breaking links: old ones still read, the first one signs."""
    public_id = new_public_id()
    before = Links([OLD], URL).token(public_id, 1)
    both = Links([NEW, OLD], URL)
    assert both.read(before) == Claim(public_id, 1)
    assert both.token(public_id, 1) == Links([NEW], URL).token(public_id, 1)


def test_a_token_of_a_withdrawn_key_is_refused() -> None:
    """Taking a key off the list withdraws every link that it signed."""
    token = Links([OLD], URL).token(new_public_id(), 1)
    with pytest.raises(BadToken):
        Links([NEW], URL).read(token)


@given(st.integers(0, 70), st.sampled_from(ALPHABET + ".=+/ \n\u00e9\x00"))
def test_a_token_with_one_changed_character_is_refused(place: int, character: str) -> None:
    """No single character of a token can be changed: neither to forge it nor to spell it otherwise."""
    links = Links([NEW], URL)
    token = links.token("AAAAAAAAAAAAAAAAAAAAAA", 1)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(BadToken):
            links.read(changed)


@pytest.mark.parametrize(
    "mangle",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: token.replace(".", "=."),
        lambda token: " " + token,
        lambda token: token.upper(),
        lambda token: token + ".A",
        lambda token: "",
        lambda token: "." * 71,
        lambda token: token * 1000,
    ],
)
def test_other_spellings_of_a_token_are_refused(mangle: object) -> None:
    """Only the one canonical spelling is a link."""
    links = Links([NEW], URL)
    token = links.token(new_public_id(), 1)
    with pytest.raises(BadToken):
        links.read(mangle(token))  # type: ignore[operator]


def test_the_unused_bits_of_base64_are_no_second_spelling() -> None:
    """The last character of either part carries spare bits: setting them does not make another valid token."""
    links = Links([NEW], URL)
    payload, _, signature = links.token(new_public_id(), 1).partition(".")
    table = ALPHABET[26:52].upper() + ALPHABET[:26] + string.digits + "-_"
    sibling = table[table.index(signature[-1]) ^ 1]
    other = signature[:-1] + sibling
    assert base64.urlsafe_b64decode(other + "=") == base64.urlsafe_b64decode(signature + "=")
    with pytest.raises(BadToken):
        links.read(f"{payload}.{other}")


def test_short_keys_are_refused() -> None:
    """A key that could be guessed is no key."""
    with pytest.raises(ValueError, match="32"):
        Links([Secret("short")], URL)


def test_public_ids_are_canonical() -> None:
    """A public id is 22 characters that stand for 16 bytes, and nothing else is one."""
    public_id = new_public_id()
    assert len(public_id) == 22
    assert len(public_id_bytes(public_id)) == 16
    for wrong in ("", "A" * 21, "A" * 23, "A" * 21 + "B"):
        with pytest.raises(ValueError):
            public_id_bytes(wrong)
