"""Who observes, and since when a business is live."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from services.portal import serializers as wire
from services.portal.handlers import customers, modes
from services.portal.handlers.customers import Asked
from services.portal.queries import customers as people
from services.portal.queries.modes import Standing
from services.portal.service import PortalService
from shared.contracts.accounts import OWN, Account, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument, NotFound
from shared.contracts.rpc.modes import StripeCustomerArgument
from shared.contracts.rpc.portal import Contact, ContactBusiness
from shared.database import Transactions
from shared.mode import LIVE, OBSERVE
from tests.unit.portal.builders import NOW, add_business, add_customer, ahead, lookup

PLATFORM = Account("acct_p")


def go(session: Session, mode: str, business_id: str = "sunrise", **when: Any) -> Any:
    return modes.set_mode(session, business_id, mode, False, ahead(**when) if when else NOW)


def contact_of(session: Session, customer_id: str, *, observes: bool = False) -> Contact:
    (person,) = customers.contacts(session, [Asked(customer_id=customer_id)], NOW)
    assert person is not None
    return wire.contact(person, "https://portal.example/me/x", "Portico", observes)


def about(session: Session, *, observes: bool = False) -> ContactBusiness:
    """What the answer about the business itself says."""
    row = people.business(session, "sunrise")
    assert row is not None
    return wire.business_contact(row, "Portico", observes).business


def service(session: Session, *, observes: bool = False) -> Any:
    portal: Any = PortalService()
    bind: Any = session.get_bind()
    portal.db, portal.wiring = Transactions(bind), SimpleNamespace(observes=observes)
    return portal


def test_a_new_business_is_live_without_a_line(session: Session) -> None:
    """As every business of the release before."""
    add_business(session)
    made = about(session)
    assert (made.observed, made.live_since) == (False, None)
    assert people.business(session, "sunrise").mode == LIVE  # type: ignore[union-attr]


def test_going_live_draws_the_line_once(session: Session) -> None:
    """The call again, whose answer was lost, moves nothing; observing keeps the line, and going live after it draws another."""
    add_business(session)
    assert go(session, OBSERVE).live_since is None
    assert go(session, LIVE, hours=1).live_since == ahead(hours=1)
    assert go(session, LIVE, hours=2).live_since == ahead(hours=1)
    assert go(session, OBSERVE, hours=3).live_since == ahead(hours=1)
    assert go(session, LIVE, hours=4).live_since == ahead(hours=4)


def test_a_business_that_never_observed_may_draw_its_line(session: Session) -> None:
    """A person says from when on it counts."""
    add_business(session)
    assert go(session, LIVE).live_since == NOW


def test_while_the_installation_observes_the_line_moves_along(session: Session) -> None:
    """Nothing has gone out since the line was drawn, so it may be drawn again."""
    add_business(session)
    modes.set_mode(session, "sunrise", LIVE, True, NOW)
    assert modes.set_mode(session, "sunrise", LIVE, True, ahead(days=2)).live_since == ahead(days=2)


def test_nobody_is_no_business(session: Session) -> None:
    """Both ways of naming one."""
    with pytest.raises(NotFound, match="business_id"):
        go(session, LIVE, "nobody")
    with pytest.raises(NotFound, match="business_id"):
        modes.businesses(session, "nobody", None, 10)


def test_contacts_say_who_observes_and_since_when_they_are_live(session: Session) -> None:
    """The business by itself, or the installation; the answer about a customer and that about the business alike."""
    add_business(session)
    maria = add_customer(session).customer_id
    for observes in (False, True):
        for mode in (OBSERVE, LIVE):
            row = go(session, mode)
            session.flush()
            told = contact_of(session, maria, observes=observes).business
            assert told.observed == (observes or mode == OBSERVE)
            assert told.live_since == row.live_since
            of_business = about(session, observes=observes)
            assert (of_business.observed, of_business.live_since) == (
                told.observed,
                told.live_since,
            )


def test_the_page_knows_whether_its_business_observes(session: Session) -> None:
    """It promises nothing then that would be written to Stripe."""
    add_business(session)
    maria = add_customer(session).customer_id
    go(session, OBSERVE)
    session.flush()
    found = lookup(session, maria, NOW)
    assert found is not None
    assert found.business.mode == OBSERVE


def test_businesses_are_listed_by_their_ids(session: Session) -> None:
    """In pages; one by itself; with what the installation makes of them."""
    for business_id in ("c", "a", "b"):
        add_business(session, business_id, name=business_id)
    go(session, OBSERVE, "b")
    session.commit()
    portal = service(session)
    listed = portal.businesses_modes()
    assert [(one.business_id, one.mode, one.observed) for one in listed] == [
        ("a", LIVE, False),
        ("b", OBSERVE, True),
        ("c", LIVE, False),
    ]
    assert [one.business_id for one in portal.businesses_modes(after="a", limit=1)] == ["b"]
    assert [one.business_id for one in portal.businesses_modes("c")] == ["c"]
    everywhere = service(session, observes=True).businesses_modes()
    assert [(one.observed, one.installation_observes) for one in everywhere] == [(True, True)] * 3
    assert not any(one.installation_observes for one in listed)
    with pytest.raises(InvalidArgument, match="limit: expected 1 to 1000"):
        portal.businesses_modes(limit=0)


def test_the_call_answers_how_the_business_works(session: Session) -> None:
    """With the line that it drew."""
    add_business(session)
    session.commit()
    portal = service(session)
    assert portal.set_mode("sunrise", OBSERVE).observed is True
    live = portal.set_mode("sunrise", LIVE)
    assert (live.mode, live.observed) == (LIVE, False)
    assert live.live_since is not None


# --- for billing ---------------------------------------------------------------------------------------------


def is_observed(
    session: Session, stripe_id: str, account: str = OWN, on_behalf_of: str = ""
) -> bool:
    asked = StripeCustomer(Account(account), stripe_id, on_behalf_of)
    (one,) = modes.observed(session, [asked])
    return one.observes


def test_a_customer_is_observed_with_their_business(session: Session) -> None:
    """By the Stripe customer; another's business is none of theirs."""
    add_business(session)
    add_business(session, "other", name="Other")
    add_customer(session, platform_stripe_customer_id="cus_1")
    add_customer(session, "c2", business_id="other", platform_stripe_customer_id="cus_2")
    go(session, OBSERVE)
    session.flush()
    assert [is_observed(session, one) for one in ("cus_1", "cus_2")] == [True, False]
    go(session, LIVE)
    session.flush()
    assert not is_observed(session, "cus_1")


def test_a_customer_of_nobody_is_observed_where_all_on_the_account_observe(
    session: Session,
) -> None:
    """They can be nobody's but theirs; an account of no business counts as live."""
    assert not is_observed(session, "cus_x")
    add_business(session)
    assert not is_observed(session, "cus_x")
    go(session, OBSERVE)
    session.flush()
    assert is_observed(session, "cus_x")
    assert not is_observed(session, "cus_x", "acct_other")
    add_business(session, "other", name="Other")
    assert not is_observed(session, "cus_x")


def test_on_a_platforms_account_it_is_asked_of_the_merchant(session: Session) -> None:
    """Of the business on whose behalf is charged; where none has it, of all on the account."""
    add_business(session, "one", name="One", stripe_account=PLATFORM, on_behalf_of="acct_1")
    add_business(session, "two", name="Two", stripe_account=PLATFORM, on_behalf_of="acct_2")
    go(session, OBSERVE, "one")
    session.flush()
    assert is_observed(session, "cus_x", PLATFORM, "acct_1")
    assert not is_observed(session, "cus_x", PLATFORM, "acct_2")
    assert not is_observed(session, "cus_x", PLATFORM)
    go(session, OBSERVE, "two")
    session.flush()
    assert is_observed(session, "cus_x", PLATFORM)
    assert is_observed(session, "cus_x", PLATFORM, "acct_unnamed")


def test_the_line_is_told_with_it(session: Session) -> None:
    """That of the customer's business; of a customer of nobody the latest of those that could be theirs."""
    add_business(session)
    add_business(session, "other", name="Other")
    add_customer(session, platform_stripe_customer_id="cus_1")
    asked = [StripeCustomer(OWN, one) for one in ("cus_1", "cus_x")]
    assert [one.live_since for one in modes.observed(session, asked)] == [None, None]
    modes.set_mode(session, "sunrise", LIVE, False, NOW)
    modes.set_mode(session, "other", LIVE, False, ahead(hours=1))
    session.flush()
    assert [one.live_since for one in modes.observed(session, asked)] == [NOW, ahead(hours=1)]
    elsewhere = StripeCustomer(Account("acct_other"), "cus_x")
    assert modes.observed(session, [elsewhere]) == [Standing(observes=False)]


def test_billing_asks_about_many_in_one_call(session: Session) -> None:
    """In the order of the question; an installation that observes doesn't look."""
    add_business(session)
    add_business(session, "other", name="Other")
    add_customer(session, platform_stripe_customer_id="cus_1")
    go(session, OBSERVE)
    session.commit()
    asked = [StripeCustomerArgument(stripe_customer_id=one) for one in ("cus_x", "cus_1", "cus_x")]
    assert service(session).observed(asked).observed == [False, True, False]
    assert service(session).observed(asked).live_since == [None] * 3
    whole = service(session, observes=True).observed(asked)
    assert (whole.observed, whole.live_since) == ([True] * 3, [None] * 3)
    assert service(session).observed([]).observed == []
    with pytest.raises(InvalidArgument, match="at most 500"):
        service(session).observed(asked * 200)
