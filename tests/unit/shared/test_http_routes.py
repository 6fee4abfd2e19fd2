"""Where an address leads."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from shared.nameko_ext.http_routes import Routes

RULES = (
    ("/hooks", "POST"),
    ("/hooks/<account>", "POST"),
    ("/hooks/own", "POST"),
    ("/me/<token>", "GET"),
    ("/me/<token>/billing", "POST"),
    ("/me/<token>/visits/<int:ref>.ics", "GET"),
    ("/things/<path:name>", "GET"),
    ("/things/<name>", "PUT"),
    ("/numbers/<int:number>", "GET"),
)
PATHS = (
    *("/", "", "/hooks", "/hooks/", "/hooks/own", "/hooks/acct_1", "/hooks//own", "//hooks/own"),
    *(
        "/me",
        "/me/",
        "/me/a.b",
        "/me/a b\n",
        "/me//a",
        "/me/a/",
        "/me/a/billing",
        "/me/a/b/billing",
    ),
    *("/me/a/visits/7.ics", "/me/a/visits/x.ics", "/ME/a", "me/a", "*", "/me/é", "/me/a?b"),
    *("/things/a", "/things/a/b", "/things/", "/numbers/7", "/numbers/x", "/me/<token>"),
)


def rules() -> list[Rule]:
    return [Rule(url, methods=[method], endpoint=(url, method)) for url, method in RULES]


def outcome(find: Any, *args: Any, **named: Any) -> Any:
    try:
        return find(*args, **named)
    except HTTPException as error:
        return error.code, getattr(error, "new_url", None), getattr(error, "valid_methods", None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_an_address_leads_where_werkzeug_leads_it(method: str) -> None:
    """Looked up or matched: the same entrypoint and values, or the same refusal."""
    theirs, ours = Map(rules()).bind("localhost"), Routes(rules())
    expected = {path: outcome(theirs.match, path, method, query_args="a=b") for path in PATHS}
    assert {path: outcome(ours.find, method, path, "a=b") for path in PATHS} == expected


def test_there_is_something_to_find() -> None:
    """Both ways are gone."""
    routes = Routes(rules())
    assert routes.find("GET", "/me/a.b", "") == (("/me/<token>", "GET"), {"token": "a.b"})
    assert routes.find("POST", "/hooks/own", "") == (("/hooks/own", "POST"), {})
    assert routes.find("GET", "/numbers/7", "") == (("/numbers/<int:number>", "GET"), {"number": 7})
