"""The pages that are made from the code say what the code says."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from scripts import make_docs

pytestmark = pytest.mark.whole

ROOT = Path(make_docs.__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


def test_no_link_is_dead():
    """Links between pages lead to files that exist."""
    dead = [
        (page.name, target)
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert dead == []


def test_every_decision_is_in_the_index():
    """docs/architecture.md lists the decisions, each once and in order."""
    listed = re.findall(
        r"^\| \[\d+\]\(adr/([^)]+)\)", (ROOT / "docs/architecture.md").read_text(), re.M
    )
    assert listed == sorted(page.name for page in (ROOT / "docs/adr").glob("*.md"))


OURS = "|".join(
    (
        "services",
        "shared",
        "portico",
        "local",
        "sandbox",
        "examples",
        "scripts",
        "tests",
        "docs",
        "deploy",
    )
)
PATH = re.compile(
    rf"`((?:{OURS})/[\w./*<>-]+|[\w./*<>-]+/[\w*<>-]+\.(?:py|html|md|toml|yaml|po))(?:::\w+)?`"
)
"""What looks like a path of ours: it starts in a room of ours, or it is one of a folder and a source file."""
NO_FILES = {"portico/portal-postgresql-2"}
"""A Secret in a namespace."""


def test_a_page_names_files_that_exist():
    """Who is told to look at a file finds it; `<…>` and `*` stand for any name."""
    pages_of = defaultdict(list)
    for page in PAGES:
        for path in set(PATH.findall(page.read_text())) - NO_FILES:
            pages_of[path].append(page.name)
    missing = {
        path: pages
        for path, pages in pages_of.items()
        if not any(ROOT.glob(re.sub(r"<[^>]*>", "*", path).rstrip("/")))
    }
    assert missing == {}


def test_the_contributors_page_names_the_files_to_change():
    """The page is about files: the test above would have nothing to say of one that named none."""
    assert len(PATH.findall((ROOT / "CONTRIBUTING.md").read_text())) > 40
