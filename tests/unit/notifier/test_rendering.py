"""What an email says and looks like."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import msgspec
import pytest
from bs4 import BeautifulSoup

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, TO_BUSINESS, Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.emails.letters import Letter, LetterData, letter
from services.notifier.emails.rendering import Rendered
from services.notifier.emails.samples import BUSINESS, sample_letter
from services.notifier.ports import Business, InvoiceReport
from shared.contracts.invoices import InvoiceStatus, Retry
from shared.contracts.payments import Decline, PaymentMethod
from tests.fixtures.languages import LANGUAGES
from tests.unit.notifier.conftest import RENDERER
from tests.unit.notifier.fakes import a_contact

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
EVERY_KIND = pytest.mark.parametrize("kind", list(Kind))
TO_CUSTOMERS = pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in TO_BUSINESS])


def rendered(kind: Kind = Kind.PAYMENT_FAILED, **changes: Any) -> Rendered:
    return RENDERER.render(msgspec.structs.replace(sample_letter(kind), **changes))


@TO_CUSTOMERS
def test_every_email_has_one_button_and_its_link_as_text(kind: Kind) -> None:
    """One thing to do: the button, the same link spelled out, and nothing else that leads to the page."""
    result = rendered(kind)
    page = BeautifulSoup(result.html, "html.parser")
    link = page.select_one("table.button a")
    assert link is not None
    url = str(link["href"])
    assert url.startswith("https://portico.example/me/SAMPLE-LINK-OF-NOBODY")
    assert len(page.select("table.button a")) == 1
    assert len(page.find_all("a", href=url)) == 2
    assert f"\n{url}\n" in result.text


@pytest.mark.parametrize("kind", sorted(TO_BUSINESS))
def test_a_business_never_gets_a_customers_link(kind: Kind) -> None:
    """The link is the customer's alone; only a request to cancel has buttons, and they are its own."""
    contact = a_contact()
    result = RENDERER.render(letter(kind, LetterData(contact=contact, now=NOW)))
    assert "/me/" not in result.html + result.text
    assert "<a " not in result.html
    decide = rendered(Kind.CANCELLATION_REQUESTED)
    page = BeautifulSoup(decide.html, "html.parser")
    buttons = [(link.get_text(), str(link["href"])) for link in page.select("table.button a")]
    assert buttons == [
        ("Keep the subscription", "https://portico.example/cancel/SAMPLE-DECLINE"),
        ("Approve cancellation", "https://portico.example/cancel/SAMPLE-APPROVE"),
    ]
    assert all(f"\n{url}\n" in decide.text for _, url in buttons)
    assert "December 7" in decide.text


def test_words_of_others_are_quoted_and_harmless() -> None:
    """The customer's own words stand apart, keep their lines, and stay text."""
    result = rendered(
        Kind.CANCELLATION_REQUESTED, note="<b>Bye</b>\r\n\r\n\x00\u202eThanks " + "x" * 3000
    )
    page = BeautifulSoup(result.html, "html.parser")
    quote = page.select_one("p.quote")
    assert quote is not None
    assert quote.get_text().startswith("<b>Bye</b>\n\nThanks")
    assert len(quote.get_text()) <= 2000
    assert "\n> <b>Bye</b>\n>\n> Thanks" in result.text
    assert "\u202e" not in result.html + result.text


LONGEST_LINE = 998
"""Bytes, of a mail's source (RFC 5322, 2.1.1). Servers on the way break what is longer, wherever that is."""


@EVERY_KIND
@pytest.mark.parametrize("note", ["", "😀" * 2000, "<b>&' " * 400])
def test_no_line_is_so_long_that_servers_break_it(kind: Kind, note: str) -> None:
    """Nor with the longest words of others: within a link or a sign the break would spoil it."""
    result = rendered(kind, note=note or sample_letter(kind).note)
    for part in (result.html, result.text):
        assert max(len(line.encode()) for line in part.splitlines()) <= LONGEST_LINE


def test_the_last_attempt_says_that_it_was_the_last() -> None:
    """How often it was tried, that no further try comes, and no date; an ended subscription is said to have ended."""
    text = rendered(Kind.PAYMENT_LAST_ATTEMPT).text
    assert "We’ve tried 4 times. We won’t try again automatically." in text
    assert "November" not in text
    assert "We’ve tried once." in rendered(Kind.PAYMENT_LAST_ATTEMPT, tries=1).text
    assert "subscription has ended" in rendered(Kind.PAYMENT_LAST_ATTEMPT, ended_unpaid=True).text


@EVERY_KIND
def test_every_email_is_whole(kind: Kind) -> None:
    """Subject on one line, preheader, heading, language, colour schemes, no leftover template syntax."""
    result = rendered(kind)
    page = BeautifulSoup(result.html, "html.parser")
    assert "\n" not in result.subject
    assert result.subject
    assert page.html is not None
    assert (page.html["lang"], page.html["dir"]) == ("en", "ltr")
    assert page.find("meta", attrs={"name": "color-scheme"})
    assert page.h1 is not None
    assert page.body is not None
    assert page.body.div is not None
    assert len(page.body.div.get_text(strip=True)) > 20
    assert all(table.get("role") == "presentation" for table in page.find_all("table"))
    for part in (result.subject, result.text, result.html):
        assert "{{" not in part
        assert "{%" not in part
        assert "None" not in part
    assert len(result.html.encode()) < 30_000


@TO_CUSTOMERS
def test_the_structured_data_names_the_action(kind: Kind) -> None:
    """Mail clients show the button in the list: schema.org's ViewAction on the same link."""
    page = BeautifulSoup(rendered(kind).html, "html.parser")
    script = page.find("script", type="application/ld+json")
    button = page.select_one("table.button a")
    assert script is not None
    assert button is not None
    data = json.loads(script.get_text())
    assert data["potentialAction"] == {
        "@type": "ViewAction",
        "name": button.get_text(),
        "target": button["href"],
        "url": button["href"],
    }


def test_the_button_of_a_failed_payment_leads_to_the_new_card() -> None:
    """Its words are the product's promise, and the page learns where the customer comes from."""
    page = BeautifulSoup(rendered().html, "html.parser")
    button = page.select_one("table.button a")
    assert button is not None
    assert button.get_text() == "Update your payment method"
    assert str(button["href"]).endswith("?from=payment_failed")


@pytest.mark.parametrize(
    ("decline", "words"),
    [
        (Decline.EXPIRED_CARD, "has expired"),
        (Decline.INSUFFICIENT_FUNDS, "wasn’t enough money"),
        (Decline.LOST_OR_STOLEN, "was declined"),
        (Decline.INCORRECT_DETAILS, "details we have"),
        (Decline.PROCESSING_ERROR, "technical problem"),
        (Decline.DECLINED, "was declined"),
    ],
)
@pytest.mark.parametrize("last4", ["4242", None])
def test_declines_are_told_in_plain_words(decline: Decline, words: str, last4: str | None) -> None:
    """One sentence a kind of decline, with or without the card's number, and never Stripe's code."""
    text = rendered(
        decline=decline, method=PaymentMethod(type="card", brand="visa", last4=last4)
    ).text
    assert words in text
    assert "_" not in decline.value or decline.value not in text
    assert ("4242" in text) == (last4 is not None)


BANK = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")
NAMED = "your bank account at STRIPE TEST BANK ending in 6789"


@pytest.mark.parametrize(
    ("decline", "words"),
    [
        (Decline.INSUFFICIENT_FUNDS, f"there wasn’t enough money in {NAMED}."),
        (Decline.ACCOUNT_CLOSED, f"Your bank says that {NAMED} is closed"),
        (Decline.NOT_AUTHORIZED, f"The permission to charge {NAMED} was withdrawn."),
        (Decline.INCORRECT_DETAILS, f"details we have for {NAMED} aren’t right"),
        (Decline.PROCESSING_ERROR, "technical problem"),
        (Decline.DECLINED, f"The payment from {NAMED} was declined."),
    ],
)
def test_a_debit_that_came_back_is_told_as_one(decline: Decline, words: str) -> None:
    """The account is named by its bank and its end, and nobody is told of seconds: debits take days."""
    text = rendered(decline=decline, method=BANK).text
    assert words in text
    assert "Bank account: STRIPE TEST BANK ••••\u00a06789" in text
    assert "Payments from a bank account take a few days to arrive." in text
    assert "card" not in text.partition("\n--\n")[0].lower()


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("method", [PaymentMethod(type="card", brand="visa", last4="4242"), BANK])
def test_a_lost_card_reads_like_any_other_decline(method: PaymentMethod, locale: str) -> None:
    """Stripe asks for that. And the sentence names nobody, and says of no reason that it isn't known: Stripe blocks payments, too, and
    names the limit that was exceeded."""
    plain, lost = (
        rendered(decline=decline, method=method, locale=locale).text
        for decline in (Decline.DECLINED, Decline.LOST_OR_STOLEN)
    )
    assert plain == lost
    if locale == "en":
        assert "Your bank" not in plain.partition("\n--\n")[0]
        assert "why" not in plain


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (PaymentMethod(type="paypal"), "The payment from your PayPal account was declined"),
        (PaymentMethod(type="klarna"), "The payment from your payment method was declined"),
        (None, "The payment from your payment method was declined"),
    ],
)
def test_what_is_neither_card_nor_bank_account_is_called_neither(
    method: PaymentMethod | None, words: str
) -> None:
    """A wallet by its name, anything else and the unknown a payment method; no bank is said to have spoken."""
    text = rendered(decline=Decline.DECLINED, method=method).text.partition("\n--\n")[0]
    assert words in text
    assert "card" not in text.lower()
    assert "bank" not in text.lower()


@pytest.mark.parametrize(
    "kind", [Kind.PAYMENT_FAILED, Kind.PAYMENT_REMINDER, Kind.PAYMENT_LAST_ATTEMPT]
)
def test_where_there_was_nothing_to_charge_no_payment_is_said_to_have_failed(kind: Kind) -> None:
    """Its own words, with the amount and the same button; nobody promises to try again."""
    result = rendered(
        kind,
        decline=Decline.NO_PAYMENT_METHOD,
        method=None,
        planned=Retry.WAITS_FOR_METHOD,
        next_attempt=None,
    )
    assert "Your automatic payment of $149.00 to Sunrise Home Cleaning is due." in result.text
    assert "There was no payment method on file that we could charge." in result.text
    assert "As soon as you have added a payment method" in result.text
    whole = result.subject + result.text + result.html
    for wrong in ("go through", "tried", "try again", "declined", "didn’t work"):
        assert wrong not in whole
    assert "Update your payment method" in result.text


def test_a_missing_payment_method_stands_in_the_subject() -> None:
    """The first email about it says at once what is missing."""
    result = rendered(decline=Decline.NO_PAYMENT_METHOD, method=None)
    assert result.subject == "No payment method for $149.00"
    assert "A payment method is missing" in result.html


def test_lost_and_stolen_is_never_said() -> None:
    """Stripe asks to keep that reason from whoever is paying."""
    text = rendered(decline=Decline.LOST_OR_STOLEN).text.lower()
    assert "lost" not in text
    assert "stolen" not in text


def test_what_is_not_known_is_not_said() -> None:
    """No reason, no card, no amount, no date: the email still stands, without a guess."""
    result = rendered(decline=None, method=None, amount=None, number=None, next_attempt=None)
    assert "declined" not in result.text
    assert "We may try again." in result.text
    assert "Amount due" not in result.text


def test_the_next_try_is_promised_only_when_it_can_happen() -> None:
    """A known date is said in the customer's time zone; after a decline that needs a new card no date is."""
    soft: dict[str, Any] = {"decline": Decline.INSUFFICIENT_FUNDS, "timezone": "Asia/Tokyo"}
    late = dt.datetime(2026, 11, 27, 20, tzinfo=dt.UTC)
    assert "Saturday, November 28" in rendered(next_attempt=late, **soft).text
    assert "add a new one" in rendered(planned=Retry.WAITS_FOR_METHOD, **soft).text


@pytest.mark.parametrize(
    ("following", "said"),
    [
        (PaymentMethod(type="card", brand="mastercard", last4="4444"), "Mastercard •••• 4444"),
        (PaymentMethod(type="card", last4="4444"), "Card •••• 4444"),
        (
            PaymentMethod(type="us_bank_account", bank="Chase", last4="6789"),
            "Bank account Chase •••• 6789",
        ),
        (PaymentMethod(type="paypal"), "PayPal"),
        (PaymentMethod(type="card", brand="visa", last4="4242"), None),
        (PaymentMethod(type="konbini"), None),
        (None, None),
    ],
)
def test_a_promised_try_names_what_it_is_taken_from_where_that_is_another(
    following: PaymentMethod | None, said: str | None
) -> None:
    """Stripe's order of choice may come to another payment method than failed; the same one, or an unknown, is not repeated."""
    text = rendered(
        decline=Decline.INSUFFICIENT_FUNDS,
        method=PaymentMethod(type="card", brand="visa", last4="4242"),
        next_method=following,
        next_attempt=dt.datetime(2026, 11, 27, 20, tzinfo=dt.UTC),
    ).text
    text = " ".join(text.split())
    assert ("taken from" in text) == (said is not None)
    assert said is None or f"The payment will then be taken from: {said}." in text


@pytest.mark.parametrize(
    ("planned", "heard", "promised"),
    [
        (Retry.SCHEDULED, False, True),
        (Retry.SCHEDULED, True, False),
        (Retry.WAITS_FOR_METHOD, False, False),
        (Retry.OVER, False, False),
        (Retry.UNKNOWN, False, False),
    ],
)
def test_a_date_is_promised_only_when_a_charge_will_really_happen(
    planned: Retry, heard: bool, promised: bool
) -> None:
    """Not after a decline that stops Stripe's tries, and not where the decline isn't known."""
    later = NOW + dt.timedelta(days=3)
    incident = Incident(invoice_id="in_1", stripe_customer_id="cus_1", next_payment_attempt=later)
    now = InvoiceNow(status=InvoiceStatus.OPEN, next_payment_attempt=later, heard=heard)
    said = letter(
        Kind.PAYMENT_FAILED,
        LetterData(
            contact=a_contact(),
            now=NOW,
            incident=incident,
            report=InvoiceReport(now=now),
            planned=planned,
        ),
    )
    assert said.next_attempt == (later if promised else None)


NASTY = 'Zoë <script>alert(1)</script> & "Söhne"\r\nBcc: victim@example.com\x00\u202egnp.exe'


@EVERY_KIND
def test_names_from_strangers_are_harmless(kind: Kind) -> None:
    """HTML, quotes, line breaks, control characters and direction overrides: readable, without effect."""
    business = msgspec.structs.replace(BUSINESS, name=NASTY)
    result = rendered(kind, customer_name=NASTY, business=business)
    page = BeautifulSoup(result.html, "html.parser")
    assert len(page.find_all("script")) == 1
    assert "<script>alert" not in result.html.replace("\\u003cscript", "")
    for part in (result.subject, result.html, result.text):
        assert "\x00" not in part
        assert "\u202e" not in part
    assert "\r" not in result.subject + result.text
    assert "\n" not in result.subject
    assert not re.search(r"(?m)^Bcc:", result.text)
    assert "Zoë" in page.get_text()


@EVERY_KIND
def test_a_customers_name_is_no_link(kind: Kind) -> None:
    """Anybody can give such a name at a checkout, with somebody else's address. Mail readers make links of what looks like one, in text and
    in HTML: a space keeps them from it."""
    name = "Pay https://evil.example/x www.evil。example bo@evil.example"
    result = rendered(kind, customer_name=name)
    for part in (result.subject, result.text, result.html):
        assert not re.search(r"https?://evil|evil[.。]example|www\.evil", part)
    if "evil" in result.text:
        assert "Pay https: //evil. example/x www. evil。 example" in result.text
    assert "Hello J. R. Lee," in rendered(customer_name="J.R. Lee").text
    assert "Hello Dr. Lee v. Au," in rendered(customer_name="Dr. Lee v. Au").text


def test_a_name_in_the_other_direction_stays_in_its_place() -> None:
    """Right-to-left names are isolated: `<bdi>` in HTML, isolating marks in plain text."""
    result = rendered(customer_name="דנה כהן")
    assert "<bdi>דנה כהן</bdi>" in result.html
    assert "\u2068דנה כהן\u2069" in result.text
    assert "\u2068" not in rendered().text


def test_a_very_long_name_is_cut() -> None:
    """200 characters of name don't push the amount off the screen."""
    business = msgspec.structs.replace(BUSINESS, name="Sehr lang " * 20)
    assert len(rendered(business=business).subject) < 130


def test_a_cancellation_promises_no_end_of_charges() -> None:
    """What was used in the last period is charged as it ends: an approval says that the subscription won't renew."""
    approved = rendered(Kind.CANCELLATION_APPROVED)
    for text in (approved.text, approved.html):
        assert "After that it won’t renew." in text
        assert "charged" not in text
    assert "charged" not in rendered(Kind.CANCELLATION_APPROVED, ends_at=None).text


@pytest.mark.parametrize("kind", [Kind.CANCELLATION_REQUESTED, Kind.CANCELLATION_BY_HAND])
def test_no_period_is_called_paid_with_its_date(kind: Kind) -> None:
    """Whoever asks to cancel may owe for it, or be in a trial."""
    assert "Current period until: Wed, Dec 23" in rendered(kind).text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//x", "http://a b", ""]
)
def test_only_web_addresses_become_links(url: str) -> None:
    """A business's website or logo with another scheme is left out."""
    business = msgspec.structs.replace(BUSINESS, website=url, logo_url=url)
    page = BeautifulSoup(rendered(business=business).html, "html.parser")
    assert page.find("img") is None
    schemes = {str(link["href"]).split(":")[0] for link in page.find_all("a")}
    assert schemes == {"https", "tel"}


def test_the_name_stands_beside_the_logo() -> None:
    """With images off nothing is lost: the logo is decoration, the name is text."""
    business = msgspec.structs.replace(BUSINESS, logo_url="https://cdn.example/logo.png")
    page = BeautifulSoup(rendered(business=business).html, "html.parser")
    assert page.img is not None
    assert page.img["alt"] == ""
    assert page.find("bdi", string="Sunrise Home Cleaning")


def test_the_footer_knows_only_what_the_business_gave() -> None:
    """No address to reply to: the email does not promise that a reply is read."""
    text = rendered(business=Business(name="Acme")).text
    assert "reply" not in text.lower()
    assert "reply to this email" in rendered().text


def test_a_letter_prefers_what_billing_just_read() -> None:
    """A part payment, a number and a date that the event did not know yet."""
    incident = Incident(
        invoice_id="in_1", stripe_customer_id="cus_1", currency="eur", amount_remaining=14900
    )
    later = NOW + dt.timedelta(days=3)
    report = InvoiceReport(
        now=InvoiceNow(
            status=InvoiceStatus.OPEN,
            amount_remaining=9900,
            number="A-7",
            next_payment_attempt=later,
            decline=Decline.DECLINED,
        ),
        method=PaymentMethod(type="card", brand="visa", last4="4242"),
    )
    said = letter(
        Kind.PAYMENT_FAILED,
        LetterData(
            contact=a_contact(), now=NOW, incident=incident, report=report, planned=Retry.SCHEDULED
        ),
    )
    assert (said.amount, said.currency, said.number) == (9900, "eur", "A-7")
    assert (said.next_attempt, said.decline) == (later, Decline.DECLINED)
    assert (
        letter(
            Kind.PAYMENT_FAILED, LetterData(contact=a_contact(), now=NOW, incident=incident)
        ).amount
        == 14900
    )


def test_a_date_that_has_passed_promises_nothing() -> None:
    """An email that was delayed over the next try does not announce it."""
    incident = Incident(invoice_id="in_1", stripe_customer_id="cus_1", next_payment_attempt=NOW)
    assert (
        letter(
            Kind.PAYMENT_FAILED, LetterData(contact=a_contact(), now=NOW, incident=incident)
        ).next_attempt
        is None
    )


@pytest.mark.parametrize("decline", [Decline.NO_PAYMENT_METHOD, Decline.LOST_OR_STOLEN])
def test_where_there_was_nothing_to_charge_no_day_of_a_try_is_told(decline: Decline) -> None:
    """Stripe goes by its schedule, and each time there is nothing to try."""
    incident = Incident(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        currency="usd",
        status=InvoiceStatus.OPEN,
        amount_remaining=4900,
        attempt_count=4,
        first_failed_at=NOW - dt.timedelta(days=15),
        last_failed_at=NOW,
    )
    now = InvoiceNow(status=InvoiceStatus.OPEN, decline=decline, needs_new_method=True)
    data = LetterData(
        contact=a_contact(), now=NOW, incident=incident, report=InvoiceReport(now=now)
    )
    result = RENDERER.render(letter(Kind.COLLECTION_ENDED, data))
    assert ("The last try was on" in result.text) == (decline is not Decline.NO_PAYMENT_METHOD)
    assert "We’ve tried" not in result.text
    assert all(one.get_text(strip=True) for one in BeautifulSoup(result.html, "html.parser")("p"))


def test_the_recovery_says_what_was_paid() -> None:
    """Nothing remains by then; the amount is what arrived."""
    incident = Incident(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        currency="usd",
        status=InvoiceStatus.PAID,
        amount_remaining=0,
        amount_paid=14900,
    )
    said: Letter = letter(
        Kind.PAYMENT_RECOVERED, LetterData(contact=a_contact(), now=NOW, incident=incident)
    )
    assert "$149.00" in RENDERER.render(said).text


def test_a_payment_that_came_in_says_when_and_promises_nothing_of_others() -> None:
    """The day of the payment, for customer and business; another invoice may be open, so only this one is settled."""
    incident = Incident(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        currency="usd",
        status=InvoiceStatus.PAID,
        amount_paid=14900,
        closed_at=NOW,
    )
    for kind in (Kind.PAYMENT_RECOVERED, Kind.CUSTOMER_RECOVERED):
        text = RENDERER.render(
            letter(kind, LetterData(contact=a_contact(), now=NOW, incident=incident))
        ).text
        assert "\nPaid on: Mon, Nov 23\n" in text
        assert "Nothing more is needed for this payment." in text


@pytest.mark.parametrize(
    "kind", sorted(DUNNING - {Kind.PAYMENTS_FAILED, Kind.PAYMENT_ACTION_REQUIRED})
)
def test_an_ended_subscription_comes_first(kind: Kind) -> None:
    """Whichever email it is, subject and heading say that the subscription is over and that something is unpaid."""
    result = rendered(kind, ended_unpaid=True)
    assert result.subject == "Your subscription ended, $149.00 unpaid"
    assert result.text.startswith("Your subscription has ended\n")
    assert "try again" not in result.html


@pytest.mark.whole
@pytest.mark.parametrize("language", LANGUAGES)
@EVERY_KIND
def test_the_line_below_the_subject_adds_to_it(kind: Kind, language: str) -> None:
    """A preheader that repeats the subject, its amount or its name is a line lost."""
    said = sample_letter(kind, language)
    result = RENDERER.render(said)
    preheader = re.search(r'aria-hidden="true">(.*?)&#847;', result.html)
    assert preheader is not None
    words = preheader[1].strip()
    assert words not in result.subject
    assert "149" not in words
    assert said.customer_name not in words
    assert said.business.name not in words


@pytest.mark.parametrize("kind", sorted(TO_BUSINESS))
def test_a_business_reads_who_writes_and_for_whom(kind: Kind) -> None:
    """“We” in an email to a business is the platform: its name stands at the top and at the end, where it is known."""
    result = rendered(kind)
    assert "Portico, for <bdi>Sunrise Home Cleaning</bdi></td>" in result.html
    assert "\nPortico, for Sunrise Home Cleaning\n" in result.text
    assert "Portico" not in rendered(kind, platform=None).text
    assert "Portico, for" not in rendered(Kind.PAYMENT_FAILED).text


def test_a_business_reads_when_it_is_to_come_next_to_whoever_has_not_paid() -> None:
    """Day and hour of the next appointment stand with what is unpaid, in the business's time zone; no line without one."""
    assert "\nNext appointment: Wed, Dec 2, 9:00\u202fAM\n" in rendered(Kind.COLLECTION_ENDED).text
    assert "appointment" not in rendered(Kind.COLLECTION_ENDED, next_appointment=None).text.lower()
