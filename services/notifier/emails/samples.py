"""Sample letters for previews: one customer of one business, so that every kind of email can be looked at."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain.kinds import KINDS, Action, Audience, Kind
from services.notifier.emails.letters import Letter, Line
from services.notifier.ports import Business, CancellationLinks
from shared.contracts.payments import PaymentMethod
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
TWO_INVOICES: Final = (
    Line(9900, "usd", "SUN-0041", "Weekly home cleaning"),
    Line(5000, "usd", "SUN-0042", "Windows, both floors", 1),
)
LINKS: Final = CancellationLinks(
    approve="https://portico.example/cancel/SAMPLE-APPROVE",
    decline="https://portico.example/cancel/SAMPLE-DECLINE",
    expires_at=dt.datetime(2026, 12, 7, 15, 0, tzinfo=dt.UTC),
)


def sample_letter(kind: Kind, locale: str = "en") -> Letter:
    """What an email of this kind would say to Dana, whose card has expired, or to Dana's cleaners. The links lead
    nowhere. Everything that any kind tells of is known; a kind's row says in what it differs, and which facts it shows."""
    row = KINDS[kind]
    sample = row.sample
    return Letter(
        kind=kind,
        now=dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC),
        customer_name="Dana Reyes",
        customer_email="dana@example.com",
        business=BUSINESS,
        link=""
        if row.audience is Audience.BUSINESS
        else "https://portico.example/me/SAMPLE-LINK-OF-NOBODY",
        locale=locale,
        timezone="America/New_York",
        amount=14900,
        currency="usd",
        tries=sample.tries,
        planned=sample.planned,
        lines=TWO_INVOICES if sample.several else (),
        paid_at=dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC),
        description="Weekly home cleaning",
        price=Price(amount=14900, currency="usd", interval="month"),
        ends_at=dt.datetime(2026, 12, 23, 15, 0, tzinfo=dt.UTC),
        note=sample.note,
        links=LINKS if row.action is Action.DECIDE else None,
        number="SUN-0042",
        purpose="Weekly home cleaning",
        platform="Portico",
        next_appointment=dt.datetime(2026, 12, 2, 14, 0, tzinfo=dt.UTC),
        has_payments=True,
        method=PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026),
        decline=sample.decline,
        next_attempt=dt.datetime(2026, 11, 27, 15, 0, tzinfo=dt.UTC),
        ending=sample.ending,
        mails=sample.mails,
        last_tried=dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC),
        endpoint_id="whe_SAMPLE-OF-NOBODY",
        endpoint_host="hooks.sunrise.example",
        dashboard_url="https://dashboard.stripe.com/invoices/SAMPLE-OF-NOBODY",
    )
