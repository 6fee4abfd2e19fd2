"""What a worried customer asks: where is the button from the email, what is it for, is this real, will they still come."""

from __future__ import annotations

import re
from typing import Any

import pytest
from babel import Locale
from bs4 import BeautifulSoup
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal import serializers as wire
from services.portal.domain.notice import ASKING, Notice, State, Tone
from services.portal.handlers import appointments, customers
from services.portal.handlers.customers import Asked
from services.portal.models import BusinessRow
from services.portal.web import views
from shared.contracts.accounts import OWN, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import AppointmentArgument
from tests.unit.portal.builders import (
    NOW,
    TOKEN,
    add_business,
    add_customer,
    ago,
    ahead,
    business,
    snapshot,
)
from tests.unit.portal.test_views import owed
from tests.unit.wire import moment, on_the_wire

HEADING = "Update your payment method"
BUTTON = "Manage payment + subscriptions"
NOTE = "We come as planned while your payment is open."
ORIGINS = ("https://billing.stripe.com", "https://invoice.stripe.com")
WITH_NOTE = snapshot(business=business(service_note=NOTE))


def draw(
    tone: Tone, *lines: Any, found: Any = WITH_NOTE, origins: tuple[str, ...] = ORIGINS, **more: Any
) -> BeautifulSoup:
    view = views.MeView(found, Notice(tone, lines), TOKEN, Locale.parse("en"), NOW, **more)
    return BeautifulSoup(views.me(view, session_origins=origins).html, "html.parser")


def words(page: BeautifulSoup) -> str:
    return re.sub(r"\s+", " ", page.body.get_text() if page.body else "")


@pytest.mark.parametrize("state", list(State))
def test_who_comes_from_the_email_finds_its_words_right_above_the_button(state: State) -> None:
    """The email's button is a heading of the form, next to the page's button, while a payment method is what helps; where a
    confirmation helps, or time, it would send people the wrong way."""
    page = draw(Tone(state.value), owed(state))
    found = page.find("h3", id="update")
    if state not in (State.DECLINED, State.STILL_DECLINED):
        assert found is None
        return
    assert found is not None
    assert found.get_text() == HEADING
    button = found.find_next_sibling()
    assert button is not None
    assert button.name == "button"
    assert (button.get_text(), button["aria-describedby"]) == (BUTTON, "update")


def test_the_heading_is_there_when_one_of_several_needs_a_payment_method() -> None:
    """Beside an invoice that waits for a confirmation, too."""
    page = draw(Tone.CONFIRM, owed(State.CONFIRM, invoice_id="in_1"), owed(State.DECLINED))
    assert page.find("h3", id="update") is not None
    assert draw(Tone.WELL).find("h3", id="update") is None


@pytest.mark.parametrize("state", list(State))
def test_an_amount_that_is_asked_for_is_said_to_be_due(state: State) -> None:
    """What is on its way or paid is not."""
    amount = draw(Tone(state.value), owed(state)).find(id="a1")
    assert amount is not None
    assert amount.get_text() == ("$129.00 due" if state in ASKING else "$129.00")


@pytest.mark.whole
def test_each_line_says_what_it_is_for() -> None:
    """In the business's own words, which stay text; what is not known is not said."""
    page = draw(
        Tone.DECLINED,
        owed(purpose="<b>Deep</b> clean", purpose_more=2),
        owed(purpose="Windows"),
        owed(),
    )
    lines = [words_of.get_text(" ", strip=True) for words_of in page.select(".lines li")]
    assert "For: <b>Deep</b> clean and 2 more" in lines[0]
    assert "For: Windows" in lines[1]
    assert "For:" not in lines[2]
    assert page.select("b:not(.tile b)") == []


def test_each_button_says_where_it_leads() -> None:
    """The host that the address bar will show, of sessions and of invoices; where none is set, none is named."""
    page = draw(Tone.CONFIRM, owed(State.CONFIRM, invoice_id="in_1"))
    confirm, manage = page.select("form.billing")[:2]
    assert "The button opens invoice.stripe.com." in confirm.get_text()
    assert "The button opens billing.stripe.com." in manage.get_text()
    alone = draw(
        Tone.CONFIRM,
        owed(State.CONFIRM, invoice_id="in_1"),
        origins=("http://127.0.0.1:8010",),
    )
    assert words(alone).count("The button opens 127.0.0.1:8010.") == 2
    assert "The button opens" not in words(draw(Tone.WELL, origins=()))


def test_the_page_says_whose_it_is_and_what_it_never_asks() -> None:
    """The installation by its name, the business by its own, and whom to call."""
    page = words(draw(Tone.WELL, platform="Acme & Billing"))
    name = WITH_NOTE.business.name
    assert f"Acme & Billing runs this page for {name}." in page
    assert "We never ask for card or bank details by email or phone." in page
    assert f"If in doubt, call {name} on the number you already have." in page


@pytest.mark.parametrize("state", list(State))
def test_the_businesss_word_on_the_service_is_there_while_something_is_owed(state: State) -> None:
    """Never when nothing is, and never without its own words."""
    said = f"About your appointments: {NOTE}"
    page = words(draw(Tone(state.value), owed(state)))
    assert (said in page) is (state is not State.PAID)
    silent = words(draw(Tone(state.value), owed(state), found=snapshot()))
    assert "About your appointments" not in silent


# --- what the host tells ------------------------------------------------------------------------------------------


def contact(session: Session, stripe_id: str = "cus_1") -> dict[str, Any]:
    (person,) = customers.contacts(session, [Asked(StripeCustomer(OWN, stripe_id))], NOW)
    return on_the_wire(wire.contact)(
        customers.known(person), "https://portal.example/me/x", "Portico"
    )


def visits(session: Session, customer_id: str, *starts: Any) -> None:
    given = [
        AppointmentArgument(
            external_id=f"a{number}", title="12 Elm Street", starts_at=at, status=status
        )
        for number, (at, status) in enumerate(starts)
    ]
    appointments.upsert_appointments(session, customer_id=customer_id, given=given, now=NOW)


def test_the_contact_tells_when_the_next_appointment_is_and_nothing_else_of_it(
    session: Session,
) -> None:
    """The first scheduled one ahead: no cancelled one, none of the past, and no place."""
    add_business(session)
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    assert contact(session)["next_appointment"] is None
    visits(
        session,
        made.customer_id,
        (ago(days=1), "scheduled"),
        (ahead(days=1), "cancelled"),
        (ahead(days=9), "scheduled"),
        (ahead(days=2), "scheduled"),
    )
    session.flush()
    told = contact(session)
    assert told["next_appointment"] == moment(ahead(days=2))
    assert told["platform"] == "Portico"
    assert "Elm" not in str(told)


def test_a_business_sets_its_sender_and_its_word_and_takes_them_back(session: Session) -> None:
    """null takes them back, like everything else of a business; the sentence comes out cleaned."""
    add_business(
        session,
        sender_email="Billing@Sunrise.example",
        service_note="  We come\n as \u202eplanned. ",
    )
    add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    told = contact(session)["business"]
    assert told["sender_email"] == "Billing@Sunrise.example"
    assert told["service_note"] == "We come as planned."
    add_business(session, sender_email=None, service_note=None)
    session.flush()
    told = contact(session)["business"]
    assert (told["sender_email"], told["service_note"]) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender_email": "nobody"},
        {"sender_email": "a@b.example, c@d.example"},
        {"sender_email": "billing@häuser.example"},
        {"sender_email": "x@y.example\r\nBcc: z@y.example"},
        {"service_note": "x" * 201},
        {"service_note": "a\x07b"},
        {"charged_as": "x" * 81},
        {"currency": "dollars"},
        {"currency": "xyz"},
    ],
)
def test_what_no_email_could_carry_is_refused(session: Session, wrong: dict[str, str]) -> None:
    """With the argument's name, before anything is written."""
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        add_business(session, **wrong)


@pytest.mark.parametrize("state", [State.DECLINED, State.SETTLING, State.PAID])
def test_who_charges_is_said_where_it_is_another_name(state: State) -> None:
    """With each payment of the page; where the statement says the business's own name, or nobody said what, there is nothing to tell."""

    def told(**given: Any) -> str:
        found = snapshot(business=business(name="Sunrise", **given))
        return words(draw(Tone(state.value), owed(state), found=found))

    said = "Payments to Sunrise appear on your bank or card statement as: PORTICO* SUNRISE"
    assert said in told(charged_as="PORTICO* SUNRISE")
    for same in (None, "SUNRISE ", "Sunrise"):
        assert "statement" not in told(charged_as=same)


def test_without_a_payment_nobody_asks_who_charges() -> None:
    """Where all is well, the page says nothing of statements."""
    found = snapshot(business=business(charged_as="PORTICO* SUNRISE"))
    assert "statement" not in words(draw(Tone.WELL, found=found))


def test_who_charges_and_the_currency_of_its_figures_are_kept(session: Session) -> None:
    """As they are given; the emails are told who charges, and null takes both back."""
    add_business(session, charged_as=" PORTICO*\tSUNRISE ", currency="USD")
    add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    row = session.scalars(select(BusinessRow)).one()
    assert (row.charged_as, row.currency) == ("PORTICO* SUNRISE", "usd")
    assert contact(session)["business"]["charged_as"] == "PORTICO* SUNRISE"
    add_business(session, name="Still known")
    session.flush()
    assert (row.charged_as, row.currency) == ("PORTICO* SUNRISE", "usd")
    add_business(session, charged_as=None, currency=None)
    session.flush()
    assert (row.charged_as, row.currency) == (None, None)
    assert contact(session)["business"]["charged_as"] is None


def test_a_blank_sentence_is_none(session: Session) -> None:
    """An empty field of a form clears it."""
    add_business(session, service_note=" \n ")
    add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    assert contact(session)["business"]["service_note"] is None
