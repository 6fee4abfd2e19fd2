"""Imports of our own code have no circle: import-linter refuses those between packages, this test those between modules."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOTS = ("scripts", "local", "portico", "services", "shared", "sandbox", "examples")


@pytest.mark.whole
def test_no_module_imports_itself_by_way_of_others() -> None:
    """Whether an import stands at the top, in a function or under TYPE_CHECKING: who follows it never comes back."""
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) > 300
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


HOUSE = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "package",
    [
        path
        for root in ("services", "portico")
        for path in sorted((HOUSE / root).rglob("__init__.py"))
    ],
    ids=lambda path: str(path.parent.relative_to(HOUSE)),
)
def test_a_package_passes_nothing_on(package: Path) -> None:
    """A name is imported from the module that defines it: a room's `__init__` says what the room is for, and no more."""
    body = ast.parse(package.read_text()).body
    assert [node for node in body if not isinstance(node, ast.Expr)] == []
