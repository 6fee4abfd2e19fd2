"""The settings of each service: whatever is wrong, one message that names it, and never a crash."""

import importlib

import pytest

from scripts.make_docs import SERVICES, settings_of
from shared.settings import SettingsError


def complaint(service, values):
    """What a service says of these settings."""
    load = importlib.import_module(f"services.{service}.settings").load
    with pytest.raises(SettingsError) as caught:
        load(values)
    return str(caught.value)


NONSENSE = ("???", "http://", "'; DROP TABLE", "a,b", "\x00")


@pytest.mark.parametrize("service", SERVICES)
def test_nonsense_is_named(service):
    """Any setting with a value that makes no sense is in the message, with its meaning and an example."""
    names = {name for name, *_ in settings_of(service)}
    names -= {"MAIL_FROM", "PLATFORM_NAME"}  # nearly any text is a name
    unnamed = [
        (name, nonsense)
        for name in names
        for nonsense in NONSENSE
        if name not in complaint(service, {name: nonsense})
    ]
    assert unnamed == []


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_set(service):
    """With an empty environment every required setting is named at once."""
    said = complaint(service, {})
    required = [name for name, _, default, _ in settings_of(service) if repr(default) == "required"]
    assert required
    for name in required:
        assert f"{name} is not set" in said


def test_a_platforms_name_fits_a_header():
    """What customers know the installation as stands in an email's From."""
    assert "PLATFORM_NAME is longer than 60" in complaint("portal", {"PLATFORM_NAME": "x" * 61})


@pytest.mark.parametrize(
    "given",
    [
        "a@example.com, b@example.com",
        "a@example.com; b@example.com",
        "Portico <a@example.com>, b@example.com",
        "Portico <a@example.com> <b@example.com>",
        "Sunrise, Inc. <a@example.com>",
        "nobody",
        "@",
    ],
)
def test_emails_come_from_one_address(given):
    """Of two the first would be taken without a word, and replies and bounces of the second be waited for in vain."""
    assert "MAIL_FROM is not one email address" in complaint("notifier", {"MAIL_FROM": given})


@pytest.mark.parametrize(
    "given", ["a@example.com", "Portico <a@example.com>", '"Sunrise, Inc." <a@example.com>']
)
def test_a_name_may_stand_before_the_address(given):
    """Quoted, where a comma is in it."""
    assert "MAIL_FROM" not in complaint("notifier", {"MAIL_FROM": given})
