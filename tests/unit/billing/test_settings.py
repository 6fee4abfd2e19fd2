"""Billing refuses to start on wrong settings, and shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.billing.settings import STRIPE_API, load
from shared.settings import SettingsError

GOOD = {
    "AMQP_URI": "amqp://user:password@127.0.0.1:5672/",
    "BILLING_DATABASE_URL": "sqlite://",
    "STRIPE_API_KEY": "sk_test_0123456789abcdef",
    "STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef,whsec_fedcba9876543210",
    "PUBLIC_URL": "https://me.example.com/",
}


def test_the_least_that_is_needed() -> None:
    """Five variables are enough; the rest has defaults."""
    settings = load(GOOD)
    assert settings.stripe_api_base == STRIPE_API
    assert [secret.reveal() for secret in settings.stripe_webhook_secrets] == [
        "whsec_0123456789abcdef",
        "whsec_fedcba9876543210",
    ]
    assert (settings.livemode, settings.stripe_portal_configuration) == (False, None)


def test_no_secret_shows_itself() -> None:
    """The settings can be logged: key, webhook secrets and passwords stay hidden."""
    shown = repr(load(GOOD)) + str(load(GOOD))
    assert not any(secret in shown for secret in ("0123456789", "fedcba", "password"))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_of_them_is_required(name: str) -> None:
    """Without any one of them, the webhook secrets above all, billing does not start."""
    with pytest.raises(SettingsError, match=name):
        load({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_KEY", "pk_test_0123456789abcdef"),
        ("STRIPE_WEBHOOK_SECRETS", "short"),
        ("STRIPE_WEBHOOK_SECRETS", ","),
        ("STRIPE_PORTAL_CONFIGURATION", "cfg_1"),
        ("PUBLIC_URL", "me.example.com"),
        ("HTTP_ADDRESS", "8001"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated_if_secret(name: str, value: str) -> None:
    """The message names the variable; a secret's value is not in it."""
    with pytest.raises(SettingsError, match=name) as refused:
        load({**GOOD, name: value})
    assert "0123456789" not in str(refused.value)


def test_real_money_goes_over_tls_only() -> None:
    """A live key and a plain http base together are refused."""
    live = {**GOOD, "STRIPE_API_KEY": "rk_live_0123456789abcdef"}
    assert load(live).livemode is True
    with pytest.raises(SettingsError, match="STRIPE_API_BASE"):
        load({**live, "STRIPE_API_BASE": "http://127.0.0.1:8010"})


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    """An orchestrator mounts secrets as files."""
    path = tmp_path / "secrets"
    path.write_text("whsec_0123456789abcdef\n")
    environ = {key: value for key, value in GOOD.items() if key != "STRIPE_WEBHOOK_SECRETS"}
    found = load({**environ, "STRIPE_WEBHOOK_SECRETS_FILE": str(path)})
    assert found.stripe_webhook_secrets[0].reveal() == "whsec_0123456789abcdef"
