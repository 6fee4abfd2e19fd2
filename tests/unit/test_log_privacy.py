"""The net that reads logs at the end of a run has to be tight itself."""

import ast
from pathlib import Path

import pytest

from shared.telemetry import error_text
from tests.fixtures.system import leaks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "line",
    [
        "GET /me/7Qg1HWIQ80meZ52zyTadfwAAAAE.gIFsEth HTTP/1.1",
        "redirect to http://127.0.0.1:8010/p/session/test_FyzQMeZf",
        "key sk_test_0123456789ab",
        "secret whsec_0123456789abcdef",
        "bearer SG.abcdefghij.klmnop",
        "sent to ada@example.com",
        "amqp://portico:0ea4f09f92ad@127.0.0.1:5672/",
        "the value hush",
    ],
)
def test_a_secret_in_a_log_is_found(line: str) -> None:
    """Links, session URLs, keys, passwords, addresses and this run's own secrets are each noticed."""
    assert leaks(line, ["hush"])


@pytest.mark.parametrize(
    "line",
    [
        "GET /me/*** 200",
        "/p/session/***",
        "amqp://***@127.0.0.1:5672/",
        "sent to ***@***",
        "node portico@localhost",
        "route /me/<token>/billing of cus_5p3g0jSB1UjdqA",
    ],
)
def test_what_is_redacted_or_public_passes(line: str) -> None:
    """Redacted values, route patterns and Stripe's object ids are no finds."""
    assert leaks(line, ["hush"]) == []


@pytest.mark.whole
def test_no_line_has_pythons_repr_as_a_value() -> None:
    """Values are JSON: what a service logs is no `repr(…)` and no `{…!r}`."""
    found = []
    for path in (
        one for room in ("services", "shared", "portico") for one in (ROOT / room).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log")), keywords=keywords):
                    found += [
                        f"{path.relative_to(ROOT)}:{node.lineno}"
                        for value in (part for one in keywords for part in ast.walk(one.value))
                        if (isinstance(value, ast.Name) and value.id == "repr")
                        or (isinstance(value, ast.FormattedValue) and value.conversion == ord("r"))
                    ]
    assert found == []


def test_an_error_is_a_value_by_its_name_and_text() -> None:
    """Without text it is the name alone."""
    refused = ConnectionRefusedError(111, "Connection refused")
    assert error_text(refused) == "ConnectionRefusedError: [Errno 111] Connection refused"
    assert error_text(EOFError()) == "EOFError"
