"""What a caller says is heeded: no RPC method takes an argument and does nothing with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
ENTRYPOINTS = {"rpc", "audited_rpc"}


def decorators(method: ast.FunctionDef) -> set[str]:
    names = (one.func if isinstance(one, ast.Call) else one for one in method.decorator_list)
    return {one.id for one in names if isinstance(one, ast.Name)}


def rpc_methods() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and decorators(node) & ENTRYPOINTS:
                yield f"{file.relative_to(ROOT)}:{node.name}", node


def unused(method: ast.FunctionDef) -> set[str]:
    given = {one.arg for one in (*method.args.args, *method.args.kwonlyargs)} - {"self"}
    read = {
        node.id
        for statement in method.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    return given - read


def test_every_argument_of_an_rpc_method_is_used() -> None:
    """One that is dropped (whose account, on whose behalf) is answered for somebody else."""
    methods = dict(rpc_methods())
    assert len(methods) > 40
    assert {name: unused(method) for name, method in methods.items() if unused(method)} == {}
