"""The settings of each service: whatever is wrong, one message that names it, and never a crash."""

import importlib

import pytest

from scripts.make_docs import SERVICES, settings_of
from shared.settings import SettingsError

CASES = [
    (service, name, meaning)
    for service in SERVICES
    for name, meaning, *_ in settings_of(service)
    if name not in ("MAIL_FROM", "PLATFORM_NAME")  # nearly any text is a name
]


@pytest.mark.parametrize(("service", "name", "meaning"), CASES, ids=lambda value: value)
@pytest.mark.parametrize("nonsense", ["???", "http://", "'; DROP TABLE", "a,b", "\x00"])
def test_nonsense_is_named(service, name, meaning, nonsense):
    """Any setting with a value that makes no sense is in the message, with its meaning and an example."""
    load = importlib.import_module(f"services.{service}.settings").load
    with pytest.raises(SettingsError) as caught:
        load({name: nonsense})
    assert name in str(caught.value)


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_set(service):
    """With an empty environment every required setting is named at once."""
    load = importlib.import_module(f"services.{service}.settings").load
    with pytest.raises(SettingsError) as caught:
        load({})
    required = [name for name, _, default, _ in settings_of(service) if repr(default) == "required"]
    assert required
    for name in required:
        assert f"{name} is not set" in str(caught.value)


def test_a_platforms_name_fits_a_header():
    """What customers know the installation as stands in an email's From."""
    load = importlib.import_module("services.portal.settings").load
    with pytest.raises(SettingsError, match="PLATFORM_NAME is longer than 60"):
        load({"PLATFORM_NAME": "x" * 61})


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
    load = importlib.import_module("services.notifier.settings").load
    with pytest.raises(SettingsError, match="MAIL_FROM is not one email address"):
        load({"MAIL_FROM": given})


@pytest.mark.parametrize(
    "given", ["a@example.com", "Portico <a@example.com>", '"Sunrise, Inc." <a@example.com>']
)
def test_a_name_may_stand_before_the_address(given):
    """Quoted, where a comma is in it."""
    load = importlib.import_module("services.notifier.settings").load
    with pytest.raises(SettingsError) as caught:
        load({"MAIL_FROM": given})
    assert "MAIL_FROM" not in str(caught.value)
