"""`portico keys`: the key on standard output and nothing else there."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from portico.cli.rpc import Fault
from shared.contracts.rpc.api_keys import SCOPES
from tests.unit.cli.conftest import FakeServices, Run, golden


@pytest.mark.whole
def test_the_key_alone_is_on_standard_output(run: Run, services: FakeServices) -> None:
    """So that a script can keep it; what else there is to say goes to standard error."""
    services.answers["portal", "create_api_key"] = {}
    result = run("keys", "create", "our CRM", "--scope", "customers:read", "--business", "sunrise")
    key = golden("portal", "create_api_key")["key"]
    assert (result.exit_code, result.stdout) == (0, f"{key}\n")
    assert "key_4mQ9bX2tLr7VwY1z" in result.stderr
    (asked,) = services.asked
    assert asked[2] == {
        "name": "our CRM",
        "scopes": ["customers:read"],
        "business_id": "sunrise",
        "expires_at": None,
    }


@pytest.mark.parametrize(
    ("words", "scopes"),
    [
        (["read"], [scope for scope in SCOPES if scope.endswith(":read")]),
        (["write"], [scope for scope in SCOPES if scope != "customers:erase"]),
        (["links:read", "read", "links:read"], None),
    ],
)
def test_a_word_stands_for_many_scopes(
    run: Run, services: FakeServices, words: list[str], scopes: Any
) -> None:
    """`read` is all that reads, `write` is everything but erasing, which is said in full; each scope is given once."""
    services.answers["portal", "create_api_key"] = {}
    run("keys", "create", "x", *(part for word in words for part in ("--scope", word)))
    given = services.asked[0][2]["scopes"]
    assert len(given) == len(set(given))
    if scopes is not None:
        assert given == scopes


@pytest.mark.whole
def test_a_scope_that_there_is_not_is_a_usage_error(run: Run, services: FakeServices) -> None:
    """Nothing is asked of the portal."""
    result = run("keys", "create", "x", "--scope", "everything")
    assert (result.exit_code, services.asked) == (2, [])
    assert "customers:write" in result.stderr
    assert run("keys", "create", "x").exit_code == 2


def test_an_end_is_a_time_from_now(run: Run, services: FakeServices) -> None:
    """`90d` is in 90 days; anything else is a usage error."""
    services.answers["portal", "create_api_key"] = {}
    run("keys", "create", "x", "--scope", "read", "--expires", "90d")
    until = dt.datetime.fromisoformat(services.asked[0][2]["expires_at"])
    assert abs(until - dt.datetime.now(dt.UTC) - dt.timedelta(days=90)) < dt.timedelta(minutes=1)
    assert run("keys", "create", "x", "--scope", "read", "--expires", "soon").exit_code == 2


def test_keys_are_listed_and_revoked(run: Run, services: FakeServices) -> None:
    """By their ids, with what they may do and whose they are."""
    services.answers["portal", "api_keys"] = [{}, {"business_id": None}]
    shown = run("keys", "list").stdout
    assert "key_4mQ9bX2tLr7VwY1z" in shown
    assert "customers:read customers:write" in shown
    assert json.loads(run("keys", "list", "--json").stdout)[1]["business_id"] is None
    services.answers["portal", "revoke_api_key"] = {}
    result = run("keys", "revoke", "key_4mQ9bX2tLr7VwY1z")
    assert result.exit_code == 0
    assert "is refused since 2026-03-04 09:00:00 UTC" in result.stdout


def test_an_id_that_is_a_part_of_a_word_is_named(run: Run, services: FakeServices) -> None:
    """`o` stands in "no such key", and is not told by that."""

    def refuse(**_: Any) -> None:
        raise Fault("NotFound", "key_id: no such key")

    services.answers["portal", "revoke_api_key"] = refuse
    assert run("keys", "revoke", "o").stderr == "o: no such key\n"
