"""A new payment method that Stripe lets only the business set: the business is asked to, once."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import Kind
from services.notifier.emails.letters import LetterData, letter
from services.notifier.handlers.events import handle
from services.notifier.models import Notification
from shared import events
from shared.contracts.accounts import Account, StripeCustomer
from shared.events import Event
from tests.unit.notifier.conftest import House
from tests.unit.notifier.fakes import a_contact

NOW = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
PAGE = "https://dashboard.stripe.com/acct_shop/subscriptions/sub_1"


def hear(session: Session, number: int, *, over: bool = False, card: str = "pm_new") -> str:
    kept = events.SubscriptionPaymentMethodKept(
        account="acct_shop",
        subscription_id="sub_1",
        stripe_customer_id="cus_1",
        on_behalf_of="acct_studio",
        payment_method_id=card,
        dashboard_url=None if over else PAGE,
        over=over,
    )
    event = Event(id=f"evt_{number}", occurred_at=NOW, correlation_id="evt", data=kept)
    return handle(session, event, NOW)


def test_the_business_is_asked_once_for_each_new_card(house: House) -> None:
    """Told twice it is one email; another card is another one, and that it is over is none."""
    with house.db.transaction() as session:
        outcomes = [hear(session, 1), hear(session, 2), hear(session, 3, over=True)]
        outcomes.append(hear(session, 4, card="pm_other"))
    assert outcomes == [
        "payment_method_by_hand is due",
        "this was told before",
        "nothing to ask the business for any more",
        "payment_method_by_hand is due",
    ]
    with house.db.reading() as session:
        rows = [
            (row.stripe_customer, row.kind, row.context)
            for row in session.scalars(select(Notification))
        ]
    asked = (StripeCustomer(Account("acct_shop"), "cus_1", "acct_studio"), "payment_method_by_hand")
    assert [row[:2] for row in rows] == [asked] * 2
    context = rows[0][2] or {}
    said = letter(
        Kind.PAYMENT_METHOD_BY_HAND,
        LetterData(contact=a_contact(), now=NOW, context=context),
    )
    assert said.dashboard_url == PAGE
    assert said.link == ""
