"""Counters tell what was committed: nothing is counted inside a transaction, which may be rolled back and done again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("services", "shared", "portico") for path in (ROOT / folder).rglob("*.py")
)
COUNTS = {"inc", "dec", "observe"}
OPENS = {"transaction", "reading"}


def _opens_transaction(node: ast.With) -> bool:
    return any(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr in OPENS
        for item in node.items
    )


def _has_session(node: ast.FunctionDef | ast.Lambda) -> bool:
    return "session" in {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}


def counts_inside(node: ast.AST, inside: bool) -> Iterator[int]:
    """The lines that count by themselves where a transaction is open."""
    if (isinstance(node, ast.With) and _opens_transaction(node)) or (
        isinstance(node, ast.FunctionDef | ast.Lambda) and _has_session(node)
    ):
        inside = True
    if (
        inside
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in COUNTS
    ):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from counts_inside(child, inside)


@pytest.mark.whole
def test_nothing_is_counted_inside_a_transaction() -> None:
    """Handlers and statements, which run inside one, leave it to `count_on_commit`, and so do bodies that open one."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in counts_inside(
            ast.parse(path.read_text("utf-8")), bool({"handlers", "queries"} & {*path.parts})
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "with self.db.transaction() as session:\n    if new:\n        A.labels('x').inc()",
        "def handle(session, event):\n    A.observe(1)",
        "self._write(lambda session: A.inc())",
    ],
)
def test_what_counts_too_early_is_found(source: str) -> None:
    """The three ways in which it was, or could be, done."""
    assert list(counts_inside(ast.parse(source), False))
