"""The notifier's settings."""

from __future__ import annotations

import pytest

from services.notifier.settings import load
from shared.settings import SettingsError
from tests.fixtures.unpublished import PASSWORD, SENDGRID_KEY
from tests.unit.notifier.test_feedback import PUBLIC

GOOD = {
    "AMQP_URI": f"amqp://notifier:{PASSWORD}@127.0.0.1:1/portico",
    "NOTIFIER_DATABASE_URL": "sqlite://",
    "SENDGRID_API_KEY": SENDGRID_KEY,
    "MAIL_FROM": "Portico <billing@mail.example.com>",
}


def test_the_least_that_is_needed() -> None:
    """Four variables; the rest has defaults, and without a public key there is no Event Webhook."""
    settings = load(GOOD)
    assert (settings.mail_from, settings.mail_from_name) == ("billing@mail.example.com", "Portico")
    assert settings.sendgrid_api_base == "https://api.sendgrid.com"
    assert (settings.senders, settings.sendgrid_webhook_public_key) == (16, None)
    assert SENDGRID_KEY not in repr(settings)
    assert PASSWORD not in repr(settings)


def test_loopback_for_hosts_is_for_a_laptop() -> None:
    """An installation that customers reach would let whoever names an endpoint call what listens beside it."""
    laptop = {**GOOD, "HOOKS_ALLOW_LOOPBACK": "true", "PUBLIC_URL": "http://localhost:8000"}
    assert load(laptop).hooks_allow_loopback
    for url in ({"PUBLIC_URL": "https://portal.example.com"}, {"PUBLIC_URL": ""}):
        with pytest.raises(SettingsError, match="HOOKS_ALLOW_LOOPBACK"):
            load({**laptop, **url})
    with pytest.raises(SettingsError, match="HOOK_KEYS"):
        load({**GOOD, "HOOK_KEYS": "short"})


def test_a_base_that_has_the_version_already_is_refused() -> None:
    """Each email would be refused for good, with 404."""
    with pytest.raises(SettingsError, match="SENDGRID_API_BASE ends with /v3"):
        load({**GOOD, "SENDGRID_API_BASE": "https://api.eu.sendgrid.com/v3/"})


def test_one_message_names_everything_that_is_wrong() -> None:
    """All mistakes at once, and no secret in the text."""
    with pytest.raises(SettingsError) as caught:
        load(
            {
                "SENDGRID_API_KEY": "SG.secret.key",
                "MAIL_FROM": "nobody",
                "NOTIFIER_SENDERS": "1000",
                "SENDGRID_WEBHOOK_PUBLIC_KEY": "c2hvcnQ=",
            }
        )
    text = str(caught.value)
    for name in (
        "AMQP_URI",
        "NOTIFIER_DATABASE_URL",
        "MAIL_FROM",
        "NOTIFIER_SENDERS",
        "SENDGRID_WEBHOOK_PUBLIC_KEY",
    ):
        assert name in text
    assert "SG.secret.key" not in text


@pytest.mark.parametrize("at", [40, 80, 120])
def test_a_public_key_with_a_wrong_letter_is_refused(at: int) -> None:
    """It is looked at when the service starts, not when SendGrid's first webhook comes."""
    wrong = PUBLIC[:at] + ("A" if PUBLIC[at] != "A" else "B") + PUBLIC[at + 1 :]
    with pytest.raises(
        SettingsError, match="SENDGRID_WEBHOOK_PUBLIC_KEY is not a P-256 public key"
    ):
        load(GOOD | {"SENDGRID_WEBHOOK_PUBLIC_KEY": wrong})


def test_the_public_key_may_come_as_pem() -> None:
    """People paste it with or without the lines around it."""
    pem = f"-----BEGIN PUBLIC KEY-----\n{PUBLIC[:64]}\n{PUBLIC[64:]}\n-----END PUBLIC KEY-----\n"
    assert load(GOOD | {"SENDGRID_WEBHOOK_PUBLIC_KEY": pem}).sendgrid_webhook_public_key == PUBLIC


PUBLISHED = {
    "AMQP_URI": "amqp://notifier:development@rabbitmq:5672/portico",
    "NOTIFIER_DATABASE_URL": "postgresql://notifier:development@postgresql-rw:5432/notifier",
    "SENDGRID_API_KEY": "SG.development.only",
}


@pytest.mark.parametrize("public", [None, "https://me.example.com", "http://localhost.example.com"])
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_what_the_repository_prints_is_refused_but_on_a_laptop(
    name: str, public: str | None
) -> None:
    """The notifier needs no PUBLIC_URL; without one, or with one that others reach, known secrets keep it from starting."""
    environ = {**GOOD, name: PUBLISHED[name]} | ({"PUBLIC_URL": public} if public else {})
    with pytest.raises(SettingsError, match=f"{name} is printed in Portico's own repository"):
        load(environ)
    assert load({**environ, "PUBLIC_URL": "http://127.0.0.1:8000"})
