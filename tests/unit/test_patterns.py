"""No regular expression takes time in the square of a text's length: whoever sends the text would hold up a whole process."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import portico
import services
import shared
from portico import spreadsheets
from services.portal.handlers import arguments
from services.portal.web.api import problems
from shared import text
from tests.unit.regex_steps import worst_growth

pytestmark = pytest.mark.whole

STARTS = ("", "//127.0.0.1:", "invoice.stripe.com/i/", "sk_live_", "://a:", "a@")
"""What some patterns have to see before they look any further."""

WHOLE = (text.EMAIL, arguments.HOSTNAME, problems._FIELD, spreadsheets.FORMULA)
"""Those that are only asked whether they match a text as a whole, or how it begins."""
OURS = "services.portal.web.frame: "
"""What is read by patterns of this module is our own stylesheet, once."""

PROCESSES = ("__main__", "shared.nameko_ext.green")
"""They make a process theirs when they are imported."""


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every pattern that a module of ours keeps, by the name of the module and its own text."""
    found: dict[str, re.Pattern[Any]] = {}
    for package in (shared, services, portico):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" in module.name or module.name.endswith(PROCESSES):
                continue
            loaded = importlib.import_module(module.name)
            kept = (pattern for value in vars(loaded).values() for pattern in _inside(value))
            for pattern in (*kept, *_written_in(Path(loaded.__file__ or "").read_text("utf-8"))):
                found.setdefault(f"{module.name}: {pattern.pattern!r}", pattern)
    return found


def _written_in(source: str) -> Iterator[re.Pattern[Any]]:
    """Those that are written where they are used: `re.sub("…", …)`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="re")),
                args=[ast.Constant(value=str() | bytes() as text), *_],
            ):
                yield re.compile(text)


def _inside(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _inside(one)


PATTERNS = {name: one for name, one in patterns().items() if not name.startswith(OURS)}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_twice_the_text_takes_twice_the_work(pattern: re.Pattern[Any]) -> None:
    """In steps of the matcher, which are the same on every machine."""
    assert worst_growth(pattern, STARTS, whole=pattern in WHOLE) < 2.5


def test_a_quadratic_pattern_is_noticed() -> None:
    """The measure itself is tight: an address's pattern that starts anew at each letter makes four times the steps, and so does one that
    starts anew at each bracket."""
    assert worst_growth(re.compile(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+")) > 3.5
    assert worst_growth(re.compile(r"\w+|\[[^]]*\]")) > 3.5
