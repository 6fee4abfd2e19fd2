"""The pages, drawn."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import eventlet
import pytest
from babel import Locale

from services.portal.domain.notice import Line, Notice, State, Tone
from services.portal.domain.snapshot import MOST_UPCOMING, Snapshot
from services.portal.texts import texts_in
from services.portal.web import frame, views
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import PaymentMethod
from tests.unit.portal.builders import (
    NOW,
    TOKEN,
    ago,
    ahead,
    appointment,
    business,
    snapshot,
)

EN = Locale.parse("en")
ORIGINS = ("https://billing.stripe.com",)
BUTTON = "Manage payment + subscriptions"
HOSTILE = ("<script>alert(1)</script>\"'><b> \u202e{{ 7*7 }} %(name)s مرحبا " * 5)[:200]


def forget_templates() -> None:
    for made in (texts_in, frame._environment, frame._made, frame._template, frame._frame):
        made.cache_clear()


def test_a_crowd_of_first_pages_makes_the_templates_once() -> None:
    """Whoever comes while they are made waits for them: each making them for itself would hold everybody up."""
    forget_templates()
    crowd = [eventlet.spawn(draw) for _ in range(20)]
    assert len({one.wait().html for one in crowd}) == 1
    assert frame._environment.cache_info().misses == 1
    assert frame._made.cache_info().misses == 4  # frame, private part, page, macros


def test_others_take_turns_while_the_first_page_in_a_language_is_made() -> None:
    """Catalogue and templates are read one after the other: each takes tens of milliseconds, once."""
    forget_templates()
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            eventlet.sleep(0)

    beside = eventlet.spawn(other)
    try:
        draw()
        first, turns = turns, 0
        draw()
        assert first >= 4
        assert turns == 0
    finally:
        beside.kill()


def owed(state: State = State.DECLINED, **changes: Any) -> Line:
    given: dict[str, Any] = {
        "amount": 12900,
        "currency": "usd",
        "number": "SUN-0004",
        "since": ago(days=2),
        "next_attempt": None,
    }
    given.update(changes)
    dated = NextStep.WAITS_FOR_DATE if given["next_attempt"] else NextStep.MAY_TRY_AGAIN
    return Line(state=state, **{"step": dated, **given})


def draw(notice: Notice | None = None, found: Snapshot | None = None, **changes: Any) -> frame.Page:
    given: dict[str, Any] = {"token": TOKEN, "locale": EN, "now": NOW, **changes}
    view = views.MeView(snapshot=found or snapshot(), notice=notice or Notice(Tone.WELL), **given)
    return views.me(view, session_origins=ORIGINS)


def policy(page: frame.Page) -> dict[str, str]:
    value = dict(page.headers)["Content-Security-Policy"]
    return dict(each.split(" ", 1) for each in value.split("; "))


class Elements(HTMLParser):
    """What a browser would make of the page: its elements with attributes, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


ALL = {
    "well": draw(),
    "declined": draw(Notice(Tone.DECLINED, (owed(),))),
    "settling": draw(Notice(Tone.SETTLING, (owed(State.SETTLING),))),
    "unavailable": views.unavailable(business(), TOKEN, "payment_failed", EN, ORIGINS),
    "replaced": views.replaced(business(), TOKEN, EN),
    "fresh": views.fresh_link(snapshot(), EN, outcome="sent"),
    "already": views.fresh_link(snapshot(), EN, outcome="already"),
    "failed": views.fresh_link(snapshot(), EN, outcome="failed"),
    "nothing": views.page_not_found(EN),
    "trouble": views.server_error(EN),
}


@pytest.mark.parametrize("name", ALL)
def test_every_page_is_locked_down(name: str) -> None:
    """No page runs scripts, is framed, or takes anything from elsewhere. (What the door adds to every answer: `test_web.py`.)"""
    page = ALL[name]
    headers, rules = dict(page.headers), policy(page)
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "script-src" not in rules
    assert len(page.html.encode()) < 20_000


@pytest.mark.parametrize("name", ALL)
def test_every_style_is_allowed_by_its_hash_and_nothing_else_is_styled(name: str) -> None:
    """The policy's hashes are those of the page's style elements; no element has a style or a handler."""
    page = ALL[name]
    styles = re.findall(r"<style>(.*?)</style>", page.html, flags=re.DOTALL)
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
        for style in styles
    }
    assert set(policy(page)["style-src"].split()) == hashes
    for tag, attributes in Elements(page.html).elements:
        assert tag != "script"
        assert "style" not in attributes
        assert not any(attribute.startswith("on") for attribute in attributes)


def test_the_button_stands_above_the_appointments() -> None:
    """The one thing to do comes first, as a POST to our own address."""
    html = draw().html
    assert html.index(BUTTON) < html.index("Upcoming appointments")
    forms = [attributes for tag, attributes in Elements(html).elements if tag == "form"]
    assert forms == [{"class": "billing", "method": "post", "action": f"/me/{TOKEN}/billing"}]


def test_no_button_without_a_stripe_customer() -> None:
    """Who can't manage anything at Stripe sees no button, and no word about payments."""
    page = draw(found=snapshot(platform_stripe_customer_id=None))
    assert BUTTON not in page.html
    assert "You’re all set" not in page.html
    assert "Upcoming appointments" in page.html


def test_the_form_may_lead_to_stripe_and_to_nowhere_else() -> None:
    """Browsers check the redirect after a form too: Stripe's origin is allowed, by name."""
    assert policy(draw())["form-action"] == "'self' https://billing.stripe.com"
    assert policy(views.page_not_found(EN))["form-action"] == "'none'"


def test_coming_from_the_mail_is_passed_on_by_the_form() -> None:
    """The failed-payment mail's mark reaches the click; without it there is none."""
    assert 'name="from" value="payment_failed"' in draw(came_from="payment_failed").html
    assert 'name="from"' not in draw().html


def test_only_what_is_known_is_said() -> None:
    """With a date the page names it; without one it says "may"."""
    dated = Elements(draw(Notice(Tone.DECLINED, (owed(next_attempt=ahead(days=3)),))).html).words
    undated = Elements(draw(Notice(Tone.DECLINED, (owed(),))).html).words
    assert "We’ll try again on Sunday, March 8." in dated
    assert "may try again" not in dated
    assert "We may try again." in undated
    assert "$129.00" in undated
    assert "Invoice SUN-0004 · unpaid since March 3" in undated


@pytest.mark.parametrize(
    ("tone", "words"),
    [
        (Tone.DECLINED, "Your payment didn’t go through"),
        (Tone.STILL_DECLINED, "That payment method didn’t work either"),
        (Tone.CONFIRM, "Please confirm your payment"),
        (Tone.SETTLING, "We’re taking your payment now"),
        (Tone.PENDING, "waiting to hear from your bank"),
        (Tone.PAID, "Paid, thank you!"),
    ],
)
def test_each_state_has_its_words(tone: Tone, words: str) -> None:
    """The customer can tell what happened from the heading alone."""
    assert words in draw(Notice(tone, (owed(State(tone.value)),))).html


def test_what_is_not_tried_again_is_not_promised() -> None:
    """The page says what the last mail said: no further try, and what a new payment method does; and where Stripe ended the
    subscription over it, that too."""
    over = draw(Notice(Tone.DECLINED, (owed(step=NextStep.OVER),))).html
    assert "We won’t try again automatically." in over
    assert "We may try again" not in over
    ended = draw(Notice(Tone.DECLINED, (owed(step=NextStep.ENDED),))).html
    assert "Your subscription has ended because we didn’t receive this payment" in ended
    one_of_two = draw(Notice(Tone.DECLINED, (owed(), owed(step=NextStep.OVER)))).html
    assert "We may try again." in one_of_two


def test_each_of_several_payments_says_how_it_stands() -> None:
    """When it is tried, what to do, what is on its way; one total of what is asked for, and one sentence for all."""
    card = PaymentMethod(type="card")
    lines = (
        owed(State.CONFIRM, amount=1000, invoice_id="in_1"),
        owed(amount=2000, next_attempt=ahead(days=3)),
        owed(amount=3000, method=card, step=NextStep.NEW_METHOD),
        owed(State.SETTLING, amount=90000),
    )
    page = Elements(draw(Notice(Tone.CONFIRM, lines)).html)
    for words in (
        "3 payments didn’t go through",
        "Your bank wants you to confirm this payment.",
        "We’ll try again on Sunday, March 8.",
        "This card can’t be charged any more, so please add a new one.",
        "On its way with your new payment method.",
        "Total due: $60.00",
        "As soon as you have updated your payment method, what is due is charged to it.",
    ):
        assert page.words.count(words) == 1, words
    euros = draw(Notice(Tone.DECLINED, (owed(), owed(currency="eur", amount=500)))).html
    assert "Total due: $129.00 + €5.00" in euros
    assert "Total due" not in draw(Notice(Tone.DECLINED, (owed(), owed(State.PENDING)))).html


def test_each_payment_has_the_button_that_helps() -> None:
    """One to confirm for each that the bank asks about; the other one stands out where a payment method helps."""

    def buttons(*lines: Line) -> list[tuple[str, bool]]:
        html = draw(Notice(Tone(lines[0].state.value), lines)).html
        found = re.findall(
            r'action="/me/[^/]+/([^"]+)">.*?<button type="submit"([^>]*)>', html, re.S
        )
        return [(action, "quiet" in rest) for action, rest in found]

    one, two = (owed(State.CONFIRM, invoice_id=name) for name in ("in_1", "in_2"))
    assert buttons(one) == [("confirm/in_1", False), ("billing", True)]
    assert buttons(one, two) == [
        ("confirm/in_1", False),
        ("confirm/in_2", False),
        ("billing", True),
    ]
    assert buttons(one, owed()) == [("confirm/in_1", False), ("billing", False)]
    assert buttons(one, owed(State.PENDING)) == [("confirm/in_1", False), ("billing", True)]
    assert buttons(owed(), owed()) == [("billing", False)]


def test_stripes_own_further_try_is_no_new_payment_method() -> None:
    """A debit that follows by itself, or that the customer began at Stripe, takes days, and nobody has saved anything here."""
    page = draw(Notice(Tone.PENDING, (owed(State.PENDING, tried_again=True),))).html
    assert "We’re waiting to hear from your bank." in page
    assert "Your new payment method is saved" not in page


def test_the_page_updates_itself_only_while_a_payment_settles_and_lets_itself_be_stopped() -> None:
    """A `Refresh` header while something is on its way, with a link that ends it; none otherwise."""
    settling = Notice(Tone.SETTLING, (owed(State.SETTLING),))
    assert dict(draw(settling).headers)["Refresh"] == "3"
    assert f"/me/{TOKEN}?updates=off" in draw(settling).html
    assert "Refresh" not in dict(draw(settling, updating=False).headers)
    assert "Refresh" not in dict(draw(Notice(Tone.DECLINED, (owed(),))).headers)
    assert "Refresh" not in dict(draw().headers)


def test_the_notice_of_updates_stands_below_the_button() -> None:
    """What the customer came for is the button: that the page looks again by itself is said after it."""
    html = draw(Notice(Tone.DECLINED, (owed(),), returning=True)).html
    assert html.index(BUTTON) < html.index("This page updates by itself.")


def test_hostile_texts_stay_texts() -> None:
    """Names and titles with HTML, template marks, right-to-left text and 200 characters are shown as they are, but turn no other words around."""
    page = draw(
        Notice(Tone.DECLINED, (owed(number=HOSTILE),)),
        snapshot(
            name=HOSTILE,
            business=business(name=HOSTILE, logo_url=None),
            appointments=tuple(
                appointment(ref, title=HOSTILE, location=HOSTILE) for ref in range(1, 30)
            ),
        ),
    )
    parsed = Elements(page.html)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", 'b"', "iframe"}
    assert parsed.words.count(HOSTILE.replace("\u202e", "")) >= 4
    assert "\u202e" not in page.html
    assert "49" not in parsed.words.replace("SUN-0004", "")
    assert len(page.html.encode()) < 20_000


def test_a_long_name_is_set_smaller() -> None:
    """Two hundred characters of name don't push the button off the screen."""
    assert 'class="long"' in draw(found=snapshot(name="x" * 200)).html
    assert 'class="long"' not in draw().html


def test_appointments_are_shown_in_the_customers_own_time_zone() -> None:
    """The customer's zone, else the business's, and the page says which."""
    visit = appointment(starts_at=NOW.replace(day=7, hour=18), ends_at=NOW.replace(day=7, hour=20))
    theirs = draw(found=snapshot(timezone="Europe/Berlin", appointments=(visit,))).html
    default = draw(found=snapshot(appointments=(visit,))).html
    assert "7:00\u202fPM – 9:00\u202fPM" in theirs
    assert "Times are in Central European Time." in theirs
    assert "10:00\u202fAM – 12:00\u202fPM" in default
    assert "Times are in Pacific Time." in default


def test_cancelled_appointments_are_shown_as_such() -> None:
    """A cancelled visit stays visible, says so, and offers no calendar entry."""
    html = draw(found=snapshot(appointments=(appointment(status="cancelled"),))).html
    assert "Cancelled" in html
    assert ".ics" not in html
    assert ".ics" in draw().html


def test_done_appointments_are_past() -> None:
    """What is completed or over stands among the past ones; a visit whose end nobody told is not over as it begins."""
    visits = (
        appointment(1, status="completed", title="Done early"),
        appointment(2, starts_at=ago(days=1), ends_at=None, title="Yesterday"),
        appointment(3, starts_at=ago(hours=1), ends_at=ahead(hours=1), title="Right now"),
        appointment(4, starts_at=ago(minutes=59), ends_at=None, title="Just begun"),
    )
    words = Elements(draw(found=snapshot(appointments=visits)).html).words
    upcoming, past = words.split("Past appointments")
    assert "Right now" in upcoming
    assert "Just begun" in upcoming
    assert "Done early" in past
    assert "Yesterday" in past


@pytest.mark.parametrize(
    ("number", "said"),
    [(12, "And 4 more after these."), (MOST_UPCOMING, "And more after these.")],
)
def test_the_page_says_how_many_more_appointments_there_are(number: int, said: str) -> None:
    """A long list is cut, and says so; of one that a look does not bring whole nobody has counted the rest."""
    visits = tuple(
        appointment(ref, starts_at=ahead(days=ref), ends_at=ahead(days=ref, hours=2))
        for ref in range(1, number + 1)
    )
    if number == MOST_UPCOMING:
        visits = (*visits[1:], appointment(1, status="completed"))
    assert said in draw(found=snapshot(appointments=visits)).html


def test_the_logo_is_the_only_foreign_thing_that_loads() -> None:
    """The policy names the logo's origin, and nothing else outside."""
    page = draw(found=snapshot(business=business(logo_url="https://cdn.example:8443/logo.png")))
    assert policy(page)["img-src"] == "data: https://cdn.example:8443"
    assert policy(draw())["img-src"] == "data:"


def test_a_replaced_link_tells_nothing_about_its_customer() -> None:
    """Whoever holds an old link learns neither the name nor the address."""
    html = views.replaced(business(), TOKEN, EN).html
    assert "Maria" not in html
    assert "maria" not in html
    assert f'action="/me/{TOKEN}/fresh-link"' in html


@pytest.mark.parametrize("outcome", ["sent", "already"])
def test_the_fresh_links_address_is_never_shown_whole(outcome: str) -> None:
    """The answer helps the owner to know which mailbox, and nobody else."""
    html = views.fresh_link(snapshot(), EN, outcome=outcome).html
    assert "m•••@e•••.com" in html
    assert "maria@" not in html
    assert TOKEN not in html


def test_what_is_kept_of_a_business_is_little() -> None:
    """Two thousand of them are kept in a process: the stylesheet, which all have in common, stands in none."""
    whole = draw().body
    kept = frame._frame(texts_in(EN), business(), ORIGINS, "Portico")
    parts = (*kept.parts, kept.private.encode())
    assert all(part in whole for part in parts)
    assert sum(map(len, parts)) < len(whole) / 4


def test_nothing_of_a_customers_is_remembered_for_another() -> None:
    """Parts of pages are drawn once and kept. Customers in the same state, with visits at the same hour, at one business: each page has
    its own customer's words alone, whoever was drawn before."""

    def page(who: str) -> bytes:
        found = snapshot(
            name=f"Name of {who}",
            appointments=tuple(
                appointment(
                    number,
                    title=f"Title of {who}",
                    location=f"Home of {who}",
                    starts_at=ahead(days=days),
                )
                for number, days in ((1, -3), (2, 3))
            ),
        )
        card = PaymentMethod(type="card", brand="visa", last4=who[-1] * 4)
        line = owed(number=f"No-{who}", purpose=f"Work for {who}", method=card, invoice_id=f"in_{who}")  # fmt: skip
        token = who[-1] * 27 + "." + who * 7 + who[0]
        return draw(Notice(Tone.DECLINED, (line,)), found, token=token).body

    first = page("alice1")
    second = page("bobby2")
    assert first == page("alice1")
    assert second == page("bobby2")
    assert b"alice1" in first
    assert b"1111" in first
    assert b"alice1" not in second
    assert b"1111" not in second
    assert len(second) == len(first)
