"""`portico hooks`: secrets on standard output alone, and each command asks for what it says."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import FakeServices, Run, golden

ENDPOINT = "whe_4mQ9bX2tLr7VwY1zAbCdEf"


def test_the_secret_alone_is_on_standard_output(run: Run, services: FakeServices) -> None:
    """So that a script can keep it; a business is looked up first, so that none is misspelt."""
    services.answers["portal", "api_keys"] = []
    services.answers["notifier", "create_webhook_endpoint"] = {}
    url = "https://hooks.example.com/portico"
    result = run("hooks", "create", url, "--business", "sunrise", "--type", "invoice.paid")
    secret = golden("notifier", "create_webhook_endpoint")["secret"]
    assert (result.exit_code, result.stdout) == (0, f"{secret}\n")
    assert ENDPOINT in result.stderr
    assert [asked[1] for asked in services.asked] == ["api_keys", "create_webhook_endpoint"]
    assert services.asked[1][2] == {
        "url": url,
        "business_id": "sunrise",
        "event_types": ["invoice.paid"],
    }


@pytest.mark.parametrize(
    ("words", "method", "shown"),
    [
        (["list"], "webhook_endpoints", "https://hooks.sunrise.example/portico"),
        (["show", ENDPOINT], "webhook_endpoint", "on"),
        (["attempts", ENDPOINT], "webhook_attempts", "500"),
        (["test", ENDPOINT], "test_webhook_endpoint", "is on its way"),
        (["replay", ENDPOINT, "--since", "3d", "--failed"], "replay_webhooks", "12 on their way"),
        (["rotate", ENDPOINT], "rotate_webhook_secret", "whsec_"),
        (["enable", ENDPOINT], "change_webhook_endpoint", "by_hand"),
        (["disable", ENDPOINT], "change_webhook_endpoint", "off"),
        (["delete", ENDPOINT], "delete_webhook_endpoint", "is deleted"),
    ],
)
def test_each_command_says_what_came_of_it(
    run: Run, services: FakeServices, words: list[str], method: str, shown: str
) -> None:
    """In words, and as JSON where that is wanted."""
    services.answers["notifier", method] = (
        [{}] if method in ("webhook_endpoints", "webhook_attempts") else {}
    )
    result = run("hooks", *words)
    assert result.exit_code == 0, result.stderr
    assert shown in result.stdout
    as_json = run("hooks", *words, "--json")
    assert as_json.exit_code == 0
    assert "whe_" in as_json.stdout


@pytest.mark.parametrize(
    ("since", "shown"),
    [(None, "on"), ("2026-11-23T10:00:00Z", "on, failing since 2026-11-23 10:00:00")],
)
def test_an_endpoint_is_said_to_fail_only_while_it_does(
    run: Run, services: FakeServices, since: str | None, shown: str
) -> None:
    """With the moment of its first failure in a row."""
    services.answers["notifier", "webhook_endpoint"] = {"failing_since": since}
    assert run("hooks", "show", ENDPOINT).stdout.splitlines()[-1] == shown


@pytest.mark.parametrize("given", ["abc", "x", "whe_" + "a" * 37, "evh_1"])
@pytest.mark.parametrize("words", [["show"], ["list", "--after"]])
def test_what_can_be_no_endpoint_is_named(
    run: Run, services: FakeServices, words: list[str], given: str
) -> None:
    """With what one looks like, and not with a pattern; nobody is asked."""
    result = run("hooks", *words, given)
    assert (result.exit_code, services.asked) == (2, [])
    told = " ".join(result.stderr.replace("│", " ").split())
    assert (
        f"'{given[:40]}' is not an endpoint's id (whe_…): `portico hooks list` shows them" in told
    )
