"""A business's account is disconnected: its customers' pages and emails, and those of others."""

from __future__ import annotations

import datetime as dt

import pytest
from babel import Locale
from sqlalchemy.orm import Session

from services.portal.adapters.billing import RpcBilling
from services.portal.handlers import customers
from services.portal.handlers.events import handle
from services.portal.models import BusinessRow
from services.portal.queries import account_states, billing_sync
from services.portal.texts import texts_in
from shared import events
from shared.contracts.accounts import OWN, Account, Merchant, StripeId
from shared.contracts.rpc.errors import RemoteFault
from shared.l10n.locales import SOURCE, languages
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
    snapshot,
)
from tests.unit.portal.test_views import TOKEN, draw

THEIRS = Account("acct_1")


def told(state: str, at: dt.datetime = NOW) -> events.Event:
    return event(events.StripeAccountChanged(account=THEIRS, state=state), at)


@pytest.fixture
def maria(session: Session) -> str:
    """A customer of a business with an account of its own, who owes something."""
    return tables.filled(session.get_bind().engine, add_maria, session)


def add_maria(session: Session) -> str:
    add_business(session)
    row = session.query(BusinessRow).one()
    row.account = THEIRS
    session.flush()
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    handle(session, event(failed(account=THEIRS), at=ago(hours=1)), NOW)
    session.flush()
    return made.customer_id


def test_the_page_has_no_button_and_no_debt_then(session: Session, maria: str) -> None:
    """What was last heard is no word on today; connected again, all is as it was. Nothing is deleted."""
    assert lookup(session, maria, NOW).can_manage_billing
    assert lookup(session, maria, NOW).invoices
    handle(session, told("disconnected"), NOW)
    found = lookup(session, maria, NOW)
    assert (found.disconnected, found.can_manage_billing) == (True, False)
    assert (found.invoices, found.subscriptions) == ((), ())
    handle(session, told("connected", ahead(hours=1)), NOW)
    assert lookup(session, maria, NOW).can_manage_billing
    assert lookup(session, maria, NOW).invoices


def test_an_older_word_of_an_account_changes_nothing(session: Session, maria: str) -> None:
    """Events come in any order, and twice."""
    gone, back = told("disconnected"), told("connected", ahead(hours=1))
    for one in (back, gone, gone):
        handle(session, one, NOW)
    assert not lookup(session, maria, NOW).disconnected


def test_a_restricted_account_is_served(session: Session, maria: str) -> None:
    """That is Stripe's to say, call by call."""
    handle(session, told("restricted"), NOW)
    assert lookup(session, maria, NOW).can_manage_billing


def test_the_notifier_is_told(session: Session, maria: str) -> None:
    """With whom to write to: it asks before each email."""
    asked = [customers.asked_for(Merchant(OWN), None, maria)]
    (before,) = customers.contacts(session, asked, NOW)
    handle(session, told("disconnected"), NOW)
    (after,) = customers.contacts(session, asked, NOW)
    assert before is not None
    assert after is not None
    assert (before.disconnected, after.disconnected) == (False, True)
    assert (before.can_manage_billing, after.can_manage_billing) == (True, False)


@pytest.mark.whole
def test_billing_is_asked_nothing_about_it(session: Session, maria: str) -> None:
    """It would refuse, again and again, and others would wait behind."""
    window = {
        "failed_since": ago(days=2),
        "tried_since": ago(days=14),
        "changed_between": (ago(days=1), NOW),
    }
    assert billing_sync.invoices_to_ask_about(session, NOW, 5, **window)  # type: ignore[arg-type]
    account_states.note_state(session, THEIRS, account_states.GONE, NOW)
    assert not billing_sync.invoices_to_ask_about(session, NOW, 5, **window)  # type: ignore[arg-type]


def test_an_account_that_billing_refuses_keeps_no_other_waiting() -> None:
    """Each account is a call of its own."""

    class Billing:
        def invoice_states(self, invoice_ids: list[str], account: str = OWN) -> dict[str, object]:
            if account:
                raise RemoteFault("InvalidArgument", "account: not served")
            return {}

        def subscription_prices(
            self, subscription_ids: list[str], account: str = OWN
        ) -> dict[str, object]:
            if account:
                raise RemoteFault("InvalidArgument", "account: not served")
            return {one: {"upcoming": False} for one in subscription_ids}

    gone, ours = StripeId(THEIRS, "x_1"), StripeId(OWN, "x_1")
    assert RpcBilling(Billing()).declines([gone, ours]) == {gone: None}
    assert RpcBilling(Billing()).prices([gone, ours]) == {gone: None, ours: None}


@pytest.mark.whole
@pytest.mark.parametrize("language", sorted({SOURCE, *languages()}))
def test_the_page_says_whom_to_ask(language: str) -> None:
    """In each language: the business, with no word of a charge and no way to Stripe."""
    page = draw(found=snapshot(disconnected=True), locale=Locale.parse(language))
    assert f"/me/{TOKEN}/billing" not in page.html
    asked = texts_in(Locale.parse(language)).gettext("Questions about a payment?")
    assert asked in page.html
