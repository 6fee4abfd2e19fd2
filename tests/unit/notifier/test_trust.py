"""What tells a customer that an email is real, what it is for, and what becomes of the service."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import msgspec
import pytest
from bs4 import BeautifulSoup

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, TO_BUSINESS, Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.emails.letters import LetterData, letter
from services.notifier.emails.rendering import Rendered
from services.notifier.emails.samples import sample_letter
from services.notifier.handlers.compose import compose
from services.notifier.ports import Business, InvoiceReport
from services.notifier.queries.leases import Leased
from shared.contracts.invoices import Retry
from tests.fixtures.languages import LANGUAGES
from tests.unit.notifier.conftest import RENDERER
from tests.unit.notifier.fakes import a_contact

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
NOTE = "We come as planned while your payment is open."
TO_CUSTOMERS = pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in TO_BUSINESS])


def rendered(kind: Kind = Kind.PAYMENT_FAILED, **changes: Any) -> Rendered:
    return RENDERER.render(msgspec.structs.replace(sample_letter(kind), **changes))


def seen(html: str) -> str:
    """What a person reads of it."""
    page = BeautifulSoup(html, "html.parser")
    for hidden in page(["style", "script"]):
        hidden.decompose()
    return " ".join(page.get_text().split())


def incident(**changes: Any) -> Incident:
    values = {"invoice_id": "in_1", "stripe_customer_id": "cus_1", "currency": "usd"}
    return Incident(**{**values, "amount_remaining": 14900, "status": "open", **changes})


@TO_CUSTOMERS
def test_every_email_to_a_customer_says_how_to_tell_that_it_is_real(kind: Kind) -> None:
    """Who sends it for whom, when the next appointment is, what is never asked, whom to call, and what the button opens: in
    both parts, and without a place or a street."""
    result = rendered(kind)
    for part in (" ".join(result.text.split()), seen(result.html)):
        assert "Portico sends this email on behalf of Sunrise Home Cleaning." in part
        assert "is planned for Wednesday, December 2, 9:00 AM." in part.replace("\u202f", " ")
        assert "We never ask for card or bank details by email or phone." in part
        assert "call Sunrise Home Cleaning on the number you already have." in part
    assert "The button opens portico.example." in seen(result.html)


@pytest.mark.parametrize("kind", sorted(TO_BUSINESS))
def test_a_business_is_told_none_of_that(kind: Kind) -> None:
    """Those are its own customers' worries."""
    result = rendered(kind)
    assert "planned for" not in result.text + result.html
    assert "number you already have" not in result.text + result.html
    assert NOTE not in result.text + result.html


def test_what_is_not_known_is_not_said() -> None:
    """A customer without an appointment ahead, and a portal that doesn't tell whose installation it is."""
    contact = a_contact(next_appointment=NOW - dt.timedelta(hours=1))
    text = RENDERER.render(
        letter(Kind.PAYMENT_FAILED, LetterData(contact=contact, now=NOW, incident=incident()))
    ).text
    assert "next appointment" not in text
    assert "on behalf of" not in text
    assert "We never ask for card or bank details" in text


def test_the_appointment_is_on_the_customers_clock() -> None:
    """A moment is told as the customer's own zone has it."""
    later = dt.datetime(2026, 12, 2, 23, 30, tzinfo=dt.UTC)
    text = rendered(next_appointment=later, timezone="Europe/Berlin", locale="de").text
    assert "Donnerstag, 3. Dezember" in text
    assert ", 00:30 Uhr." in text


@pytest.mark.parametrize("kind", sorted(DUNNING))
def test_a_business_may_say_what_becomes_of_the_service(kind: Kind) -> None:
    """Its sentence stands in each email that asks for money, as it is and as plain text; nobody else's words stand there."""
    assert NOTE in rendered(kind).text
    nasty = "<b>Bold</b> \u202e%(name)s {{ 7*7 }}"
    result = rendered(kind, business=Business(name="Acme", service_note=nasty))
    assert "About your appointments: <b>Bold</b> %(name)s {{ 7*7 }}" in seen(result.html)
    assert "\u202e" not in result.text + result.html
    silent = rendered(kind, business=Business(name="Acme"))
    assert "About your appointments" not in silent.text + silent.html


@pytest.mark.parametrize("kind", sorted({*DUNNING, Kind.PAYMENT_RECOVERED}))
def test_who_charges_is_said_where_it_is_another_name(kind: Kind) -> None:
    """In each email about a charge, in text and HTML; not where the statement says the business's own name."""
    sunrise = Business(name="Sunrise", charged_as="PORTICO* <SUNRISE>")
    said = "Payments to Sunrise appear on your bank or card statement as: PORTICO* <SUNRISE>"
    result = rendered(kind, business=sunrise)
    assert said in " ".join(result.text.replace("\u2068", "").replace("\u2069", "").split())
    assert said in seen(result.html)
    for same in (None, "SUNRISE"):
        silent = rendered(kind, business=Business(name="Sunrise", charged_as=same))
        assert "statement" not in silent.text + silent.html


@pytest.mark.parametrize("kind", sorted({Kind.FRESH_LINK, *TO_BUSINESS}))
def test_what_is_about_no_charge_says_nothing_of_who_charges(kind: Kind) -> None:
    """Nobody looks at a statement for these."""
    result = rendered(kind, business=Business(name="Sunrise", charged_as="PORTICO* SUNRISE"))
    assert "PORTICO*" not in result.text + result.html


def test_good_news_bring_no_worry() -> None:
    """Where nothing is owed there is no question whether somebody comes."""
    assert NOTE not in rendered(Kind.PAYMENT_RECOVERED).text


@pytest.mark.parametrize(
    ("known", "fresh", "words"),
    [
        (incident(purpose="Deep clean"), None, "For: Deep clean\n"),
        (incident(purpose="Deep clean", purpose_more=2), None, "For: Deep clean and 2 more\n"),
        (incident(), InvoiceNow(purpose="Windows"), "For: Windows\n"),
        (incident(purpose="Old"), InvoiceNow(purpose="New", purpose_more=1), "New and 1 more\n"),
        (incident(purpose="Deep clean"), InvoiceNow(), "For: Deep clean\n"),
    ],
)
def test_what_it_is_for_is_told(known: Incident, fresh: InvoiceNow | None, words: str) -> None:
    """By what was just read, else by what was heard."""
    report = InvoiceReport(now=fresh) if fresh else None
    said = letter(
        Kind.PAYMENT_FAILED, LetterData(contact=a_contact(), now=NOW, incident=known, report=report)
    )
    assert words in RENDERER.render(said).text


def test_an_event_of_an_earlier_release_leaves_no_empty_row() -> None:
    """Not known is not said."""
    said = RENDERER.render(
        letter(Kind.PAYMENT_FAILED, LetterData(contact=a_contact(), now=NOW, incident=incident()))
    )
    assert "For:" not in said.text
    assert ">For<" not in said.html


def test_each_of_several_invoices_says_what_it_is_for() -> None:
    """Beside its number."""
    text = rendered(Kind.PAYMENTS_FAILED).text
    assert "Invoice SUN-0041 (Weekly home cleaning): $99.00" in text
    assert "Invoice SUN-0042 (Windows, both floors and 1 more): $50.00" in text


@pytest.mark.whole
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_email_frightens(language: str) -> None:
    """In the text itself no words that scams are made of; in English, which the others are translated from, none at all."""
    scary = re.compile(r"action required|urgent|immediately|last notice|suspend|verify your", re.I)
    for kind in DUNNING:
        said = RENDERER.render(sample_letter(kind, language))
        assert not scary.search(said.text), said.text


def leased(kind: Kind) -> Leased:
    return Leased(
        notification_id="ntf_1",
        lease_token="t",
        kind=kind,
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        customer_id=None,
        correlation_id="c",
        traceparent="",
        incident=incident(),
        heard_at=NOW,
        occurred_at=NOW,
    )


def test_the_sender_is_the_businesss_own_where_it_has_one() -> None:
    """Emails to customers carry the business's own address and the installation's name; emails to the business neither."""
    business = Business(name="Acme", email="hi@acme.example", sender_email="billing@acme.example")
    contact = a_contact(business=business, platform="Portico")

    def mail(kind: Kind) -> tuple[str | None, str | None, str | None]:
        made = compose(RENDERER, leased(kind), contact, None, None, Retry.UNKNOWN, NOW)
        return made.sender_email, made.platform, made.reply_to

    asked = mail(Kind.PAYMENT_FAILED)
    assert asked == ("billing@acme.example", "Portico", "hi@acme.example")
    assert mail(Kind.SUBSCRIPTION_ENDING)[:2] == (None, None)
