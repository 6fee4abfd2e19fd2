"""docs/security.md promises nothing without a test that is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from services.billing.adapters.stripe.webhook import TOLERANCE_SECONDS
from services.notifier.adapters.sendgrid.gateway import TOLERANCE

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(heading: str) -> list[str]:
    """The rows of the table below a heading, without its head."""
    lines = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    return [line for line in lines if line.startswith("|")][2:]


ROWS = rows("Who attacks") + rows("Who is whose")


@cache
def functions(file: str) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_test_that_is_named_exists() -> None:
    """A test that was renamed or removed takes its promise along."""
    named = set(TEST_ID.findall(PAGE))
    assert {(file, name) for file, name in named if name not in functions(file)} == set()


def test_each_row_is_proven() -> None:
    """Each way to attack says how it is stopped, each piece of evidence what follows; and names a test."""
    for row in ROWS:
        _, _, wanted, how, proof, _ = row.split("|")
        assert wanted.strip(), row
        assert how.strip(), row
        assert TEST_ID.search(proof), row
        assert "::" not in TEST_ID.sub("", proof), f"a test's name that can't be read: {row}"


def test_the_signatures_windows_are_those_of_the_code() -> None:
    """How long a signature is good is told as it is."""
    words = {300: "five", 600: "ten"}
    stripe, sendgrid = words[TOLERANCE_SECONDS], words[int(TOLERANCE.total_seconds())]
    assert f"Stripe's within {stripe} minutes, SendGrid's within {sendgrid}" in PAGE
    assert f"good for {stripe} minutes (Stripe's) or {sendgrid} (SendGrid's)" in PAGE


def test_there_is_a_table() -> None:
    """The checks above have something to check."""
    assert len(rows("Who attacks")) > 20
    assert len(rows("Who is whose")) > 30
