"""The net that reads logs at the end of a run has to be tight itself."""

import pytest

from tests.fixtures.system import leaks


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
