"""The pages about confirming a payment, about subscriptions, and about asking to cancel one."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from services.portal.domain.cancelling import Decision
from services.portal.domain.notice import Notice, State, Tone
from services.portal.domain.snapshot import Asked, Subscription
from services.portal.handlers.cancelling import Asking, Request
from services.portal.models import BusinessRow
from services.portal.web import frame, request_views, views
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import PaymentMethod
from shared.contracts.prices import Pricing, Terms
from tests.unit.portal.builders import CUSTOMER_ID, NOW, TOKEN, ago, ahead, business, snapshot
from tests.unit.portal.test_views import EN, HOSTILE, ORIGINS, Elements, draw, owed

SUBSCRIPTION = Subscription(
    ref=7,
    subscription_id="sub_1",
    status="active",
    current_period_end=ahead(days=20),
    description="Fortnightly clean",
    terms=Terms(
        pricing=Pricing.FIXED, amount=14900, currency="usd", interval="month", discounted=False
    ),
    collection_paused=False,
)


def forms(page: frame.Page) -> list[str]:
    return [
        attributes["action"] or ""
        for tag, attributes in Elements(page.html).elements
        if tag == "form"
    ]


def test_a_payment_to_confirm_has_one_button_that_leads_to_it() -> None:
    """The confirmation comes first; Stripe's other page stays in reach, more quietly."""
    page = draw(Notice(Tone.CONFIRM, (owed(State.CONFIRM, invoice_id="in_1"),)))
    assert forms(page) == [f"/me/{TOKEN}/confirm/in_1", f"/me/{TOKEN}/billing"]
    assert "Confirm your payment" in page.html


def test_each_of_several_payments_is_confirmed_by_its_own_button() -> None:
    """Two invoices are two pages at Stripe."""
    lines = tuple(owed(State.CONFIRM, invoice_id=f"in_{number}") for number in (1, 2))
    page = draw(Notice(Tone.CONFIRM, lines))
    assert forms(page)[:2] == [f"/me/{TOKEN}/confirm/in_{number}" for number in (1, 2)]
    assert 'aria-describedby="a2"' in page.html


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=2, exp_year=2026),
            "Visa ••••\u00a04242 · expired 02/2026",
        ),
        (
            PaymentMethod(type="card", brand="amex", last4="0005", exp_month=3, exp_year=2026),
            "American Express ••••\u00a00005 · expires 03/2026",
        ),
        (PaymentMethod(type="card", last4="0341"), "Card ••••\u00a00341"),
        (
            PaymentMethod(type="us_bank_account", bank="B&B", last4="6789"),
            "B&amp;B ••••\u00a06789",
        ),
        (PaymentMethod(type="sepa_debit", last4="3000"), "Bank account ••••\u00a03000"),
        (PaymentMethod(type="bacs_debit"), "Bank account"),
        (PaymentMethod(type="paypal"), "PayPal"),
    ],
)
def test_what_failed_is_named(method: PaymentMethod, words: str) -> None:
    """A card by its brand and whether it has expired, an account by its bank, a wallet by its name, each with its picture."""
    html = draw(Notice(Tone.DECLINED, (owed(method=method),))).html
    assert re.search(rf'class="facts method"><svg [^>]*>.*?</svg>{re.escape(words)}</p>', html)


@pytest.mark.parametrize("method", [PaymentMethod(type="klarna"), PaymentMethod(type="card"), None])
def test_what_has_no_name_is_not_named(method: PaymentMethod | None) -> None:
    """Stripe's own words are nobody's names."""
    assert 'class="facts method"' not in draw(Notice(Tone.DECLINED, (owed(method=method),))).html


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("card", "This card can’t be charged any more, so please add a new one."),
        ("us_bank_account", "This bank account can’t be debited any more"),
        ("paypal", "This payment method can’t be charged any more"),
        (None, "This payment method can’t be charged any more"),
    ],
)
def test_the_right_thing_is_to_be_replaced(type_: str | None, words: str) -> None:
    """Where Stripe charges it no more nobody promises another try; a debit's successor is told to take days."""
    method = PaymentMethod(type=type_) if type_ else None
    html = draw(Notice(Tone.DECLINED, (owed(method=method, step=NextStep.NEW_METHOD),))).html
    assert words in html
    assert "try again" not in html
    assert ("take a few days to arrive" in html) == (type_ == "us_bank_account")


@pytest.mark.parametrize("state", [State.DECLINED, State.STILL_DECLINED])
@pytest.mark.parametrize("step", [NextStep.ADD_METHOD, NextStep.ENDED])
def test_a_missing_payment_method_is_no_failed_payment(step: NextStep, state: State) -> None:
    """Its own heading and words, and the same button: also where the subscription ended over it, and where another method came and went
    before."""
    html = draw(Notice(Tone(state.value), (owed(state=state, step=step, missing=True),))).html
    assert "A payment method is missing" in html
    assert "There was no payment method on file that we could charge." in html
    assert "go through" not in html
    assert "Manage payment + subscriptions" in html


def subscribed(**changes: Any) -> frame.Page:
    of = business(may_cancel=changes.pop("may_cancel", False))
    return draw(
        found=snapshot(business=of, subscriptions=(dataclasses.replace(SUBSCRIPTION, **changes),))
    )


def test_a_subscription_says_what_it_is_and_offers_to_ask() -> None:
    """Name, price and next payment; where the business decides about cancelling, a way to ask."""
    page = subscribed()
    for words in ("Fortnightly clean", "$149.00 every month", "Next payment on March 25"):
        assert words in page.html
    assert f"/me/{TOKEN}/cancellation/7" in forms(page)
    assert f"/me/{TOKEN}/cancellation/7" not in forms(subscribed(may_cancel=True))


def test_a_subscription_that_ends_says_when() -> None:
    """An end replaces the next payment and the way to ask."""
    page = subscribed(ends_at=ahead(days=20))
    assert "Ends on March 25" in page.html
    assert "Next payment" not in page.html
    assert f"/me/{TOKEN}/cancellation/7" not in forms(page)
    assert "Ended on March 1." in subscribed(status="canceled", ends_at=ago(days=4)).html


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("open", "You asked to cancel on March 4."),
        ("approved", "was approved"),
        ("declined", "wasn’t approved"),
    ],
)
def test_a_request_says_how_it_stands(status: str, words: str) -> None:
    """The customer sees what became of their request on the page, too."""
    asked = Asked(
        request_id=CUSTOMER_ID,
        status=status,
        asked_at=ago(days=1),
        decided_at=None if status == "open" else ago(hours=1),
    )
    page = subscribed(asked=asked)
    assert words in page.html
    assert f"/me/{TOKEN}/cancellation/7" not in forms(page)


def asked_page(status: str, *, just_now: bool = False) -> frame.Page:
    row = BusinessRow(
        business_id="b", name=HOSTILE, email=None, locale="en", timezone="UTC", color=None
    )
    found = Request(
        request_id=CUSTOMER_ID,
        status=status,
        asked_at=ago(days=1),
        decided_at=None if status == "open" else ago(hours=1),
        ends_at=ahead(days=20),
        customer_name=HOSTILE,
        customer_zone="UTC",
        subscription=dataclasses.replace(SUBSCRIPTION, description=HOSTILE),
        business=row,
    )
    tokens = {Decision.APPROVE: "T0approve", Decision.DECLINE: "T0decline"}
    return request_views.answer_request(found, tokens, EN, NOW, just_now=just_now)


@pytest.mark.parametrize("status", ["open", "approved", "declined", "overtaken"])
def test_only_an_open_request_can_be_answered(status: str) -> None:
    """Both answers whichever link was followed, none once it is answered; the one that ends a subscription is the quieter
    button. Hostile names stay text."""
    page = asked_page(status)
    answers = ["/requests/T0decline", "/requests/T0approve"] if status == "open" else []
    assert forms(page) == answers
    buttons = re.findall(r"<button type=\"submit\"( class=\"quiet\")?>([^<]*)<", page.html)
    words = [("", "Keep the subscription"), (' class="quiet"', "Approve cancellation")]
    assert buttons == (words if status == "open" else [])
    assert "<script" not in page.html
    assert len(page.html.encode()) < 20_000
    assert "unsafe" not in dict(page.headers)["Content-Security-Policy"]


def test_an_answer_that_counted_and_one_that_did_not_read_differently() -> None:
    """Pressing a used link says plainly that nothing changed this time."""
    assert "Approved, thank you" in asked_page("approved", just_now=True).html
    again = asked_page("approved").html
    assert "This request was approved" in again
    assert "Nothing has changed this time." in again


def test_asking_is_confirmed_calmly() -> None:
    """What happens next, and where the answer goes, without telling the whole address."""
    page = request_views.asked(snapshot(), SUBSCRIPTION, TOKEN, EN, Asking.ASKED, NOW)
    assert "Fortnightly clean, $149.00 every month" in page.html
    assert "m•••@e•••.com" in page.html
    assert "maria@example.com" not in page.html


def test_a_missing_configuration_promises_no_second_try() -> None:
    """What only the business can put right has no button to press again."""
    page = views.unavailable(business(), TOKEN, None, EN, ORIGINS, lasting=True)
    assert forms(page) == []
    retry = views.unavailable(business(), TOKEN, None, EN, ORIGINS, invoice_id="in_1")
    assert forms(retry) == [f"/me/{TOKEN}/confirm/in_1"]


def asked_for(**changes: Any) -> Subscription:
    asked = Asked(
        request_id="r", status="approved", asked_at=ago(days=1), decided_at=ago(hours=1), **changes
    )
    return dataclasses.replace(SUBSCRIPTION, asked=asked)


def test_an_approved_end_is_promised_once_it_is_in_place() -> None:
    """Not before Stripe has been heard of it."""
    waits = draw(found=snapshot(subscriptions=(asked_for(),))).html
    assert "as soon as the cancellation is in place" in waits
    assert "The subscription ends" not in waits
    done = draw(found=snapshot(subscriptions=(asked_for(carried_out_at=NOW),))).html
    assert "The subscription ends at the end of the current billing period" in done


def test_nobody_is_told_that_all_is_set_where_a_subscription_keeps_its_old_card() -> None:
    """The page confirms the new payment method, and says for what it isn't used yet."""
    kept = dataclasses.replace(SUBSCRIPTION, method_kept=True)
    page = draw(Notice(Tone.SAVED), snapshot(subscriptions=(kept,))).html
    assert "It will be used for your next payment" not in page
    assert "Your new payment method isn’t set for this subscription yet" in page
    ends = dataclasses.replace(kept, ends_at=ahead(days=3))
    assert (
        "isn’t set for this" not in draw(Notice(Tone.SAVED), snapshot(subscriptions=(ends,))).html
    )
    later = dataclasses.replace(kept, ends_at=ahead(days=80))
    assert "isn’t set for this" in draw(Notice(Tone.SAVED), snapshot(subscriptions=(later,))).html


def test_the_business_gets_the_one_link_that_cancels() -> None:
    """Where Stripe lets only the business do it; while that isn't known yet, nothing is promised."""
    page_at = "https://dashboard.stripe.com/acct_shop/subscriptions/sub_1"
    common: dict[str, Any] = {
        "request_id": "r",
        "status": "approved",
        "asked_at": ago(days=1),
        "decided_at": NOW,
        "ends_at": ahead(days=20),
        "customer_name": "Maria",
        "customer_zone": "UTC",
        "subscription": SUBSCRIPTION,
        "business": BusinessRow(business_id="b", name="Sunrise", timezone="UTC"),
        "waits": True,
    }
    tokens = dict.fromkeys(Decision, TOKEN)
    by_hand = request_views.answer_request(
        Request(**common, dashboard_url=page_at), tokens, EN, NOW
    ).html
    assert f'href="{page_at}"' in by_hand
    assert "ends on" not in by_hand
    not_known = request_views.answer_request(Request(**common), tokens, EN, NOW).html
    assert "We’re asking Stripe" in not_known
    assert "ends on" not in not_known
