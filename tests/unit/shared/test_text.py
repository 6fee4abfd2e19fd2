"""Text from outside is clean behind each edge, and no document ends more than its own reading."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text import (
    DEEPEST,
    LONGEST_DEEP,
    REPLACEMENT,
    _shallow,
    can_be_mailed,
    clean,
    clean_utf8,
    decode_json,
    without_turns,
)
from tests.unit.any_text import any_text

ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

NASTY = any_text(halves=True) | st.lists(
    st.sampled_from('\x00\x08\x0c\x1b\x7f\x85\x9b\ud800\udc00\\"/[]{}\t\r\nü😀') | any_text(1, halves=True)
).map("".join)  # fmt: skip
DOCUMENTS = st.recursive(
    st.one_of(NASTY, st.none(), st.booleans(), st.integers(-(1 << 53), 1 << 53)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=20,
)


def cleaned(value: Any) -> Any:
    """The same document with `clean` on each of its texts."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(name): cleaned(one) for name, one in value.items()}
    return value


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("550 no\x00such user", f"550 no{REPLACEMENT}such user"),
        ("\x1b[2J\x9b31m", f"{REPLACEMENT}[2J{REPLACEMENT}31m"),
        ("half \ud83d", f"half {REPLACEMENT}"),
        ("lines\r\nand\ttabs", "lines\r\nand\ttabs"),
        ("Zoë 😀 \u202e", "Zoë 😀 \u202e"),
    ],
)
def test_control_characters_and_halves_are_replaced(given: str, made: str) -> None:
    """Each by a visible one, never by nothing; ends of lines, tabs and all letters stay."""
    assert clean(given) == made


@given(NASTY)
def test_bytes_are_cleaned_as_their_text_is(text: str) -> None:
    """The quick look at the bytes lets nothing by that `clean` would change; half a pair is no UTF-8."""
    body = text.encode(errors="surrogatepass")
    try:
        assert clean_utf8(body) == clean(body.decode())
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            clean_utf8(body)


def test_no_escape_of_an_unwanted_character_is_overlooked() -> None:
    """Each of the first 256, written in either case, and the halves of pairs."""
    codes = [first + number for first in (0, 0xD800, 0xDC00) for number in range(0x100)]
    escapes = {escape: code for code in codes for escape in (f"\\u{code:04x}", f"\\u{code:04X}")}
    made = {escape: decode_json(ANY, f'["{escape}"]') for escape in escapes}
    assert made == {escape: [clean(chr(code))] for escape, code in escapes.items()}


def test_nothing_turns_the_direction_of_what_comes_after_it() -> None:
    """Embeddings, overrides and isolates go; Hebrew, Arabic, their marks, joiners and emoji stay as they are."""
    turns = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert without_turns(f"photo{turns}gnp.exe") == "photognp.exe"
    for kept in ("שלום מרחבה", "مرحبا\u200f (١٢)", "👩\u200d🔧", "7:00\u202fAM"):
        assert without_turns(kept) == kept


@given(DOCUMENTS, st.booleans())
def test_a_document_is_read_as_it_is_but_for_its_unwanted_characters(
    value: Any, escaped: bool
) -> None:
    """However JSON says them: as an escape, as itself, as one half after the other."""
    body = json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass")
    try:
        there = json.loads(body.decode())
    except UnicodeDecodeError:  # half a pair as itself is no UTF-8
        there = None
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
            decode_json(ANY, body)
    else:
        assert decode_json(ANY, body) == cleaned(there)


def test_an_escaped_backslash_is_not_the_beginning_of_an_escape() -> None:
    r"""`\\u0000` is a backslash and five characters, `\u0000` is NUL; raw NUL is none of JSON's and read all the same."""
    body = rb'["\\u0000", "\\\u0000", "' + b'\x00"]'
    assert decode_json(ANY, body) == ["\\u0000", f"\\{REPLACEMENT}", REPLACEMENT]


@pytest.mark.parametrize("escape", [r"\u0000", r"\b", r"\ud83d", r"\ude00"])
def test_a_document_of_unwanted_escapes_is_cleaned_in_one_go(escape: str) -> None:
    """However many there are, without a call of ours for each: a webhook of nothing else held a process up."""
    assert _calls(escape) == _calls(escape * 1000)


def _calls(text: str) -> int:
    """How often something is called while the document is read."""
    kinds: list[str] = []
    body = f'["{text}"]'.encode()
    sys.setprofile(lambda _, kind, __: kinds.append(kind))
    try:
        decode_json(ANY, body)
    finally:
        sys.setprofile(None)
    return kinds.count("call")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """What is not JSON, or not UTF-8, is an error of the two kinds that callers know."""
    for candidate in (body, b'{"a": "' + body + b'"}'):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            decode_json(ANY, candidate)


@pytest.mark.whole
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_too_deeply_is_null_and_the_rest_is_read(opening: str) -> None:
    """Ten thousand levels cost the reader nothing but themselves."""
    closing = "]" if opening == "[" else "}"
    deep = opening * 10_000 + "1" + closing * 10_000
    found = decode_json(ANY, '{"before": 1, "deep": ' + deep + ', "after": "]}"}')
    assert (found["before"], found["after"]) == (1, "]}")
    inner, levels = found["deep"], 0
    while inner is not None:
        inner, levels = (inner[0] if opening == "[" else inner["a"]), levels + 1
    assert levels == DEEPEST - 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 50_000,
        b'{"a":[' * 10_000,
        b"[" * 50_000 + b'"',
        b"[" * LONGEST_DEEP + b"]" * LONGEST_DEEP,
        b"[" * 10_000 + b"]" * 10_000 + b" " * LONGEST_DEEP,
    ],
)
def test_what_is_deep_and_never_ends_is_no_json(body: bytes) -> None:
    """It is refused like anything else that is cut off; and so is what ends, and is long."""
    with pytest.raises(msgspec.MsgspecError):
        decode_json(ANY, body)


@given(DOCUMENTS)
def test_a_shallow_document_stays_byte_for_byte(value: Any) -> None:
    """Brackets and quotes in its texts are no structure."""
    body = json.dumps(value).encode()
    assert _shallow(body) == body


@pytest.mark.parametrize(
    ("address", "can"),
    [
        ("me@example.com", True),
        ("first.last+tag@sub.example.com", True),
        ("jürgen@müller.example", True),
        (f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.example", False),
        (".me@example.com", False),
        ("me.@example.com", False),
        ("me..you@example.com", False),
        ("m\u202ee@example.com", False),
        ("me\u200f@example.com", False),
        ("me\x7f@example.com", False),
        ("me", False),
    ],
)
def test_what_can_be_mailed(address: str, can: bool) -> None:
    """No dots where none may be, and no marks that turn or hide what stands beside them."""
    assert can_be_mailed(address) is can
