"""Everything that customers and businesses read, drawn in a language: what the tests of this folder look through."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import itertools
import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec
from babel import Locale

from services.notifier.domain.kinds import Kind
from services.notifier.emails.samples import sample_letter
from services.notifier.ports import Business
from services.portal.domain.cancelling import Decision
from services.portal.domain.notice import Notice, State, Tone
from services.portal.domain.snapshot import Asked, Subscription
from services.portal.handlers.cancelling import Asking, Request
from services.portal.models import BusinessRow
from services.portal.web import frame, request_views, views
from shared.contracts.invoices import Retry
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Lasts, NextInvoice, Pricing, Terms
from tests.unit.notifier.conftest import RENDERER
from tests.unit.portal.builders import (
    NOW,
    TOKEN,
    WANTS_METHOD,
    ago,
    ahead,
    appointment,
    business,
    snapshot,
)
from tests.unit.portal.test_request_views import SUBSCRIPTION
from tests.unit.portal.test_views import owed

CARD = PaymentMethod(type="card", brand="visa", last4="4242", exp_month=2, exp_year=2026)
BANK = PaymentMethod(type="sepa_debit", bank="Postbank", last4="3000")
UNSEEN = re.compile(r"<(style|script|head)\b.*?</\1>", re.DOTALL)
BLOCK = re.compile(r"</?(p|h[1-6]|li|ul|td|tr|table|div|section|button|dt|dd|br|summary)\b[^>]*>")
NOT_OURS = re.compile(r"https?://\S+|\+1[ \d()-]+")


def seen(document: str) -> str:
    """What a person reads of a page or mail, a line for each block."""
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    text = re.sub(r"<[^>]*>", "", BLOCK.sub("\n", UNSEEN.sub("", document)))
    lines = html.unescape((title[1] if title else "") + "\n" + text).split("\n")
    return "\n".join(line.strip() for line in lines if line.strip())


@lru_cache
def all_mails(language: str) -> tuple[str, ...]:
    """Each kind of mail with each reason and each month of the year: subjects, texts and what is seen of the HTML."""
    samples = [sample_letter(kind, language) for kind in Kind]
    failed = sample_letter(Kind.PAYMENT_FAILED, language)
    samples += [
        msgspec.structs.replace(failed, decline=decline, planned=planned)
        for decline, planned in [
            *itertools.product(Decline, (Retry.OVER,)),
            *((None, one) for one in Retry),
        ]
    ]
    samples += [
        msgspec.structs.replace(
            failed,
            method=BANK,
            decline=Decline.INSUFFICIENT_FUNDS,
            next_attempt=dt.datetime(2026, month, month, 15, tzinfo=dt.UTC),
        )
        for month in range(1, 13)
    ]
    samples += [
        msgspec.structs.replace(one, amount=None, lines=(), ends_at=None)
        for one in samples[: len(Kind)]
    ]
    samples += [msgspec.structs.replace(failed, business=Business(name="Acme", locale=language))]
    return tuple(
        NOT_OURS.sub("", text)
        for one in samples
        for mail in [RENDERER.render(msgspec.structs.replace(one, note=None))]
        for text in (mail.subject, mail.text, seen(mail.html))
    )


@lru_cache
def all_pages(language: str) -> tuple[str, ...]:
    """Each state of the page and each page around it, in every month of the year."""
    return tuple(NOT_OURS.sub("", seen(page.html)) for page in _pages(Locale.parse(language)))


def _priced() -> Iterator[Subscription]:
    """A subscription in each state and with each kind of price."""
    plain = SUBSCRIPTION.terms
    half = NextInvoice(amount=7450, recurring=7450, discount=Lasts.FOREVER)
    first = ahead(days=27)
    for terms in (
        Terms(pricing=Pricing.USAGE),
        dataclasses.replace(plain, pricing=Pricing.FIXED_AND_USAGE),
        Terms(pricing=Pricing.OTHER, currency="usd", next_invoice=half),
        dataclasses.replace(plain, next_invoice=half),
        dataclasses.replace(
            plain, next_invoice=dataclasses.replace(half, discount=Lasts.REPEATING, until=first)
        ),
    ):
        yield dataclasses.replace(SUBSCRIPTION, terms=terms)
    yield dataclasses.replace(SUBSCRIPTION, collection_paused=True)
    yield dataclasses.replace(
        SUBSCRIPTION, collection_paused=True, collection_resumes_at=ahead(days=300)
    )
    for status in ("paused", "past_due", "unpaid", "trialing"):
        yield dataclasses.replace(SUBSCRIPTION, status=status, trial_ends_at=first)


def _pages(locale: Locale) -> Iterator[frame.Page]:
    ends = dataclasses.replace(SUBSCRIPTION, ends_at=ahead(days=12))
    ended = dataclasses.replace(SUBSCRIPTION, status="canceled", ends_at=ago(days=9))
    asked = [
        dataclasses.replace(
            SUBSCRIPTION, asked=Asked(request_id="req_1", status=status, asked_at=ago(days=1))
        )
        for status in ("open", "approved", "declined")
    ]
    subscriptions = (SUBSCRIPTION, ends, ended, *asked)
    appointments = tuple(
        appointment(month, starts_at=ahead(days=31 * month), ends_at=ahead(days=31 * month + 1))
        for month in range(1, 7)
    )
    for month in range(12):
        now = NOW.replace(month=month + 1)
        line = owed(method=CARD, next_attempt=now + dt.timedelta(days=3), since=now)
        found = snapshot(
            business=business(), subscriptions=subscriptions, appointments=appointments
        )
        yield views.me(
            views.MeView(found, Notice(Tone.DECLINED, (line,)), TOKEN, locale, now),
            session_origins=(),
        )
    for one in _priced():
        view = views.MeView(snapshot(subscriptions=(one,)), Notice(Tone.WELL), TOKEN, locale, NOW)
        yield views.me(view, session_origins=())
    for tone in Tone:
        for lines in ((), (owed(State.SETTLING, method=BANK), owed(State.PENDING))):
            view = views.MeView(snapshot(), Notice(tone, lines), TOKEN, locale, NOW)
            yield views.me(view, session_origins=())
    steps = [
        owed(state, method=method, step=step, next_attempt=ahead(days=3))
        for state in (State.DECLINED, State.STILL_DECLINED)
        for step in WANTS_METHOD
        for method in (CARD, BANK, None)
    ]
    confirm, settling = owed(State.CONFIRM, invoice_id="in_1"), owed(State.SETTLING)
    for lines in (
        *((line,) for line in steps),
        *((line, line) for line in steps),
        (confirm,),
        (confirm, confirm),
        (confirm, *steps[:3], settling),
    ):
        tone = Tone(lines[0].state.value)
        view = views.MeView(snapshot(), Notice(tone, lines), TOKEN, locale, NOW)
        yield views.me(view, session_origins=())
    for outcome in Asking:
        yield request_views.asked(snapshot(), SUBSCRIPTION, TOKEN, locale, outcome, NOW)
    row = BusinessRow(business_id="b", name="Sunrise", timezone="UTC")
    for status, more in (
        ("open", {}),
        ("approved", {}),
        ("approved", {"waits": True}),
        ("approved", {"waits": True, "dashboard_url": "https://dashboard.stripe.com/sub_1"}),
        ("declined", {}),
        ("overtaken", {}),
    ):
        request = Request(
            request_id="req_1",
            customer_name="Maria Lopez",
            customer_zone="UTC",
            business=row,
            subscription=SUBSCRIPTION,
            status=status,
            asked_at=ago(days=1),
            ends_at=ahead(days=12),
            decided_at=NOW,
            **more,
        )
        yield request_views.answer_request(request, dict.fromkeys(Decision, TOKEN), locale, NOW)
    for lasting in (True, False):
        yield views.unavailable(business(), TOKEN, None, locale, (), lasting=lasting)
    for outcome in ("sent", "already", "failed"):
        yield views.fresh_link(snapshot(), locale, outcome=outcome)
    yield views.replaced(business(), TOKEN, locale)
    yield views.page_not_found(locale)
    yield views.server_error(locale)
