"""Sample letters for previews: one customer of one business, so that every kind of email can be looked at."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain import Decline, Kind
from services.notifier.ports import Business, Card
from services.notifier.rendering import Letter

BUSINESS: Final = Business(
    name="Sunrise Home Cleaning",
    email="hello@sunrise.example",
    phone="+1 555 010 0199",
    website="https://sunrise.example",
    color="#0f766e",
    locale="en",
    timezone="America/New_York",
)


def sample_letter(kind: Kind, locale: str = "en") -> Letter:
    """What an email of this kind would say to Dana, whose card has expired. The link leads nowhere."""
    return Letter(
        kind=kind,
        customer_name="Dana Reyes",
        business=BUSINESS,
        link="https://portico.example/me/SAMPLE-LINK-OF-NOBODY",
        locale=locale,
        timezone="America/New_York",
        amount=14900,
        currency="usd",
        number="SUN-0042",
        card=Card(brand="visa", last4="4242", exp_month=10, exp_year=2026),
        decline=Decline.EXPIRED_CARD if kind is Kind.PAYMENT_FAILED else Decline.INSUFFICIENT_FUNDS,
        next_attempt=dt.datetime(2026, 11, 27, 15, 0, tzinfo=dt.UTC),
    )
