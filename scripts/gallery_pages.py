"""Every page state and every email, drawn without a running system."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Final

from babel import Locale
from msgspec.structs import replace as rewritten

from scripts.mails_page import RENDERER
from services.notifier.domain.kinds import KINDS
from services.notifier.emails.letters import Line as MailLine
from services.notifier.emails.samples import sample_letter
from services.portal.domain.cancelling import Decision
from services.portal.domain.invoices import Invoice
from services.portal.domain.notice import Line, Notice, State, Tone
from services.portal.domain.snapshot import (
    Appointment,
    Asked,
    Business,
    OwnedInvoice,
    Snapshot,
    Subscription,
)
from services.portal.handlers.cancelling import Asking, Request
from services.portal.models import BusinessRow
from services.portal.web import frame, request_views, views
from shared.contracts.invoices import Ending
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Lasts, NextInvoice, Pricing, Terms
from shared.l10n.locales import SOURCE, languages

ACCOUNT: Final = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")
LINES: Final = (MailLine(9900, "usd", "SUN-0041"), MailLine(5000, "usd", "SUN-0042"))
NOW: Final = dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC)
TOKEN: Final = "A" * 27 + "." + "B" * 43
ORIGINS: Final = ("https://billing.stripe.com", "https://invoice.stripe.com")
NASTY: Final = (
    "<script>alert(1)</script>\"'>&amp;<b> \u202e {{ 7*7 }} %(name)s مرحبا بكم שלום "
    + "Wolfeschlegelsteinhausenbergerdorff " * 5
)[:200]


@dataclass(frozen=True)
class Drawn:
    """One page or email, and the headers it is served with."""

    html: str
    headers: dict[str, str]


def day(number: float) -> dt.datetime:
    """So many days from now."""
    return NOW + dt.timedelta(days=number)


BUSINESS: Final = Business(
    business_id="sunrise-cleaning",
    name="Sunrise Home Cleaning",
    email="hello@sunrise.example",
    phone="+1 (415) 555-0142",
    website="https://sunrise.example",
    color="#0f766e",
    timezone="America/Los_Angeles",
    may_cancel=False,
    service_note="We come as planned while your payment is open.",
)
SUBSCRIPTION: Final = Subscription(
    ref=7,
    subscription_id="sub_1",
    status="active",
    current_period_end=day(20),
    description="Weekly home cleaning",
    terms=Terms(
        pricing=Pricing.FIXED, amount=14900, currency="usd", interval="month", discounted=False
    ),
    collection_paused=False,
)
HALF: Final = NextInvoice(amount=7450, recurring=7450, discount=Lasts.FOREVER)
STATES: Final = {
    "usage": {"terms": Terms(pricing=Pricing.USAGE)},
    "plus-usage": {"terms": replace(SUBSCRIPTION.terms, pricing=Pricing.FIXED_AND_USAGE)},
    "tiers": {
        "terms": Terms(pricing=Pricing.OTHER, currency="usd", next_invoice=NextInvoice(amount=3720))
    },
    "half-forever": {"terms": replace(SUBSCRIPTION.terms, next_invoice=HALF)},
    "half-once": {
        "terms": replace(SUBSCRIPTION.terms, next_invoice=replace(HALF, discount=Lasts.ONCE))
    },
    "half-until": {
        "terms": replace(
            SUBSCRIPTION.terms,
            next_invoice=replace(HALF, discount=Lasts.REPEATING, until=day(100)),
        )
    },
    "payments-paused": {"collection_paused": True, "collection_resumes_at": day(40)},
    "paused": {"status": "paused"},
    "trial": {"status": "trialing", "trial_ends_at": day(12)},
}
"""A subscription's states, as changes to a plain one."""
SNAPSHOT: Final = Snapshot(
    customer_id="A" * 22,
    external_id="c1",
    name="Dana Reyes",
    email="dana@example.com",
    locale=None,
    timezone=None,
    link_generation=1,
    platform_stripe_customer_id="cus_1",
    billing_opened_at=None,
    method_changed_at=None,
    business=BUSINESS,
    appointments=(
        Appointment(
            ref=1,
            external_id="a1",
            title="Weekly home cleaning",
            starts_at=day(2),
            ends_at=day(2.1),
            location="48 Alder Street",
        ),
        Appointment(
            ref=2, external_id="a2", title="Window cleaning", starts_at=day(9), status="cancelled"
        ),
        Appointment(
            ref=3,
            external_id="a3",
            title="Weekly home cleaning",
            starts_at=day(-5),
            status="completed",
        ),
    ),
    subscriptions=(SUBSCRIPTION,),
)


def _line(state: State, **changes: Any) -> Line:
    given: dict[str, Any] = {
        "amount": 14900,
        "currency": "usd",
        "number": "SUN-0042",
        "purpose": "Weekly home cleaning",
        "since": None if state is State.PAID else day(-2),
        "next_attempt": None,
        "invoice_id": "in_1",
    }
    given.update(changes)
    dated = NextStep.WAITS_FOR_DATE if given["next_attempt"] else NextStep.MAY_TRY_AGAIN
    return Line(state=state, **{"step": dated, **given})


def _me(
    tone: Tone, *lines: Line, found: Snapshot = SNAPSHOT, locale: str = "en", **more: Any
) -> frame.Page:
    view = views.MeView(
        snapshot=found,
        notice=Notice(tone, lines, returning=more.pop("returning", False)),
        token=TOKEN,
        locale=Locale.parse(locale),
        now=NOW,
        **more,
    )
    return views.me(view, session_origins=ORIGINS)


def _nasty() -> Snapshot:
    return replace(
        SNAPSHOT,
        name=NASTY,
        business=replace(BUSINESS, name=NASTY),
        appointments=tuple(
            replace(each, title=NASTY, location=NASTY) for each in SNAPSHOT.appointments
        ),
        subscriptions=(replace(SUBSCRIPTION, description=NASTY),),
    )


def _subscribed(**changes: Any) -> Snapshot:
    return replace(SNAPSHOT, subscriptions=(replace(SUBSCRIPTION, **changes),))


def _overdue() -> Snapshot:
    invoice = Invoice(
        status="open",
        currency="usd",
        amount_remaining=14900,
        collection_method="charge_automatically",
        subscription_id=SUBSCRIPTION.subscription_id,
        first_failed_at=day(-1),
        last_failed_at=day(-1),
        attempt_count=1,
    )
    owned = OwnedInvoice(invoice_id="in_1", invoice=invoice)
    return replace(_subscribed(status="past_due"), invoices=(owned,))


def _asked(status: str) -> Snapshot:
    asked = Asked(
        request_id="A" * 22,
        status=status,
        asked_at=day(-1),
        decided_at=None if status == "open" else day(-0.5),
    )
    return replace(SNAPSHOT, subscriptions=(replace(SUBSCRIPTION, asked=asked),))


def _request(status: str, *, just_now: bool = False) -> frame.Page:
    row = BusinessRow(
        business_id=BUSINESS.business_id,
        name=BUSINESS.name,
        color=BUSINESS.color,
        locale="en",
        timezone=BUSINESS.timezone,
    )
    found = Request(
        request_id="A" * 22,
        status=status,
        asked_at=day(-1),
        decided_at=None if status == "open" else NOW,
        ends_at=day(20),
        customer_name="Dana Reyes",
        customer_zone=BUSINESS.timezone,
        subscription=SUBSCRIPTION,
        business=row,
    )
    english = Locale.parse("en")
    tokens = dict.fromkeys(Decision, TOKEN)
    return request_views.answer_request(found, tokens, english, NOW, just_now=just_now)


def pages() -> dict[str, Drawn]:
    """Each state of the customer's page, and the pages around it, by name."""
    english = Locale.parse("en")
    expired = PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026)
    ends = replace(SNAPSHOT, subscriptions=(replace(SUBSCRIPTION, ends_at=day(20)),))
    over = replace(
        SNAPSHOT,
        subscriptions=(replace(SUBSCRIPTION, status="canceled", ends_at=day(-0.5)),),
    )
    stranger = replace(SNAPSHOT, platform_stripe_customer_id=None, subscriptions=())
    declined = _line(State.DECLINED, next_attempt=day(3), method=expired)
    found = {
        "well": _me(Tone.WELL),
        "no-billing": _me(Tone.WELL, found=stranger),
        "declined": _me(Tone.DECLINED, declined, came_from="payment_failed"),
        "declined-returning": _me(Tone.DECLINED, declined, returning=True),
        "declined-several": _me(
            Tone.CONFIRM,
            _line(State.CONFIRM),
            _line(
                State.DECLINED,
                number="SUN-0041",
                method=expired,
                step=NextStep.NEW_METHOD,
                purpose="Windows, both floors",
                purpose_more=2,
            ),
            _line(State.DECLINED, number="SUN-0039", method=ACCOUNT, next_attempt=day(3)),
            _line(State.SETTLING, number="SUN-0040"),
        ),
        "still-declined": _me(Tone.STILL_DECLINED, _line(State.STILL_DECLINED, method=expired)),
        "declined-account": _me(
            Tone.DECLINED, _line(State.DECLINED, method=ACCOUNT, step=NextStep.NEW_METHOD)
        ),
        "declined-wallet": _me(
            Tone.DECLINED, _line(State.DECLINED, method=PaymentMethod(type="paypal"))
        ),
        "given-up": _me(Tone.DECLINED, _line(State.DECLINED, step=NextStep.OVER, method=expired)),
        "ended-unpaid": _me(
            Tone.DECLINED, _line(State.DECLINED, step=NextStep.ENDED, method=expired), found=over
        ),
        "missing": _me(Tone.DECLINED, _line(State.DECLINED, step=NextStep.ADD_METHOD)),
        "enter-again": _me(
            Tone.DECLINED, _line(State.DECLINED, method=ACCOUNT, step=NextStep.ENTER_AGAIN)
        ),
        "confirm-several": _me(
            Tone.CONFIRM,
            _line(State.CONFIRM),
            _line(State.CONFIRM, number="SUN-0041", invoice_id="in_2"),
        ),
        "confirm": _me(Tone.CONFIRM, _line(State.CONFIRM)),
        "unpaid-sent": _me(
            Tone.UNPAID, found=_subscribed(status="past_due", collection_paused=None)
        ),
        "settling": _me(Tone.SETTLING, _line(State.SETTLING)),
        "pending": _me(Tone.PENDING, _line(State.PENDING)),
        "saved": _me(Tone.SAVED),
        "paid": _me(Tone.PAID, _line(State.PAID)),
        "subscription-asked": _me(Tone.WELL, found=_asked("open")),
        "subscription-declined": _me(Tone.WELL, found=_asked("declined")),
        "subscription-ends": _me(Tone.WELL, found=ends),
        **{
            f"subscription-{name}": _me(Tone.WELL, found=_subscribed(**changes))
            for name, changes in STATES.items()
        },
        "subscription-overdue": _me(Tone.DECLINED, declined, found=_overdue()),
        "nasty": _me(Tone.DECLINED, replace(declined, number=NASTY), found=_nasty()),
        "cancel-asked": request_views.asked(
            SNAPSHOT, SUBSCRIPTION, TOKEN, english, Asking.ASKED, NOW
        ),
        "request": _request("open"),
        "request-approved": _request("approved", just_now=True),
        "request-used": _request("approved"),
        "replaced": views.replaced(BUSINESS, TOKEN, english),
        "fresh-link": views.fresh_link(SNAPSHOT, english, outcome="sent"),
        "unavailable": views.unavailable(BUSINESS, TOKEN, None, english, ORIGINS),
        "not-set-up": views.unavailable(BUSINESS, TOKEN, None, english, ORIGINS, lasting=True),
        "nothing-here": views.page_not_found(english),
        "trouble": views.server_error(english),
    }
    for language in sorted(languages() - {SOURCE}):
        found[f"declined-{language}"] = _me(Tone.DECLINED, declined, locale=language)
    return {name: Drawn(page.html, dict(page.headers)) for name, page in found.items()}


def emails() -> dict[str, Drawn]:
    """Each kind of email with sample data, by name."""
    letters = {f"email-{kind.value.replace('_', '-')}": sample_letter(kind) for kind in KINDS}
    failed = letters["email-payment-failed"]
    letters |= {
        "email-payment-failed-account": rewritten(
            failed, method=ACCOUNT, decline=Decline.INSUFFICIENT_FUNDS
        ),
        "email-payment-failed-missing": rewritten(
            failed, method=None, decline=Decline.NO_PAYMENT_METHOD
        ),
    }
    ended = letters["email-collection-ended"]
    letters |= {
        "email-collection-ended-unpaid": rewritten(ended, ending=Ending.SUBSCRIPTION_UNPAID),
        "email-collection-ended-stopped": rewritten(ended, ending=Ending.TURNED_OFF),
        "email-collection-ended-several": rewritten(ended, lines=LINES, amount=14900),
    }
    html = {"Content-Type": "text/html; charset=utf-8"}
    return {name: Drawn(RENDERER.render(letter).html, html) for name, letter in letters.items()}
