"""Imports of our own code have no circle: import-linter refuses those between packages, this test those between modules."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

ROOTS = ("scripts", "local", "portico", "services", "shared", "sandbox", "examples")


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Whether an import stands at the top, in a function or under TYPE_CHECKING: who follows it never comes back."""
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) > 300
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
