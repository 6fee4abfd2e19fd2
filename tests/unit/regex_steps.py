"""Counts what a regular expression costs: the steps of a backtracking matcher that works as Python's own does.

A step is one comparison with one character of the text (or one look at its ends). Seconds would tell of the machine, steps tell of
the pattern; the same text twice as long may take twice the steps, and not four times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Continuation = Callable[[int], int | None]


class Steps:
    """A pattern that counts."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        text = pattern.pattern
        self._flags = pattern.flags
        self._tree = parser.parse(
            text if isinstance(text, str) else text.decode("latin-1"), pattern.flags
        )
        self.taken = 0

    def search_all(self, text: str) -> int:
        """The steps of finding all matches, as `sub` does."""
        self.taken, at = 0, 0
        while at <= len(text):
            end = self._match(self._tree, 0, text, at, _stay)
            at = at + 1 if end is None or end == at else end
        return self.taken

    def match_whole(self, text: str) -> int:
        """The steps of `fullmatch`."""
        self.taken = 0
        self._match(self._tree, 0, text, 0, lambda end: end if end == len(text) else None)
        return self.taken

    @property
    def letters(self) -> set[str]:
        """The characters that it names one by one."""
        return {chr(one) for one in _literals(self._tree)}

    @property
    def unbounded(self) -> bool:
        """Whether a part of it repeats without a bound: what does not looks at so many characters and no more."""
        return _is_unbounded(self._tree)

    def _match(
        self, tree: Sequence[Any], index: int, text: str, at: int, then: Continuation
    ) -> int | None:
        """Match the tree's items from `index` on at `at`, and `then` what follows; where it all ended."""
        if index == len(tree):
            return then(at)
        code, value = tree[index]

        def rest(reached: int) -> int | None:
            return self._match(tree, index + 1, text, reached, then)

        if code in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return rest(at + 1) if self._fits(code, value, text, at) else None
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            return self._repeat(code, value, text, at, rest)
        if code is op.SUBPATTERN:
            return self._match(value[3], 0, text, at, rest)
        if code is op.BRANCH:
            found = (self._match(one, 0, text, at, rest) for one in value[1])
            return next((end for end in found if end is not None), None)
        if code is op.AT:
            return rest(at) if self._at(value, text, at) else None
        if code in (op.ASSERT, op.ASSERT_NOT):
            direction, inner = value
            start = at if direction > 0 else at - inner.getwidth()[0]
            there = start >= 0 and self._match(inner, 0, text, start, _stay) is not None
            return rest(at) if there is (code is op.ASSERT) else None
        raise NotImplementedError(code)

    def _repeat(self, code: Any, value: Any, text: str, at: int, rest: Continuation) -> int | None:
        least, most, inner = value
        ends = [at]
        # As far as it goes, then back: right for what can match in one way only, which all that is repeated here does.
        while len(ends) <= most:
            end = self._match(inner, 0, text, ends[-1], _stay)
            if end is None or end == ends[-1]:
                break
            ends.append(end)
        possible = ends[least:]
        if code is op.POSSESSIVE_REPEAT:
            possible = possible[-1:]
        for end in possible if code is op.MIN_REPEAT else reversed(possible):
            reached = rest(end)
            if reached is not None:
                return reached
        return None

    def _at(self, value: Any, text: str, at: int) -> bool:
        self.taken += 1
        if value in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return at == 0
        if value in (op.AT_END, op.AT_END_STRING):
            return at == len(text)
        if value is op.AT_BOUNDARY:
            sides = [
                bool(re.match(r"\w", one))
                for one in (text[at - 1 : at] if at else "", text[at : at + 1])
            ]
            return sides[0] is not sides[1]
        raise NotImplementedError(value)

    def _fits(self, code: Any, value: Any, text: str, at: int) -> bool:
        self.taken += 1
        if at >= len(text):
            return False
        if code is op.ANY:
            return text[at] != "\n" or bool(self._flags & re.DOTALL)
        if code is op.LITERAL:
            return ord(text[at]) == value
        if code is op.NOT_LITERAL:
            return ord(text[at]) != value
        return self._in(value, text[at])

    @staticmethod
    def _in(items: Any, character: str) -> bool:
        negated = False
        for kind, value in items:
            if kind is op.NEGATE:
                negated = True
            elif (
                (kind is op.LITERAL and ord(character) == value)
                or (kind is op.RANGE and value[0] <= ord(character) <= value[1])
                or (kind is op.CATEGORY and _category(value, character))
            ):
                return not negated
        return negated


def _category(kind: Any, character: str) -> bool:
    name = str(kind).removeprefix("CATEGORY_")
    letter = {"WORD": "w", "DIGIT": "d", "SPACE": "s"}[name.removeprefix("NOT_")]
    return bool(re.match("\\" + letter, character)) is not name.startswith("NOT_")


def _stay(reached: int) -> int:
    return reached


def _is_unbounded(part: Any) -> bool:
    if part is op.MAXREPEAT:
        return True
    inside = isinstance(part, tuple | list | parser.SubPattern)
    return inside and any(_is_unbounded(one) for one in part)


def _literals(part: Any) -> Iterator[int]:
    match part:
        case (op.LITERAL | op.NOT_LITERAL, int(one)):
            yield one
        case tuple() | list() | parser.SubPattern():
            for one in part:
                yield from _literals(one)


ALPHABET = 'a0_.@/: \n"'
SIZE = 16


def worst_growth(
    pattern: re.Pattern[Any], starts: Sequence[str] = ("",), *, whole: bool = False
) -> float:
    """How much dearer the worst text becomes when it is twice as long: texts are one or two characters over and over, common ones and those
    that the pattern names, after one of `starts`. Two is in proportion, four is the square. `whole`: as `fullmatch` does it."""
    counting = Steps(pattern)
    if not counting.unbounded:
        return 1.0
    count = counting.match_whole if whole else counting.search_all
    pumps = [*{*ALPHABET, *counting.letters}, *map("".join, product(ALPHABET, repeat=2))]
    return max(
        count(start + pump * (2 * SIZE // len(pump)))
        / max(SIZE, count(start + pump * (SIZE // len(pump))))
        for start, pump in product(starts, pumps)
    )
