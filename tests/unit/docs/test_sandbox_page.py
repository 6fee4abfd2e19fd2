"""docs/sandbox.md names the controls that there are, and the choices."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox import faults
from sandbox.stripe_api.api import StripeApi
from sandbox.stripe_api.directory import Choices
from sandbox.stripe_api.routing import ROUTES

PAGE = (Path(__file__).parents[3] / "docs/sandbox.md").read_text()
ROW = re.compile(r"^\| ((?:`[A-Z]+`, )*`[A-Z]+ /sandbox/[^|]+) \|", re.MULTILINE)


def _named() -> set[tuple[str, str]]:
    """(method, path) of each control in the table."""
    assert StripeApi  # whose import registers the routes
    found = set()
    for cell in ROW.findall(PAGE):
        first, *more = re.findall(r"/[^`]*|…[^`]*", cell)
        paths = [first, *(first.rpartition("/")[0] + one.removeprefix("…") for one in more)]
        for method in re.findall(r"`([A-Z]+)\b", cell):
            found.update((method, path) for path in (paths if "…" in cell else [first]))
    return found


def _known() -> set[tuple[str, str]]:
    routes = {
        (route.method, "/" + "/".join(route.parts)) for each in ROUTES.values() for route in each
    }
    return routes | {(method, faults.PATH) for method in ("GET", "POST", "DELETE")}


def test_the_page_names_controls_that_exist() -> None:
    """Each with its methods."""
    named = _named()
    assert len(named) > 20
    assert {path for _, path in named} <= {path for _, path in _known()}
    assert {one for one in named if "{" not in one[1]} <= _known()


def test_the_page_names_every_control_of_accounts_and_traffic() -> None:
    """None is left out."""
    words = ("accounts", "keys", "connect", "requests", "limits", "webhook_endpoints")
    ours = {
        one for one in _known() if one[1].startswith("/sandbox/") and one[1].split("/")[2] in words
    }
    assert ours <= _named()


def test_the_page_names_every_choice() -> None:
    """Those of the platform."""
    assert {name for name in Choices.__struct_fields__ if f"`{name}`" not in PAGE} == set()
