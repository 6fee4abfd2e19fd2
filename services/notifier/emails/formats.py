"""Names as a person reads them."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from functools import lru_cache
from typing import Final

from shared.text import without_turns

REMEMBERED: Final = 1024
"""How many answers each of the functions here keeps: names come again and again."""


# --- names --------------------------------------------------------------------------------------------------------

_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_LONGEST_NAME: Final = 80
_LONGEST_LINE: Final = 150
"""Characters, each of at most five bytes in HTML, beside a tag: lines of a mail's source may have 998 bytes (RFC 5322, 2.1.1)."""


@lru_cache(REMEMBERED)
def plain_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """A name on one line: no control characters (a newline in a header is an injected header), no characters
    that turn the direction of the text after them, no runs of spaces, not endless."""
    if not text.isprintable():  # no text of which all is has anything to be left out
        text = "".join(
            " " if char.isspace() else char
            for char in without_turns(text)
            if char.isspace() or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn")
        )
    name = " ".join(text.split())
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


_LINKED: Final = re.compile(r"(?<=\w)[.\u2024\u3002\uff0e\uff61](?=\w)|:(?=//)")
"""What a mail reader knows an address by: a dot within a word, in each form that a browser takes for one, and what follows a scheme."""


@lru_cache(REMEMBERED)
def person_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """A customer's name, as `plain_name` makes it, of which no mail reader makes a link: anybody can call himself an address at a
    checkout. A space keeps it from that."""
    return plain_name(_LINKED.sub(r"\g<0> ", text), longest)


def plain_line(text: str) -> str:
    """Text as one line of a header: whatever was a line break is a space. No-break spaces stay, in amounts and signs."""
    if text.isprintable() and "  " not in text:
        return text.strip()
    spaced = "".join(
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text
    )
    return re.sub(" {2,}", " ", spaced).strip()


@lru_cache(128)
def plain_text(text: str, longest: int) -> str:
    """Somebody's own words, several lines of them: no control characters, no turned directions, not endless."""
    lines = [plain_name(line, longest) for line in text.splitlines()]
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return joined if len(joined) <= longest else joined[: longest - 1].rstrip() + "…"


def short_lines(text: str) -> str:
    """The text in lines that no mail server on the way breaks."""
    return "\n".join(
        textwrap.fill(line, _LONGEST_LINE, break_on_hyphens=False) for line in text.splitlines()
    )


def quoted(text: str) -> str:
    """The text as plain-text mail quotes it."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


@lru_cache(REMEMBERED)
def isolated(name: str, direction: str) -> str:
    """The name so that its direction does not disturb the sentence around it, which is written in `direction` (plain text; HTML has
    `<bdi>`)."""
    if direction == "ltr" and name.isascii():
        return name
    opposite = ("R", "AL") if direction == "ltr" else ("L",)
    if any(unicodedata.bidirectional(char) in opposite for char in name):
        return f"{_FIRST_STRONG_ISOLATE}{name}{_POP_ISOLATE}"
    return name


@lru_cache(REMEMBERED)
def display_name(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name for the From header. Characters with a meaning in headers become look-alikes without one."""
    return plain_name(name, longest).translate(
        {
            ord('"'): "”",
            ord("<"): "‹",
            ord(">"): "›",
            ord("\\"): "/",
            ord(";"): "‚",
            ord(","): "‚",
        }
    )


@lru_cache(REMEMBERED)
def initial(name: str) -> str:
    """The letter that stands for a business without a logo; empty when it has none."""
    return next((char.upper() for char in name if char.isalnum()), "")
