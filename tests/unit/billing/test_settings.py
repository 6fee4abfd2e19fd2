"""Billing refuses to start on wrong settings, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.billing.settings import STRIPE_API, load
from shared.settings import SettingsError
from tests.fixtures.unpublished import (
    OLD_WEBHOOK_SECRET,
    PASSWORD,
    STRIPE_LIVE_KEY,
    STRIPE_TEST_KEY,
    WEBHOOK_SECRET,
    made_key,
)

GOOD = {
    "AMQP_URI": f"amqp://user:{PASSWORD}@127.0.0.1:5672/",
    "BILLING_DATABASE_URL": "sqlite://",
    "STRIPE_API_KEY": STRIPE_TEST_KEY,
    "STRIPE_WEBHOOK_SECRETS": f"{WEBHOOK_SECRET},{OLD_WEBHOOK_SECRET}",
    "PUBLIC_URL": "https://me.example.com/",
}


def test_the_least_that_is_needed() -> None:
    """Five variables are enough; the rest has defaults."""
    settings = load(GOOD)
    assert settings.stripe_api_base == STRIPE_API
    assert [secret.reveal() for secret in settings.stripe_webhook_secrets] == [
        WEBHOOK_SECRET,
        OLD_WEBHOOK_SECRET,
    ]
    assert (settings.livemode, settings.stripe_portal_configuration) == (False, None)


@pytest.mark.parametrize("value", ["dashboard", "portico", "bpc_1", ""])
def test_whose_portal_configuration_counts(value: str) -> None:
    """One of two words, or the id of a configuration; empty is not set, which is not the same as `dashboard`: an installation
    that is older than the choice stays as it was."""
    settings = load(GOOD | {"STRIPE_PORTAL_CONFIGURATION": value})
    assert settings.stripe_portal_configuration == (value or None)
    assert settings.names_portal_configuration is value.startswith("bpc_")


def test_no_secret_shows_itself() -> None:
    """The settings can be logged: key, webhook secrets and passwords stay hidden."""
    shown = repr(load(GOOD)) + str(load(GOOD))
    assert not any(
        secret in shown
        for secret in (STRIPE_TEST_KEY, WEBHOOK_SECRET, OLD_WEBHOOK_SECRET, PASSWORD)
    )


HIDDEN = "0123456789abcdef"
"""What no message may repeat."""


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_of_them_is_required(name: str) -> None:
    """Without any one of them, the webhook secrets above all, billing does not start."""
    with pytest.raises(SettingsError, match=name):
        load({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_KEY", f"pk_test_{HIDDEN}"),
        ("STRIPE_WEBHOOK_SECRETS", "short"),
        ("STRIPE_WEBHOOK_SECRETS", ","),
        ("STRIPE_WEBHOOK_SECRETS", f"rk_live_{HIDDEN}"),
        ("STRIPE_CONNECT_WEBHOOK_SECRETS", f"sk_test_{HIDDEN}"),
        ("STRIPE_API_BASE", "https://api.stripe.com/v1/"),
        ("BILLING_DATABASE_URL", f"postgresql://billing:{HIDDEN}@db:port/billing"),
        ("STRIPE_PORTAL_CONFIGURATION", "cfg_1"),
        ("STRIPE_PORTAL_CONFIGURATION", "Dashboard"),
        ("PUBLIC_URL", "me.example.com"),
        ("HTTP_ADDRESS", "8001"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated_if_secret(name: str, value: str) -> None:
    """The message names the variable; a secret's value is not in it."""
    with pytest.raises(SettingsError, match=name) as refused:
        load({**GOOD, name: value})
    assert HIDDEN not in str(refused.value)


def test_real_money_goes_over_tls_only() -> None:
    """A live key and a plain http base together are refused."""
    live = {**GOOD, "STRIPE_API_KEY": STRIPE_LIVE_KEY}
    assert load(live).livemode is True
    with pytest.raises(SettingsError, match="STRIPE_API_BASE"):
        load({**live, "STRIPE_API_BASE": "http://127.0.0.1:8010"})


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    """An orchestrator mounts secrets as files."""
    path = tmp_path / "secrets"
    path.write_text(f"{WEBHOOK_SECRET}\n")
    environ = {key: value for key, value in GOOD.items() if key != "STRIPE_WEBHOOK_SECRETS"}
    found = load({**environ, "STRIPE_WEBHOOK_SECRETS_FILE": str(path)})
    assert found.stripe_webhook_secrets[0].reveal() == WEBHOOK_SECRET


PUBLISHED = {
    "AMQP_URI": "amqp://billing:development@rabbitmq:5672/portico",
    "BILLING_DATABASE_URL": "postgresql://billing:development@postgresql-rw:5432/billing",
    "STRIPE_API_KEY": "sk_test_developmentonly",
    "STRIPE_WEBHOOK_SECRETS": "whsec_developmentonly0123456789",
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_what_the_repository_prints_is_refused_on_a_public_address(name: str) -> None:
    """Each known secret alone keeps billing from starting, and the message does not repeat it."""
    with pytest.raises(SettingsError, match=f"{name} is printed in Portico's own repo") as refused:
        load({**GOOD, name: PUBLISHED[name]})
    assert "development" not in str(refused.value)
    assert "one setting is wrong" in str(refused.value)


def test_a_laptop_may_use_what_the_repository_prints() -> None:
    """On a loopback address nobody else comes, and `compose up` needs no keys of its own."""
    assert load({**GOOD, **PUBLISHED, "PUBLIC_URL": "http://localhost:8000"})


def test_an_old_published_secret_behind_a_new_one_is_refused_too() -> None:
    """All entries of a list open the door, so each is looked at; the message says which."""
    both = f"{WEBHOOK_SECRET},whsec_developmentonly0123456789"
    with pytest.raises(SettingsError, match="STRIPE_WEBHOOK_SECRETS entry 2 is printed"):
        load({**GOOD, "STRIPE_WEBHOOK_SECRETS": both})


def test_accounts_with_keys_of_their_own_come_from_a_file(tmp_path: Path) -> None:
    """Read at the start; what is wrong with it keeps billing from starting, as any other setting does, and no key is told."""
    file = tmp_path / "accounts.json"
    entry = {"account": "acct_1", "key": STRIPE_TEST_KEY, "webhook_secrets": [WEBHOOK_SECRET]}
    file.write_text(json.dumps([entry]))
    given = GOOD | {"STRIPE_ACCOUNTS_FILE": str(file)}
    with pytest.raises(SettingsError) as refused:
        load(given)
    assert "STRIPE_ACCOUNTS_FILE can't be taken: entry 1 (acct_1): `key` is that of" in str(
        refused.value
    )
    assert "; for example STRIPE_ACCOUNTS_FILE=" in str(refused.value)
    assert STRIPE_TEST_KEY not in str(refused.value) + repr(refused.value)
    with pytest.raises(SettingsError, match="No such file"):
        load(GOOD | {"STRIPE_ACCOUNTS_FILE": str(tmp_path / "none")})
    key, secret = made_key("rk_test_", 1), made_key("whsec_", 2)
    file.write_text(json.dumps([entry | {"key": key, "webhook_secrets": [secret]}]))
    settings = load(given)
    assert settings.stripe_accounts_file is not None
    assert list(settings.stripe_accounts_file.keys) == ["acct_1"]
    assert key not in repr(settings)
    assert secret not in repr(settings)


def test_the_two_endpoints_have_secrets_of_their_own() -> None:
    """A secret that stood in both settings would speak for all accounts."""
    connect = {"STRIPE_CONNECT_WEBHOOK_SECRETS": f"{made_key('whsec_', 3)},{WEBHOOK_SECRET}"}
    with pytest.raises(SettingsError, match="STRIPE_CONNECT_WEBHOOK_SECRETS has a secret that"):
        load(GOOD | connect)
    connect = {"STRIPE_CONNECT_WEBHOOK_SECRETS": made_key("whsec_", 3)}
    assert len(load(GOOD | connect).stripe_connect_webhook_secrets) == 1
    assert load(GOOD).stripe_connect_webhook_secrets == ()
