"""A migration is met by the code of the release before, which goes on writing while it runs and comes back after a rollback."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local.processes import SERVICES
from shared.schema import ROOT, waits_for_the_roll

RELEASED = {"portal": "0011", "billing": "0008", "notifier": "0012"}
"""Where `migrate` of the last release leaves each service's database."""
BEFORE_THE_POLICY = {"portal": 11, "billing": 8, "notifier": 12}
"""Heads from when an index might be made under a lock, because no table held much yet."""
CONTRACTING = frozenset(
    {
        *("drop_column", "drop_table", "rename_table", "drop_constraint"),
        *("replace_key", "fill_nulls"),
    }
)
REASON = "CONTRACTS"
"""A migration that takes something away says in this constant since which release no code uses it."""

MIGRATIONS = sorted(
    path
    for service in SERVICES
    for path in (ROOT / "services" / service / "migrations" / "versions").glob("[0-9]*.py")
)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call of `upgrade`, by the last part of its name."""
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name != "downgrade":
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    if isinstance(node.func, ast.Attribute):
                        yield node.func.attr, node
                    elif isinstance(node.func, ast.Name):
                        yield node.func.id, node


def literal(call: ast.Call, name: str) -> object:
    """A keyword's literal value; None where it is not given, or is no literal."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else keyword.value
    return None


def complaints(source: str, *, strict: bool = True) -> list[str]:
    """What old code would stumble over, of a migration's source. `strict`: indexes beside the writes too."""
    tree = ast.parse(source)
    said_why = any(
        isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == REASON
        for node in tree.body
    )
    made = {
        call.args[0].value
        for name, call in calls(tree)
        if name == "create_table" and call.args and isinstance(call.args[0], ast.Constant)
    }
    found = []
    for name, call in calls(tree):
        if name in CONTRACTING:
            found.append(f"{name} takes away what old code uses")
        if name == "alter_column":
            found += _changed(call)
    if said_why:
        found = []
    for name, call in calls(tree):
        if name == "add_column":
            found += _wanted(call)
        if strict and name == "create_index" and _on_op(call) and not _is_on(call, made):
            found.append(
                "op.create_index locks a table that is written to: shared.migrations has one"
            )
    return found


def _changed(call: ast.Call) -> list[str]:
    """Of a column that is there."""
    found = [
        f"alter_column({change}) changes what old code uses"
        for change in ("new_column_name", "type_")
        if literal(call, change) is not None
    ]
    if literal(call, "nullable") is False:
        found.append("alter_column(nullable=False) refuses what old code writes")
    return found


def _wanted(call: ast.Call) -> list[str]:
    """Of those who don't know the new column."""
    columns = [one for one in ast.walk(call) if isinstance(one, ast.Call)]
    return [
        "add_column refuses the rows that old code writes: nullable, or a server_default"
        for one in columns
        if literal(one, "nullable") is False and literal(one, "server_default") is None
    ]


def _on_op(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "op"


def _is_on(call: ast.Call, tables: set[object]) -> bool:
    table = call.args[1] if len(call.args) > 1 else None
    return isinstance(table, ast.Constant) and table.value in tables


@pytest.mark.parametrize(
    "path", MIGRATIONS, ids=lambda path: f"{path.parents[2].name}-{path.stem[:4]}"
)
def test_old_code_runs_on_the_new_schema(path: Path) -> None:
    """A migration only adds, and what it adds wants nothing of those who don't know it."""
    old = int(path.name[:4]) <= BEFORE_THE_POLICY[path.parents[2].name]
    assert complaints(path.read_text(), strict=not old) == []


@pytest.mark.parametrize(
    "statement",
    [
        'op.drop_column("inbox", "type")',
        'op.drop_table("inbox")',
        'op.rename_table("inbox", "events")',
        'op.alter_column("inbox", "type", new_column_name="kind")',
        'op.alter_column("inbox", "type", nullable=False)',
        'replace_key("inbox", "pk_inbox", ("account", "id"))',
        'fill_nulls("inbox", "account", "", key="id")',
        'op.add_column("inbox", sa.Column("kind", sa.Text(), nullable=False))',
        'op.create_index("ix", "inbox", ["type"])',
    ],
)
def test_the_policy_would_object(statement: str) -> None:
    """Each way to break old code is found in a migration, and not in its way back."""
    assert complaints(f"def upgrade():\n    {statement}\n") != []
    assert complaints(f"def downgrade():\n    {statement}\n") == []


def too_late(marks: Mapping[str, bool], released: str) -> list[str]:
    """Migrations of this release after one that waits for the end of its roll (`marks`), by their numbers."""
    marked = [number for number, waits in marks.items() if waits and number > released]
    return [
        number for number, waits in marks.items() if marked and number > marked[0] and not waits
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_what_waits_for_the_roll_comes_last(service: str) -> None:
    """An unmarked migration after a marked one makes that part of `migrate`, under replicas of the release before: give the new one the
    marked one's number, and the marked one the next. What the last release has marked was for its own roll."""
    own = [path for path in MIGRATIONS if path.parents[2].name == service]
    marks = {path.name[:4]: waits_for_the_roll(path) for path in own}
    assert any(marks.values())
    assert RELEASED[service] in marks
    assert too_late(marks, RELEASED[service]) == []


@pytest.mark.parametrize(
    ("marked", "released", "wrong"),
    [("3", "0000", ""), ("23", "0000", ""), ("2", "0000", "3"), ("13", "0000", "2"), ("2", "0002", ""), ("1", "0000", "23")],
)  # fmt: skip
def test_the_order_would_be_refused(marked: str, released: str, wrong: str) -> None:
    """Whatever of this release stands after a marked one is named."""
    marks = {f"000{number}": number in marked for number in "123"}
    assert too_late(marks, released) == [f"000{number}" for number in wrong]


def test_what_nobody_uses_any_more_may_go_with_a_word() -> None:
    """A later release contracts, and says since when no code of the releases that may still run reads it."""
    text = 'CONTRACTS = "unused since 1.1"\ndef upgrade():\n    op.drop_table("inbox")\n'
    assert complaints(text) == []
    assert complaints(text.partition("\n")[2]) != []
