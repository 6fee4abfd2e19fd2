"""The pages that are made from the code say what the code says."""

import re
from pathlib import Path

import pytest

from scripts import make_docs

ROOT = Path(make_docs.__file__).parents[1]


@pytest.mark.parametrize("path", make_docs.PAGES)
def test_generated_page_is_current(path):
    """docs/events.md and docs/rpc.md match the code; `make docs` writes them again."""
    assert (ROOT / path).read_text() == make_docs.PAGES[path](), "run `make docs`"


def test_every_rpc_method_is_explained():
    """Each RPC method has a docstring, or its page would say nothing of it."""
    import importlib

    for name, class_name in make_docs.SERVICES.items():
        service = getattr(importlib.import_module(f"services.{name}.service"), class_name)
        methods = make_docs.rpc_methods(service)
        assert methods
        for method_name, method in methods:
            assert method.__doc__, f"{name}.{method_name}"


LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda page: page.name,
)
def test_no_link_is_dead(page):
    """Links between pages lead to files that exist."""
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
