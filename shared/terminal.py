"""Lines for a terminal, in which nothing from outside commands it."""

from __future__ import annotations

import re
from typing import Final

import typer

COMMANDING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line end, DEL, C1 (0x9b begins a sequence as ESC [ does)
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what stands beside them
    "\u2028\u2029\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"  # half a pair: no terminal can be sent it
)
"""Characters that command a terminal, hide, or change the order of what others see."""


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def printable(text: str) -> str:
    """The text with everything that could command a terminal written out, as `\\x1b`; lines and tabs stay."""
    return COMMANDING.sub(_code, text)


def one_line(text: str) -> str:
    """`printable` in one line: a text from outside must not look like a line of ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """Lines on standard output."""
    typer.echo(printable(text))


def complain(text: str) -> None:
    """Lines on standard error: what went wrong, and what is no part of the answer."""
    typer.echo(printable(text), err=True)
