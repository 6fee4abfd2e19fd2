"""Values that nobody should send, documents with some of them inside, and bytes with something wrong."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Final

TEXTS: Final = (
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff!", "‮x", "é" * 300, "%s%n{}", "1'; DROP TABLE x;--", "\x1b[2J",
    "../../etc/passwd", "=1+1", "<script>", "a@b.c", "9" * 400, "NaN", "2026-99-99", "http://[::1", "x" * 5_000,
)  # fmt: skip
NUMBERS: Final = (
    -1, 0, 1, 255, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, 0.1,
    float("nan"), float("inf"), float("-inf"), -62135596801, 253402300800,
)  # fmt: skip
OTHERS: Final[tuple[Any, ...]] = (
    None, True, False, [], {}, [[]], [None], {"": ""}, {"\x00": 1}, {"__type__": "datetime"},
)  # fmt: skip
LONG: Final = 200_000


def value(dice: random.Random) -> Any:
    """Something odd."""
    pick = dice.random()
    if pick < 0.35:
        return dice.choice(TEXTS)
    if pick < 0.65:
        return dice.choice(NUMBERS)
    if pick < 0.9:
        return copy.deepcopy(dice.choice(OTHERS))
    if pick < 0.99:
        return nested(dice.choice((3, 30, 70)), dice.random() < 0.5)
    return dice.choice("xé\x00") * dice.choice((LONG // 10, LONG))


def nested(levels: int, lists: bool) -> Any:
    """A value inside so many others."""
    made: Any = "x"
    for _ in range(levels):
        made = [made] if lists else {"x": made}
    return made


def mutated(dice: random.Random, document: Any) -> Any:
    """A copy in which some things are odd, gone, doubled or named otherwise."""
    made = copy.deepcopy(document)
    for _ in range(dice.choice((1, 1, 2, 4))):
        container, key = _somewhere(dice, made)
        if container is None:
            return value(dice)
        pick = dice.random()
        if pick < 0.6:
            container[key] = value(dice)
        elif pick < 0.8:
            del container[key]
        elif isinstance(container, list):
            container.extend(copy.deepcopy(container[:50]))
        else:
            container[dice.choice(TEXTS)] = container.pop(key)
    return made


def _somewhere(dice: random.Random, document: Any) -> tuple[Any, Any]:
    """A container in the document and a key of it, any depth being as likely; (None, None) where there is none."""
    found = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        keys = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in keys:
            found.append((one, key))
            waiting.append(one[key])
    return dice.choice(found) if found else (None, None)


def as_json(dice: random.Random, document: Any) -> bytes:
    """The document as bytes; now and then with what is no JSON at all, or JSON that no reader should follow."""
    text = json.dumps(document, ensure_ascii=dice.random() < 0.5)
    body = text.encode("utf-8", "surrogatepass")
    pick = dice.random()
    if pick < 0.85:
        return body
    if pick < 0.93:
        return spoilt(dice, body)
    if pick < 0.97:
        return body.replace(b'"x"', deep(dice), 1) if b'"x"' in body else deep(dice)
    return dice.choice(
        (b"", b"null", b"[]", b"7", b"\xff\xfe\x00", b'"', text.encode("utf-16", "surrogatepass"))
    )


def deep(dice: random.Random) -> bytes:
    """JSON that is nested deeper than a stack is."""
    levels = dice.choice((60, 100, 400, 1_100, 50_000))
    opening, closing = dice.choice(((b"[", b"]"), (b'{"x":', b"}")))
    return opening * levels + b"1" + closing * levels


def spoilt(dice: random.Random, data: bytes) -> bytes:
    """Bytes with some flipped, cut out, doubled or put in between."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(made) + 1)
        pick = dice.randrange(4)
        if pick == 0 and at < len(made):
            made[at] = dice.randrange(256)
        elif pick == 1:
            del made[at : at + dice.choice((1, 2, 20, 500))]
        elif pick == 2:
            made[at:at] = made[at : at + dice.choice((1, 5, 100))]
        else:
            made[at:at] = dice.choice((b"\x00", b"\r", b"\n", b"\r\n", b" ", b":", b"\xff", b"%00"))
    return bytes(made)
