"""Text from outside: Stripe's, SendGrid's, a host's, a broker's, a file's.

JSON can say what no table, log line or mail takes: NUL and other control characters, half a surrogate pair, lists in
lists ten thousand deep. Who sent it is not there to be asked (a webhook is repeated until it is accepted, with all others of
its batch), so each edge decodes with `decode_json`, and nothing behind it meets such a thing. A caller who waits for an
answer is told instead: RPC refuses what `clean` would change.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

REPLACEMENT: Final = "\ufffd"
"""Stands where a character can't: visible, and unlike nothing at all it never makes a new word of two halves."""
DEEPEST: Final = 64
"""Levels of lists and objects that are read. Stripe's events have about ten."""
LONGEST_DEEP: Final = 64 << 10
"""Bytes of a document that is nested so deeply that it can't be read as it is: finding where that begins and ends takes long."""

EMAIL: Final = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x1f]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{1,62}"
)
"""An e-mail address, as a whole: of at most 254 characters, which it does not count."""
LONGEST_ADDRESS: Final = 254

_UNWANTED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab, line feed and carriage return; halves of surrogate pairs."""

_TURNS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Unicode's embeddings, overrides and isolates: they turn the direction of all that comes after them."""

_RAW: Final = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0xC2])
"""One of these bytes is in every UTF-8 text with an unwanted character, and in few others. `bytes.translate` finds them sooner
than a regular expression."""
_CONTROLS: Final = tuple(
    chr(one).encode() for one in (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0))
)
_UNWANTED_ESCAPES: Final = re.compile(
    rb"\\(?:[bf]|u(?:00(?:0[0-8bBcCeEfF]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])|"
    rb"[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u)[dD][c-fC-F][0-9a-fA-F]{2}))"
)
"""What JSON escapes of `_UNWANTED`, where each backslash begins an escape."""
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
"""A string, which may hold brackets, or a bracket."""

Decoded = TypeVar("Decoded")


def is_email(text: str) -> bool:
    """Whether this is one e-mail address as a whole, of visible characters: marks turn or hide what stands beside them."""
    return bool(EMAIL.fullmatch(text)) and text.isprintable()


def can_be_mailed(address: str) -> bool:
    """Whether mail can go to this address: no dot at either end of the part before the @, nor two in a row."""
    local = address.partition("@")[0]
    return len(address) <= LONGEST_ADDRESS and is_email(address) and all(local.split("."))


def clean(text: str) -> str:
    """The text with `REPLACEMENT` for each control character (tab and ends of lines stay) and each half of a pair."""
    return _UNWANTED.sub(REPLACEMENT, text)


def clean_utf8(body: bytes) -> str:
    """What `clean` makes of the text that these bytes are. Raises UnicodeDecodeError when they are none."""
    return _without_controls(body).decode()


def _without_controls(body: bytes) -> bytes:
    """The same text, which must be UTF-8, with `REPLACEMENT` for each control character that stands in it as itself."""
    if len(body.translate(None, _RAW)) < len(body):
        # A regular expression takes fifty times as long for a text of nothing else.
        for one in _CONTROLS:
            body = body.replace(one, REPLACEMENT.encode())
    return body


def without_turns(text: str) -> str:
    """The text without what turns the direction of the text after it: "gnp.exe" must not be read as "exe.png".

    For people's eyes only, on pages and in mails: what is stored stays as it was given. Names in Hebrew or Arabic
    need none of it.
    """
    return text if text.isascii() else _TURNS.sub("", text)


def decode_json(decoder: msgspec.json.Decoder[Decoded], body: bytes | str) -> Decoded:
    """Decode JSON from outside: its texts cleaned, null for what is nested deeper than `DEEPEST` in a document of `LONGEST_DEEP` at most.

    Raises msgspec.MsgspecError, or UnicodeDecodeError for what is not UTF-8, and nothing else.
    """
    raw = _clean_json(body if isinstance(body, bytes) else _utf8(body))
    try:
        return decoder.decode(raw)
    except RecursionError:
        if len(raw) > LONGEST_DEEP:
            raise msgspec.DecodeError("a long document that is nested too deeply") from None
        return decoder.decode(_shallow(raw))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a pair
        return clean(text).encode()


def _clean_json(body: bytes) -> bytes:
    """The same document, whose texts are what `clean` makes of them."""
    body = _without_controls(body)
    if b"\\" not in body:
        return body
    # A backslash that is written twice begins no escape; NUL stands for those meanwhile, since there is none any more.
    apart = body.replace(rb"\\", b"\0\0")
    return _UNWANTED_ESCAPES.sub(rb"\\ufffd", apart).replace(b"\0\0", rb"\\")


def _shallow(body: bytes) -> bytes:
    """The same document with null in the place of each list and object that is nested too deeply."""
    kept: list[bytes] = []
    depth = start = 0
    for found in _STRUCTURE.finditer(body):
        if found[0] in (b"[", b"{"):
            depth += 1
            if depth == DEEPEST + 1:
                kept += [body[start : found.start()], b"null"]
                start = len(body)
        elif found[0] in (b"]", b"}"):
            if depth == DEEPEST + 1:
                start = found.end()
            depth -= 1
    return b"".join([*kept, body[start:]])
