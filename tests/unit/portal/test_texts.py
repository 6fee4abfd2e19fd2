"""Words, amounts and times by language; calendar files; settings."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from icalendar import Calendar

from services.portal import texts as words
from services.portal.adapters.billing import RpcBillingPages
from services.portal.adapters.notifier import RpcFreshLinkMailer
from services.portal.domain.people import mask_email
from services.portal.handlers.resolved_links import open_billing
from services.portal.ports import BillingUnavailable, MailUnavailable
from services.portal.settings import load
from services.portal.texts import texts_in
from services.portal.web.calendars import appointment_file
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable
from shared.settings import SettingsError
from tests.fixtures.unpublished import LINK_KEY, OLD_LINK_KEY, PASSWORD
from tests.unit.portal.builders import NOW, ahead, appointment, snapshot

ROOM = Path(words.__file__).parent


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "shown"),
    [
        (12900, "usd", "en_US", "$129.00"),
        (129, "jpy", "en_US", "¥129"),
        (50000, "isk", "en_US", "ISK\xa0500"),
        (12900, "eur", "de_DE", "129,00\xa0€"),
        (1234567, "kwd", "en_US", "KWD\xa01,234.567"),
        (5, "usd", "en_US", "$0.05"),
        (10**15, "usd", "en_US", "$10,000,000,000,000.00"),
    ],
)
def test_amounts_by_currency_and_locale(
    amount: int, currency: str, locale: str, shown: str
) -> None:
    """Stripe's minor units become what people of the place write."""
    assert texts_in(Locale.parse(locale)).money(amount, currency) == shown


def test_a_visit_over_midnight_names_both_days() -> None:
    """The end of a night shift is not taken for the same evening."""
    shown = texts_in(Locale.parse("en")).days("UTC", NOW).hours(NOW, ahead(hours=12))
    assert shown == "6:00\u202fPM – Fri, Mar 6, 6:00\u202fAM"


@pytest.mark.parametrize(
    ("zone", "label"), [("America/Los_Angeles", "Pacific Time"), ("UTC", "UTC"), ("Etc/UTC", "UTC")]
)
def test_time_zones_have_names(zone: str, label: str) -> None:
    """People read "Pacific Time", not a database's key."""
    assert texts_in(Locale.parse("en")).zone_label(zone) == label


@pytest.mark.parametrize(
    ("address", "masked"),
    [("maria@example.com", "m•••@e•••.com"), ("a@b.co.uk", "a•••@b•••.uk"), ("odd", "•••")],
)
def test_addresses_are_masked(address: str, masked: str) -> None:
    """The owner recognises it, nobody else can use it."""
    assert mask_email(address) == masked


def test_an_appointment_becomes_a_calendar_entry_without_our_link() -> None:
    """Calendars are shared: the file names the visit and not the page, and turns no direction around."""
    found = snapshot(appointments=(appointment(7, title="Line\\break; \u202e<b>", ends_at=None),))
    body = appointment_file(found, 7, NOW)
    assert body is not None
    entry = Calendar.from_ical(body).walk("VEVENT")[0]
    assert str(entry["summary"]) == "Line\\break; <b> · Sunrise Home Cleaning"
    assert entry["dtstart"].dt == ahead(days=2)
    assert entry["dtend"].dt == ahead(days=2, hours=1)
    assert b"/me/" not in body
    assert appointment_file(found, 8, NOW) is None


def test_a_calendar_takes_an_appointment_that_was_moved() -> None:
    """To Google's and Outlook's it is the same entry as before, and old news, unless its sequence has grown."""
    files = [
        appointment_file(snapshot(appointments=(appointment(7),)), 7, NOW + dt.timedelta(days=days))
        for days in (0, 1)
    ]
    before, after = (Calendar.from_ical(body or b"").walk("VEVENT")[0] for body in files)
    assert before["uid"] == after["uid"]
    assert 0 < before["sequence"] < after["sequence"] < 2**31


def test_an_appointment_at_the_calendars_end_has_a_file() -> None:
    """No hour is left after it, and none is made up."""
    last = dt.datetime(9999, 12, 31, 23, 30, tzinfo=dt.UTC)
    body = appointment_file(
        snapshot(appointments=(appointment(7, starts_at=last, ends_at=None),)), 7, NOW
    )
    assert body is not None
    assert b"DTEND:99991231T235959Z" in body


class Answering:
    """A service that answers, or fails, as it was told; keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def create_portal_session(self, **asked: Any) -> Any:
        self.asked = asked
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    send_fresh_link = create_portal_session


SESSION = {"url": "https://billing.stripe.com/p/session/x"}


def click(billing: Answering, came_from: str | None = None) -> str:
    pages = RpcBillingPages(billing, ("https://billing.stripe.com",))
    return open_billing(
        pages, snapshot(), return_url="https://p.example/me/t", came_from=came_from, locale="en-GB"
    )


def test_a_click_opens_the_session_that_was_made_for_it() -> None:
    """Billing gets our return address, the flow of the mail's click, and the language."""
    billing = Answering(SESSION)
    assert click(billing, "payment_failed") == SESSION["url"]
    assert billing.asked == {
        "stripe_customer_id": "cus_1",
        "return_url": "https://p.example/me/t",
        "flow": "payment_method_update",
        "locale": "en-GB",
        "business_id": "sunrise",
    }
    click(billing)
    assert billing.asked["flow"] is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RpcTimeout("late"), "RpcTimeout"),
        (RpcUnavailable("nobody"), "RpcUnavailable"),
        (RemoteFault("PortalConfigurationMissing", "…"), "PortalConfigurationMissing"),
        ({"url": "https://evil.example/p"}, "UnexpectedOrigin"),
        ({"url": "https://billing.stripe.com.evil.example/p"}, "UnexpectedOrigin"),
        ({"url": "javascript:alert(1)"}, "UnexpectedOrigin"),
        ({"url": None}, "UnexpectedOrigin"),
        (None, "UnexpectedOrigin"),
    ],
)
def test_whatever_is_wrong_at_billing_is_one_error(answer: Any, reason: str) -> None:
    """The customer gets one friendly page, and a click never leads anywhere but to Stripe."""
    with pytest.raises(BillingUnavailable) as caught:
        click(Answering(answer))
    assert caught.value.reason == reason


def test_a_mail_that_cannot_be_asked_for_is_one_error() -> None:
    """The fresh link's page can say that it was not sent."""
    with pytest.raises(MailUnavailable, match="MethodNotFound"):
        RpcFreshLinkMailer(Answering(RemoteFault("MethodNotFound", "…"))).send_fresh_link("c")
    asked = Answering({})
    RpcFreshLinkMailer(asked).send_fresh_link("c")
    assert asked.asked == {"customer_id": "c"}


ENVIRON = {
    "AMQP_URI": f"amqp://portal:{PASSWORD}@localhost",
    "PORTAL_DATABASE_URL": f"postgresql://portal:{PASSWORD}@localhost/portal",
    "PORTAL_LINK_KEYS": f"{LINK_KEY},{OLD_LINK_KEY}",
    "PUBLIC_URL": "https://portal.example.com/",
}


def test_settings_are_read() -> None:
    """A right environment gives the settings; secrets don't show."""
    settings = load(ENVIRON)
    assert [key.reveal() for key in settings.link_keys] == [LINK_KEY, OLD_LINK_KEY]
    assert settings.public_url == "https://portal.example.com"
    assert settings.portal_session_origins == (
        "https://billing.stripe.com",
        "https://invoice.stripe.com",
    )
    assert LINK_KEY not in repr(settings)
    assert PASSWORD not in repr(settings)


def test_wrong_settings_are_named_all_at_once() -> None:
    """One message names every variable that is wrong or missing, and repeats no secret."""
    wrong = {
        "PORTAL_LINK_KEYS": "tooshort",
        "PUBLIC_URL": "portal.example.com",
        "PORTAL_SESSION_ORIGINS": "https://billing.stripe.com/p; script-src *",
        "HTTP_ADDRESS": "nowhere",
    }
    with pytest.raises(SettingsError) as caught:
        load(wrong)
    message = str(caught.value)
    for name in (*wrong, "AMQP_URI", "PORTAL_DATABASE_URL"):
        assert name in message
    assert "tooshort" not in message


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "PORTAL_LINK_KEYS",
            "development-only-0123456789abcdef0123456789abcdef",
            "is printed in Portico's own repository",
        ),
        ("PORTAL_LINK_KEYS", "password" * 6, "is not random"),
        ("PORTAL_DATABASE_URL", "postgresql://portal:development@db/portal", "is printed"),
    ],
)
def test_keys_that_others_know_are_for_a_laptop(name: str, value: str, problem: str) -> None:
    """A key from the repository or one that can be guessed is refused, unless PUBLIC_URL is loopback."""
    with pytest.raises(SettingsError, match=f"{name} {problem}") as refused:
        load({**ENVIRON, name: value})
    assert value not in str(refused.value)
    for public in ("http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"):
        assert load({**ENVIRON, name: value, "PUBLIC_URL": public})
