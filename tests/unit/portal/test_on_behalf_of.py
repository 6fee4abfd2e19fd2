"""One person at two businesses: two pages, two sessions, two histories, and neither shows the other's anything. Over invented worlds, where
each business has an account of its own, and where a platform charges on behalf of both of one Stripe customer."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import customers, importing, link_report, resolved_links, timeline
from services.portal.handlers.customers import Asked
from services.portal.handlers.events import handle
from services.portal.models import Base, CustomerRow, InvoiceRow, SubscriptionRow
from shared import events
from shared.contracts.accounts import OWN, Account, Merchant, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument, StripeCustomerConflict
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    REFERENCES,
    add_business,
    add_customer,
    checkout,
    event,
    failed,
    lookup,
    paid,
    says,
    stripe_id_of,
    take_in,
)

BUSINESSES = ("alder", "birch")
PLATFORM = Account("acct_platform")
WORLDS = {
    "each its own account": (Merchant(Account("acct_a")), Merchant(Account("acct_b"))),
    "one the installation's own": (Merchant(OWN), Merchant(Account("acct_b"))),
    "on behalf of both": (Merchant(PLATFORM, "acct_a"), Merchant(PLATFORM, "acct_b")),
    "on behalf of both, by the own account": (Merchant(OWN, "acct_a"), Merchant(OWN, "acct_b")),
    "the platform itself and on behalf of one": (Merchant(PLATFORM), Merchant(PLATFORM, "acct_b")),
    "the same behalf on two platforms": (Merchant(OWN, "acct_a"), Merchant(PLATFORM, "acct_a")),
}
every_world = pytest.mark.parametrize("world", WORLDS)
EXAMPLES = max(2, settings.default.max_examples // len(WORLDS))  # type: ignore[union-attr]
"""Of each world: the rule is one, and it is tried as often as others are."""


def settled(session: Session, merchants: tuple[Merchant, Merchant]) -> list[str]:
    """Two businesses, each with the same person; their public ids."""
    people = []
    for business, merchant in zip(BUSINESSES, merchants, strict=True):
        add_business(
            session,
            business,
            name=business,
            stripe_account=merchant.account or None,
            on_behalf_of=merchant.on_behalf_of or None,
        )
        people.append(add_customer(session, "c1", business_id=business).customer_id)
    return people


@dataclass(frozen=True)
class Thing:
    """An invoice or a subscription of the person's, at one of the businesses."""

    whose: int
    kind: str
    number: int


THINGS = st.lists(
    st.builds(
        Thing,
        st.integers(0, 1),
        st.sampled_from(["failed", "paid", "subscription", "card", "ended"]),
        st.integers(1, 3),
    ),
    max_size=8,
)


def happens(thing: Thing, merchant: Merchant) -> events.Event:
    """What Stripe tells of it. Two accounts have the same ids; on one account each object has its own."""
    mark = f"{merchant.on_behalf_of}{thing.number}"
    at = NOW - dt.timedelta(minutes=thing.number)
    where: dict[str, Any] = {"account": merchant.account, "on_behalf_of": merchant.on_behalf_of}
    if thing.kind in ("failed", "paid"):
        kind = failed if thing.kind == "failed" else paid
        number = f"{BUSINESSES[thing.whose]}-{thing.number}"
        ids = {"invoice_id": f"in_{mark}", "subscription_id": f"sub_{mark}"}
        return event(kind(number=number, **ids, **where), at)
    if thing.kind == "card":
        data: Any = events.PaymentMethodChanged(
            stripe_customer_id="cus_1", subscription_id=f"sub_{mark}", **where
        )
        return event(data, at)
    cls = events.SubscriptionEnded if thing.kind == "ended" else events.SubscriptionUpdated
    data = cls(
        subscription_id=f"sub_{mark}",
        stripe_customer_id="cus_1",
        status="canceled" if thing.kind == "ended" else "active",
        description=BUSINESSES[thing.whose],
        ends_at=at if thing.kind == "ended" else None,
        **where,
    )
    return event(data, at)


@pytest.mark.whole
@every_world
@settings(max_examples=EXAMPLES)
@given(things=THINGS, seed=st.integers(0, 99))
def test_neither_page_shows_what_is_the_other_business_s(
    world: str, things: list[Thing], seed: int
) -> None:
    """Whatever happens at both, in whatever order it is heard: each page is as if the other business weren't there."""
    merchants = WORLDS[world]
    story = [happens(one, merchants[one.whose]) for one in things]
    random.Random(seed).shuffle(story)
    of = {one.id: whose for whose in (0, 1) for one in story if _is_of(one, merchants[whose])}
    pages = []
    for heard in (story, *([one for one in story if of[one.id] == whose] for whose in (0, 1))):
        with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
            people = settled(session, merchants)
            for business in BUSINESSES:
                add_customer(session, business_id=business, platform_stripe_customer_id="cus_1")
            for one in heard:
                handle(session, one, NOW)
            session.flush()
            seen = [lookup(session, one, NOW) for one in people]
            pages.append([_shown(session, one) for one in seen])
    assert pages[0] == [pages[1][0], pages[2][1]]


def _is_of(told: events.Event, merchant: Merchant) -> bool:
    data: Any = told.data
    return Merchant(data.account, data.on_behalf_of) == merchant


def _shown(session: Session, snapshot: Any) -> tuple[Any, ...]:
    """A page, and what `lookup`, `story` and the notice say."""
    story = timeline.story(
        session, OWN, invoice_id=None, stripe_customer_id=None,
        customer_id=snapshot.customer_id, now=NOW,
    )  # fmt: skip
    return (
        {(one.invoice_id, one.invoice.number, one.invoice.status) for one in snapshot.invoices},
        {(one.subscription_id, one.description, one.status) for one in snapshot.subscriptions},
        snapshot.method_changed_at,
        resolved_links.notice_for(snapshot, NOW),
        [(one.invoice_id, one.number) for one in story.standing],
    )


@pytest.mark.whole
@every_world
def test_each_has_a_link_a_session_and_mails_of_its_own(world: str) -> None:
    """Two links, sessions for the two merchants, and for each failure the contact of the business that it is of."""
    merchants = WORLDS[world]
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
        people = settled(session, merchants)
        asked = []
        for business, merchant in zip(BUSINESSES, merchants, strict=True):
            add_customer(session, business_id=business, platform_stripe_customer_id="cus_1")
            asked.append(Asked(StripeCustomer(merchant.account, "cus_1", merchant.on_behalf_of)))
        contacts = customers.contacts(session, asked, NOW)
        assert [one.business.business_id for one in contacts if one] == list(BUSINESSES)
        assert [one.customer_id for one in contacts if one] == people
        pages = [lookup(session, one, NOW) for one in people]
        sessions = [page.stripe_customer for page in pages if page]
        assert sessions == [one.stripe_customer for one in asked]
        strange = Asked(StripeCustomer(Account("acct_c"), "cus_1"))
        assert customers.contacts(session, [strange], NOW) == [None]


SAYS = ("host", "customer", "subscription", "reference")
LINKED = {
    "host": {"each": (True, True), "behalf": (True, True)},
    "customer": {"each": (True, False), "behalf": (False, False)},
    "subscription": {"each": (True, False), "behalf": (True, False)},
    "reference": {"each": (True, False), "behalf": (True, False)},
}
"""Which of the two customers is linked after this was said: the host says it of both, the others name alder's by our id, on alder's
account, on alder's behalf."""


@pytest.mark.whole
@pytest.mark.parametrize("source", SAYS)
@pytest.mark.parametrize(
    ("world", "kind"), [("each its own account", "each"), ("on behalf of both", "behalf")]
)
def test_an_accounts_word_counts_for_customers_of_its_businesses(
    source: str, world: str, kind: str
) -> None:
    """Of every rank. On behalf of several the metadata of a Stripe customer decides nothing."""
    merchants = WORLDS[world]
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
        people = settled(session, merchants)
        said(session, source, people[0], merchants[0])
        if source == "host":
            said(session, source, people[1], merchants[1])
        linked = tuple(stripe_id_of(session, one) == "cus_1" for one in people)
        assert linked == LINKED[source][kind]


@pytest.mark.whole
@pytest.mark.parametrize("source", SAYS[1:])
@pytest.mark.parametrize("world", WORLDS)
def test_an_accounts_word_says_nothing_of_another_accounts_customers(
    source: str, world: str
) -> None:
    """Birch's customer is named on alder's account, and on alder's behalf: nobody is linked, and nothing is in conflict."""
    merchants = WORLDS[world]
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
        people = settled(session, merchants)
        if source == "reference" and merchants[0].account == merchants[1].account:
            pytest.skip("a signed reference is of its customer, and was given to them alone")
        said(session, source, people[1], merchants[0])
        assert [stripe_id_of(session, one) for one in people] == [None, None]
        assert session.scalars(select(CustomerRow.link_source)).all() == [None, None]


def said(session: Session, source: str, customer_id: str, merchant: Merchant) -> None:
    """Somebody says, on this account, that `cus_1` is this customer."""
    if source == "host":
        customers.link_customer(
            session, customer_id=customer_id, stripe_customer_id="cus_1", now=NOW
        )
        return
    if source == "reference":
        business = customers.people.business_id_of(session, customer_id) or ""
        reference = REFERENCES.write(customer_id, business, NOW)
        take_in(session, checkout(reference, account=merchant.account))
        return
    of_subscription = source == "subscription"
    one = says(
        customer_id,
        object_id="sub_1" if of_subscription else None,
        account=merchant.account,
        on_behalf_of=merchant.on_behalf_of if of_subscription else "",
    )
    take_in(session, one)


@pytest.mark.whole
def test_one_stripe_customer_is_of_several_businesses_and_in_conflict_with_none(
    session: Session,
) -> None:
    """What is disputed is disputed within one merchant."""
    merchants = WORLDS["on behalf of both"]
    mine, theirs = settled(session, merchants)
    said(session, "subscription", mine, merchants[0])
    take_in(
        session,
        says(theirs, object_id="sub_2", account=PLATFORM, on_behalf_of="acct_b"),
    )
    assert [stripe_id_of(session, one) for one in (mine, theirs)] == ["cus_1", "cus_1"]
    other = add_customer(session, "c2", business_id="alder").customer_id
    take_in(
        session,
        says(
            other, object_id="sub_3", account=PLATFORM, on_behalf_of="acct_a",
            at=NOW + dt.timedelta(hours=1),
        ),
    )  # fmt: skip
    told = link_report.evidence(session, PLATFORM, customer_id=None, stripe_customer_id="cus_1")
    assert [(one.on_behalf_of, one.customer_id) for one in told.conflicts] == [("acct_a", other)]
    assert {(one.on_behalf_of, one.customer_id) for one in told.links} == {
        ("acct_a", mine),
        ("acct_b", theirs),
    }


def test_a_subscription_that_is_charged_on_another_behalf_speaks_for_the_other(
    session: Session,
) -> None:
    """From then on: Stripe's newest word about the object stands."""
    mine, theirs = settled(session, WORLDS["on behalf of both"])
    later = NOW + dt.timedelta(hours=1)
    where: dict[str, Any] = {"object_id": "sub_1", "account": PLATFORM, "business": "alder"}
    take_in(session, says("c1", on_behalf_of="acct_a", **where))
    assert [stripe_id_of(session, one) for one in (mine, theirs)] == ["cus_1", None]
    again = says(
        "c1", on_behalf_of="acct_b", before="c1", before_business="alder", at=later, **where
    )
    take_in(session, again)
    assert [stripe_id_of(session, one) for one in (mine, theirs)] == [None, None]


@pytest.mark.whole
def test_a_businesss_own_word_takes_no_stripe_customer_of_another(session: Session) -> None:
    """A page shows the payment methods of the Stripe customer, which all have in common: a key of one business can't open it by
    naming it, on whosever behalf. The installation's can."""
    mine, theirs = settled(session, WORLDS["on behalf of both"])
    del mine
    add_customer(session, business_id="alder", platform_stripe_customer_id="cus_1")
    given: dict[str, Any] = {"customer_id": theirs, "stripe_customer_id": "cus_1", "now": NOW}
    with pytest.raises(StripeCustomerConflict):
        customers.link_customer(session, alone=True, **given)
    customers.link_customer(session, **given)
    assert stripe_id_of(session, theirs) == "cus_1"


def test_a_stripe_customer_of_several_is_found_with_its_business(session: Session) -> None:
    """Without one it isn't told whose is meant."""
    for one in settled(session, WORLDS["on behalf of both"]):
        customers.link_customer(session, customer_id=one, stripe_customer_id="cus_1", now=NOW)
    with pytest.raises(InvalidArgument, match="several businesses have this Stripe customer"):
        importing.find(session, PLATFORM, "cus_1", None)
    found = importing.find(session, PLATFORM, "cus_1", "birch")
    assert (found.business_id, found.only_on_behalf_of) == ("birch", "acct_b")


@pytest.mark.whole
def test_a_stripe_customer_that_is_deleted_is_nobodys(session: Session) -> None:
    """At all businesses at once."""
    people = settled(session, WORLDS["on behalf of both"])
    for one in people:
        customers.link_customer(session, customer_id=one, stripe_customer_id="cus_1", now=NOW)
    handle(
        session, event(events.CustomerDeleted(stripe_customer_id="cus_1", account=PLATFORM)), NOW
    )
    assert [stripe_id_of(session, one) for one in people] == [None, None]


@pytest.mark.whole
def test_who_is_forgotten_at_one_business_is_remembered_at_the_other(session: Session) -> None:
    """With what they owe there, and how they came to be linked."""
    merchants = WORLDS["on behalf of both"]
    people = settled(session, merchants)
    for whose in (0, 1):
        customers.link_customer(
            session, customer_id=people[whose], stripe_customer_id="cus_1", now=NOW
        )
        for kind in ("failed", "subscription"):
            handle(session, happens(Thing(whose, kind, 1), merchants[whose]), NOW)
    importing.erase(session, PLATFORM, customer_id=people[0], stripe_customer_id="cus_1", now=NOW)
    session.flush()
    for table in (InvoiceRow, SubscriptionRow):
        assert session.scalars(select(table.on_behalf_of)).all() == ["acct_b"]
    page = lookup(session, people[1], NOW)
    assert page is not None
    assert len(page.invoices) == len(page.subscriptions) == 1
    told = link_report.evidence(session, PLATFORM, customer_id=people[1], stripe_customer_id=None)
    assert [one.effect for one in told.evidence] == ["decides"]
