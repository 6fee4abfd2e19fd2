"""What the page says of a subscription's price and of how it stands, from the event to the sentence."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

import pytest
from sqlalchemy import update

from services.portal.adapters.billing import RpcBilling
from services.portal.domain.snapshot import Snapshot, Subscription
from services.portal.domain.subscribed import (
    ASKED_FOR,
    PREVIEW_EVERY,
    ShownSubscriptions,
    Standing,
    standing,
    to_ask_about,
)
from services.portal.handlers import resolved_links
from services.portal.handlers.cancellation_steps import describe
from services.portal.handlers.cancelling import Request
from services.portal.handlers.events import handle
from services.portal.models import Base, SubscriptionRow
from services.portal.ports import BillingUnavailable, PriceSeen
from services.portal.queries.subscriptions import PREVIEW_GOOD_FOR
from services.portal.workflows import billing_sync as learning
from shared import events
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.prices import Lasts, NextInvoice, Pricing, Terms
from shared.database import Transactions
from shared.nameko_ext.rpc import RpcTimeout
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    ago,
    ahead,
    event,
    failed,
    lookup,
    paid,
)
from tests.unit.portal.test_cancelling import news
from tests.unit.portal.test_learning import FakeBilling
from tests.unit.portal.test_views import draw

EARLIER = ago(hours=2)
PLAIN = Terms(
    pricing=Pricing.FIXED, amount=14900, currency="usd", interval="month", discounted=False
)
HALF = NextInvoice(amount=7450, recurring=7450, discount=Lasts.FOREVER)


@pytest.fixture
def database() -> Transactions:
    return tables.empty(Base.metadata)


@pytest.fixture
def customer_id(database: Transactions) -> str:
    return tables.filled(database.engine, one_customer, database)


def one_customer(database: Transactions) -> str:
    with database.transaction() as session:
        add_business(session)
        made = add_customer(session, platform_stripe_customer_id="cus_1", timezone="UTC")
    return made.customer_id


def hear(database: Transactions, at: dt.datetime = EARLIER, **changes: Any) -> None:
    with database.transaction() as session:
        handle(session, event(news(**changes), at), NOW)


def found(database: Transactions, customer_id: str, now: dt.datetime = NOW) -> Snapshot:
    with database.reading() as session:
        snapshot = lookup(session, customer_id, now)
    assert snapshot is not None
    return snapshot


def section(snapshot: Snapshot) -> str:
    """What the page says under "Your subscription", as one line of text."""
    html = draw(resolved_links.notice_for(snapshot, NOW), snapshot).html
    part = html.split('<ul class="subs">')[1].split("</ul>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", part).split())


def look(
    database: Transactions,
    customer_id: str,
    terms: Terms | None,
    now: dt.datetime = NOW,
    **seen: Any,
) -> FakeBilling:
    """The page is shown, and billing tells what it costs; None: that there is no next invoice."""
    billing = FakeBilling(price=PriceSeen(terms=terms, **seen) if terms else None)
    shown = ShownSubscriptions()
    shown.add(to_ask_about(found(database, customer_id, now), now), now)
    learning.learn_prices(database, billing, shown, now)
    return billing


@pytest.mark.whole
@pytest.mark.parametrize(
    ("changes", "seen", "words"),
    [
        ({}, None, "$149.00 every month Next payment on March 25."),
        ({}, NextInvoice(amount=14900, recurring=14900), "$149.00 every month Next payment on"),
        (
            {"pricing": "fixed_and_usage", "amount": 2000},
            None,
            "$20.00 every month, plus usage Next payment on March 25.",
        ),
        ({"pricing": "usage", "amount": None}, None, "Billed by usage"),
        ({"pricing": "other", "amount": None}, None, "clean"),
        ({"amount": -500}, None, "every month"),
        (
            {"pricing": "other", "amount": None},
            NextInvoice(amount=2100),
            "clean Next payment on March 25: $21.00.",
        ),
        ({"discounted": True}, None, "clean"),
        (
            {"discounted": True},
            HALF,
            "$74.50 every month, discount included Next payment on March 25.",
        ),
        (
            {"discounted": True},
            dataclasses.replace(HALF, discount=Lasts.ONCE),
            "$149.00 every month Next payment on March 25: $74.50.",
        ),
        (
            {"discounted": True},
            dataclasses.replace(HALF, discount=Lasts.REPEATING, until=ahead(days=80)),
            "$74.50 every month until May 24 (discount included), then $149.00 Next payment on",
        ),
        (
            {"discounted": True},
            NextInvoice(amount=0, recurring=0, discount=Lasts.FOREVER),
            "$0.00 every month, discount included",
        ),
        (
            {"collection_paused": True, "collection_resumes_at": ahead(days=9)},
            None,
            "$149.00 every month Payments paused until March 14",
        ),
        ({"collection_paused": True}, HALF, "discount included Payments paused"),
        ({"collection_paused": None}, None, "$149.00 every month"),
        ({"status": "paused"}, None, "$149.00 every month Paused"),
        ({"status": "past_due"}, None, "$149.00 every month"),
        (
            {"status": "trialing", "trial_ends_at": ahead(days=4)},
            None,
            "$149.00 every month Free trial until March 9.",
        ),
        (
            {"status": "trialing", "trial_ends_at": ahead(days=4)},
            dataclasses.replace(HALF, discount=Lasts.ONCE),
            "$149.00 every month Free trial until March 9. Next payment on March 9: $74.50.",
        ),
        ({"ends_at": ahead(days=20)}, None, "$149.00 every month Ends on March 25"),
        (
            {"ends_at": ahead(days=75)},
            None,
            "$149.00 every month Ends on May 19 Next payment on March 25.",
        ),
        (
            {"ends_at": ahead(days=30)},
            NextInvoice(amount=4900),
            "Ends on April 4 Next payment on March 25: $49.00.",
        ),
        ({"ends_at": ahead(days=75), "collection_paused": True}, None, "Ends on May 19"),
        ({"ends_at": ahead(days=75), "status": "past_due"}, None, "Ends on May 19"),
        (
            {"ends_at": ahead(days=4), "status": "trialing", "trial_ends_at": ahead(days=4)},
            None,
            "$149.00 every month Ends on March 9",
        ),
        (
            {"ends_at": ahead(days=75), "status": "trialing", "trial_ends_at": ahead(days=4)},
            None,
            "Ends on May 19 Next payment on March 9.",
        ),
    ],
)
def test_the_page_says_what_is_so(
    database: Transactions,
    customer_id: str,
    changes: dict[str, Any],
    seen: NextInvoice | None,
    words: str,
) -> None:
    """From the event, and from Stripe's preview where it was asked, to the sentence; no date where nothing is collected."""
    hear(database, **changes)
    if seen is not None:
        given = {**dataclasses.asdict(PLAIN), "next_invoice": seen}
        given |= {
            key: changes[key] for key in ("pricing", "amount", "discounted") if key in changes
        }
        given["pricing"] = Pricing(given["pricing"])
        look(
            database,
            customer_id,
            Terms(**given),
            collection_paused=changes.get("collection_paused", False),
            trial_ends_at=changes.get("trial_ends_at"),
        )
    text = section(found(database, customer_id))
    assert words in text
    assert ("Next payment" in text) is ("Next payment" in words)


@pytest.mark.parametrize(("number", "all_shown"), [(5, True), (7, False)])
def test_the_page_says_where_it_does_not_show_all(
    database: Transactions, customer_id: str, number: int, all_shown: bool
) -> None:
    """Nobody takes the first five for all that they pay for."""
    for one in range(number):
        hear(database, subscription_id=f"sub_{one}")
    snapshot = found(database, customer_id)
    html = draw(resolved_links.notice_for(snapshot, NOW), snapshot).html
    assert html.count('<h3 id="s') == 5
    assert ("These aren’t all of your subscriptions." in html) is not all_shown
    assert len(to_ask_about(snapshot, NOW)) == 5


def test_what_an_older_release_told_is_not_taken_for_plain(
    database: Transactions, customer_id: str
) -> None:
    """Events in queues from the release before: neither their amount nor a date is said until Stripe was asked; then both are."""
    hear(database, pricing=None, discounted=None, collection_paused=None)
    text = section(found(database, customer_id))
    assert "$" not in text
    assert "Next payment" not in text
    look(
        database,
        customer_id,
        dataclasses.replace(PLAIN, next_invoice=NextInvoice(amount=14900, recurring=14900)),
    )
    assert "$149.00 every month Next payment on March 25." in section(found(database, customer_id))


@pytest.mark.parametrize("order", [("incomplete", "active"), ("active", "incomplete")])
def test_made_and_paid_in_one_second_it_has_begun_whatever_comes_first(
    database: Transactions, customer_id: str, order: tuple[str, str]
) -> None:
    """Stripe tells both within its second, in any order: the page would miss the subscription until something else happened to it."""
    for status in order:
        hear(database, status=status)
    assert "$149.00 every month Next payment on March 25." in section(found(database, customer_id))


def test_what_an_older_portal_wrote_is_not_taken_for_plain(
    database: Transactions, customer_id: str
) -> None:
    """While both releases run, the older one changes an amount and leaves the newer columns as they are."""
    hear(database)
    with database.transaction() as session:
        session.execute(update(SubscriptionRow).values(amount=500, as_of=ago(hours=1)))
    assert "$" not in section(found(database, customer_id))


@pytest.mark.whole
def test_a_discount_of_the_customers_outlives_the_preview(
    database: Transactions, customer_id: str
) -> None:
    """An event doesn't tell of it: once seen, the full price is not said before Stripe was asked again."""
    hear(database)
    halved = dataclasses.replace(PLAIN, next_invoice=HALF)
    look(database, customer_id, halved)
    assert "$74.50 every month" in section(found(database, customer_id))
    hear(database, at=ago(hours=1), description="Weekly clean")
    assert "$" not in section(found(database, customer_id))
    full = dataclasses.replace(PLAIN, next_invoice=NextInvoice(amount=14900, recurring=14900))
    look(database, customer_id, full)
    assert "$149.00 every month" in section(found(database, customer_id))


def test_a_credit_that_covers_the_next_invoice_is_remembered(
    database: Transactions, customer_id: str
) -> None:
    """No event tells of it: after a renewal no payment is announced before Stripe was asked again, nor once what it told is old."""
    hear(database)
    covered = dataclasses.replace(PLAIN, next_invoice=NextInvoice(amount=0, recurring=14900))
    look(database, customer_id, covered)
    tomorrow = NOW + PREVIEW_GOOD_FOR
    assert "Next payment" not in section(found(database, customer_id, tomorrow))
    hear(database, at=ago(hours=1), current_period_end=ahead(days=30))
    assert section(found(database, customer_id)).endswith("$149.00 every month")
    used_up = dataclasses.replace(PLAIN, next_invoice=NextInvoice(amount=14900, recurring=14900))
    look(database, customer_id, used_up)
    assert "Next payment on" in section(found(database, customer_id))


def test_a_preview_is_asked_when_shown_and_believed_for_a_day(
    database: Transactions, customer_id: str
) -> None:
    """Asked by the hour at most while the page is looked at; after a day without, what it told is not said."""
    hear(database, pricing="other", amount=None)
    other = Terms(pricing=Pricing.OTHER, currency="usd", next_invoice=NextInvoice(amount=2100))
    assert look(database, customer_id, other).asked == ["sub_1"]
    assert look(database, customer_id, other).asked == []
    later = NOW + PREVIEW_EVERY + dt.timedelta(seconds=1)
    assert look(database, customer_id, other, later).asked == ["sub_1"]
    stale = found(database, customer_id, later + PREVIEW_GOOD_FOR)
    assert stale.subscriptions[0].terms.next_invoice is None


def test_news_that_came_meanwhile_is_not_overwritten(
    database: Transactions, customer_id: str
) -> None:
    """The answer is about the subscription as it was when it was asked about."""
    hear(database)
    billing, shown = (
        FakeBilling(price=PriceSeen(terms=dataclasses.replace(PLAIN, next_invoice=HALF))),
        ShownSubscriptions(),
    )
    shown.add(to_ask_about(found(database, customer_id), NOW), NOW)
    hear(database, at=ago(hours=1), amount=9900)
    learning.learn_prices(database, billing, shown, NOW)
    assert "$99.00 every month" in section(found(database, customer_id))


def test_without_a_next_invoice_the_event_alone_speaks(
    database: Transactions, customer_id: str
) -> None:
    """An answer all the same: it is not asked again at once."""
    hear(database, ends_at=ahead(days=20))
    assert look(database, customer_id, None).asked == ["sub_1"]
    assert look(database, customer_id, None).asked == []
    assert "$149.00 every month Ends on March 25" in section(found(database, customer_id))


def test_what_billing_could_not_ask_waits_for_a_while(
    database: Transactions, customer_id: str
) -> None:
    """Beyond the budget, or with billing away; given up when the page was shown too long ago, and asked when shown again."""
    hear(database)
    shown, billing = ShownSubscriptions(), FakeBilling(busy=True)
    wanted = to_ask_about(found(database, customer_id), NOW)
    assert shown.add(wanted, NOW) is True
    assert shown.add(wanted, NOW) is False
    assert learning.learn_prices(database, billing, shown, NOW) == learning.Round(more=False)
    billing.server_error = "RpcTimeout"
    assert learning.learn_prices(database, billing, shown, NOW).problem == "RpcTimeout"
    assert len(shown.first(9, NOW)) == 1
    assert shown.first(9, NOW + ASKED_FOR + dt.timedelta(seconds=1)) == []
    assert shown.add(wanted, NOW) is True


def test_what_waits_is_bounded() -> None:
    """However many pages are shown."""
    shown = ShownSubscriptions(limit=2)
    many = [Subscription(ref=n, subscription_id=f"sub_{n}", status="active") for n in range(5)]
    shown.add(many, NOW)
    assert [each.subscription_id for each in shown.first(9, NOW)] == ["sub_0", "sub_1"]


def test_usage_and_the_ended_are_not_asked_about(database: Transactions, customer_id: str) -> None:
    """There is no amount ahead."""
    hear(database, pricing="usage", amount=None)
    assert to_ask_about(found(database, customer_id), NOW) == []
    hear(database, at=ago(hours=1), kind=events.SubscriptionEnded, ends_at=ago(hours=1))
    assert to_ask_about(found(database, customer_id), NOW) == []


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_overdue_is_what_the_customer_is_asked_for(
    database: Transactions, customer_id: str, status: str
) -> None:
    """One story with the notice: while an invoice of the subscription is owed. Paid, the subscription's own news may be late."""
    hear(database, status=status)
    assert "overdue" not in section(found(database, customer_id))
    with database.transaction() as session:
        handle(session, event(failed(subscription_id="sub_1"), ago(hours=1)), NOW)
    assert "$149.00 every month Payment overdue" in section(found(database, customer_id))
    with database.transaction() as session:
        handle(session, event(paid(subscription_id="sub_1"), ago(minutes=1)), NOW)
    snapshot = found(database, customer_id)
    assert "overdue" not in section(snapshot)
    assert "Next payment" not in section(snapshot)
    assert standing(snapshot.subscriptions[0], snapshot.invoices, NOW) is Standing.OTHER


def test_mails_say_the_same_price_as_the_page(database: Transactions, customer_id: str) -> None:
    """Whoever decides about a cancellation reads what the customer reads."""
    hear(database, discounted=True)
    request = Request(
        "r",
        "open",
        NOW,
        None,
        None,
        "Maria",
        "UTC",
        found(database, customer_id).subscriptions[0],
        None,
    )  # type: ignore[arg-type]
    assert describe(request, ("en",), NOW) == "Fortnightly clean"
    look(database, customer_id, dataclasses.replace(PLAIN, next_invoice=HALF))
    told = dataclasses.replace(request, subscription=found(database, customer_id).subscriptions[0])
    assert (
        describe(told, ("en",), NOW) == "Fortnightly clean, $74.50 every month, discount included"
    )


class Wire:
    """billing's answer, as it crosses the wire."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def subscription_prices(self, subscription_ids: list[str]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_billings_answer_is_read_at_the_edge() -> None:
    """Words of a later release are "not known" and "mixed"; what can't be read is no answer."""
    told = {
        "upcoming": True,
        "pricing": "by_moon",
        "currency": "usd",
        "new": 1,
        "next_invoice": {"amount": 5, "discount": "weekly", "until": "2027-03-03T00:00:00+00:00"},
    }
    seen = RpcBilling(Wire({"sub_1": told, "sub_2": {"upcoming": False}})).prices(
        [StripeId(OWN, "sub_1")]
    )
    assert seen[StripeId(OWN, "sub_2")] is None
    one = StripeId(OWN, "sub_1")
    assert seen[one] is not None
    assert seen[one].terms.pricing is None
    assert seen[one].terms.next_invoice == NextInvoice(
        amount=5, discount=Lasts.MIXED, until=dt.datetime(2027, 3, 3, tzinfo=dt.UTC)
    )
    for answer in ({"sub_1": {"upcoming": "yes"}}, [], RpcTimeout("billing")):
        with pytest.raises(BillingUnavailable):
            RpcBilling(Wire(answer)).prices([StripeId(OWN, "sub_1")])
