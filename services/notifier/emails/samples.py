"""Sample letters for previews: one customer of one business, so that every kind of email can be looked at."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain import TO_BUSINESS, Kind
from services.notifier.emails.letters import Letter, Line
from services.notifier.ports import Business, CancellationLinks
from shared.contracts.invoices import Ending, Retry
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Price

BUSINESS: Final = Business(
    name="Sunrise Home Cleaning",
    email="hello@sunrise.example",
    phone="+1 555 010 0199",
    website="https://sunrise.example",
    color="#0f766e",
    locale="en",
    timezone="America/New_York",
    service_note="We come as planned while your payment is open.",
)


def sample_letter(kind: Kind, locale: str = "en") -> Letter:
    """What an email of this kind would say to Dana, whose card has expired, or to Dana's cleaners. The links lead
    nowhere."""
    about_subscription = kind in (
        Kind.CANCELLATION_REQUESTED,
        Kind.CANCELLATION_APPROVED,
        Kind.CANCELLATION_DECLINED,
        Kind.SUBSCRIPTION_ENDING,
        Kind.CANCELLATION_WITHDRAWN,
    )
    ended = kind is Kind.COLLECTION_ENDED
    return Letter(
        kind=kind,
        now=dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC),
        customer_name="Dana Reyes",
        customer_email="dana@example.com",
        business=BUSINESS,
        link="" if kind in TO_BUSINESS else "https://portico.example/me/SAMPLE-LINK-OF-NOBODY",
        locale=locale,
        timezone="America/New_York",
        amount=14900,
        currency="usd",
        tries=4 if ended or kind is Kind.PAYMENT_LAST_ATTEMPT else 1,
        planned=Retry.OVER if kind is Kind.PAYMENT_LAST_ATTEMPT else Retry.SCHEDULED,
        lines=(
            Line(9900, "usd", "SUN-0041", "Weekly home cleaning"),
            Line(5000, "usd", "SUN-0042", "Windows, both floors", 1),
        )
        if kind is Kind.PAYMENTS_FAILED
        else (),
        paid_at=dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC),
        description="Weekly home cleaning" if about_subscription else None,
        price=Price(amount=14900, currency="usd", interval="month")
        if kind is Kind.SUBSCRIPTION_ENDING
        else None,
        ends_at=dt.datetime(2026, 12, 23, 15, 0, tzinfo=dt.UTC)
        if about_subscription
        and kind not in (Kind.CANCELLATION_DECLINED, Kind.CANCELLATION_WITHDRAWN)
        else None,
        note="We are moving to another town at the end of the year.\nThank you for everything!"
        if kind is Kind.CANCELLATION_REQUESTED
        else None,
        links=CancellationLinks(
            approve="https://portico.example/cancel/SAMPLE-APPROVE",
            decline="https://portico.example/cancel/SAMPLE-DECLINE",
            expires_at=dt.datetime(2026, 12, 7, 15, 0, tzinfo=dt.UTC),
        )
        if kind is Kind.CANCELLATION_REQUESTED
        else None,
        number="SUN-0042",
        purpose="Weekly home cleaning",
        platform="Portico",
        next_appointment=dt.datetime(2026, 12, 2, 14, 0, tzinfo=dt.UTC),
        method=PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026),
        decline=Decline.EXPIRED_CARD if kind is Kind.PAYMENT_FAILED else Decline.INSUFFICIENT_FUNDS,
        next_attempt=dt.datetime(2026, 11, 27, 15, 0, tzinfo=dt.UTC),
        ending=Ending.SUBSCRIPTION_FAILED if ended else None,
        mails=4 if ended else 0,
        last_tried=dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC),
        dashboard_url="https://dashboard.stripe.com/invoices/SAMPLE-OF-NOBODY" if ended else None,
    )
