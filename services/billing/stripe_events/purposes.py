"""What an invoice is for, in the words that its customer reads on Stripe's invoice: the one rule that chooses them.

Stripe describes every line of an invoice, those of subscriptions by their product's name
(https://docs.stripe.com/changelog/2017-12-14/invoice-line-items-must-set-description), so the name needs no request of its
own. A price's nickname is never told: it is "hidden from customers" (stripe/_price.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from shared.contracts.invoices import LONGEST_PURPOSE
from shared.text import REPLACEMENT

MORE: Final = " …"
"""Stands after the text when there are further lines, and nobody knows how many."""

MOST: Final = 99_999
"""More further lines than these are told as these."""


class Line(msgspec.Struct, frozen=True):
    """A line of an invoice. `amount` in minor units; below zero it is a credit."""

    amount: int = 0
    description: str | None = None


class Lines(msgspec.Struct, frozen=True):
    """The lines of an invoice as Stripe sends them with it: the first ten at most."""

    data: tuple[Line, ...] = ()
    has_more: bool = False
    total_count: int | None = None


class Purpose(NamedTuple):
    """What an invoice is for: the text of its first line, and how many others there are besides."""

    text: str | None = None
    more: int = 0


def purpose_of(lines: Lines, memo: str | None = None) -> Purpose:
    """What the invoice is for. `memo` is the invoice's own description, for lines that say nothing.

    Lines that ask for money count, credits and what is free only where there is nothing else. The same text on two lines (the
    tiers of one price) is told once.
    """
    asking = [one for one in lines.data if one.amount > 0] or lines.data
    texts = _distinct([one.description for one in asking]) or _distinct([memo])
    if not texts:
        return Purpose()
    if not lines.has_more:
        return Purpose(_cut(texts[0]), len(texts) - 1)
    if lines.total_count is None:
        return Purpose(_cut(texts[0], LONGEST_PURPOSE - len(MORE)) + MORE)
    unseen = max(lines.total_count - len(lines.data), 0)
    return Purpose(_cut(texts[0]), min(len(texts) - 1 + unseen, MOST))


def _distinct(descriptions: Sequence[str | None]) -> list[str]:
    texts = (_readable(one) for one in descriptions if one)
    return list(dict.fromkeys(text for text in texts if text))


@lru_cache(maxsize=512)
def _readable(description: str) -> str:
    """Many invoices are for the same thing: the last texts are remembered."""
    return _without_arithmetic(_one_line(description))


def _one_line(text: str) -> str:
    return " ".join(text.replace(REPLACEMENT, " ").split())


def _without_arithmetic(text: str) -> str:
    """The line without what Stripe writes around a product's name: `1 × Weekly cleaning (at $149.00 / month)`. In how many
    languages it does is not known, so only the signs are looked for."""
    count, times, name = text.partition(" × ")
    if not times or not count.isdecimal():
        return text
    head, bracket, arithmetic = name.rpartition(" (")
    if bracket and arithmetic.endswith(")") and " / " in arithmetic:
        name = head
    return name if count == "1" else f"{count} × {name}"


def _cut(text: str, longest: int = LONGEST_PURPOSE) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
