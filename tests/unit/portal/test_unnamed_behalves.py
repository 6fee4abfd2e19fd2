"""A platform that has charged on behalf of accounts for years, and names none to us, loses nothing: what no business names is of those that name
none. As soon as a business names an account, what is charged on its behalf is that one's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portico.checks.portal import check_whose
from services.portal.domain.cancelling import Step
from services.portal.handlers import (
    cancellation_steps,
    customers,
    host_events,
    link_report,
    resolved_links,
    timeline,
)
from services.portal.handlers.customers import Asked
from services.portal.handlers.events import handle
from services.portal.models import CancellationRequestRow, HostEventRow
from services.portal.queries import behalves, incidents
from services.portal.queries import customers as people
from shared import events
from shared.contracts.accounts import OWN, Merchant, StripeCustomer, StripeId
from shared.database import Transactions
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    ahead,
    event,
    failed,
    lookup,
    says,
    stripe_id_of,
    take_in,
)

BEHALF = "acct_x"
OF_STRIPE = StripeCustomer(OWN, "cus_1", BEHALF)


@pytest.fixture
def dana(session: Session) -> str:
    """A customer of a business that names no behalf, who is charged on one."""
    return tables.filled(session.get_bind().engine, add_dana, session)


def add_dana(session: Session) -> str:
    add_business(session, "alder", name="alder")
    return add_customer(
        session, business_id="alder", platform_stripe_customer_id="cus_1"
    ).customer_id


def charged(session: Session) -> list[events.Event[Any]]:
    """An invoice of hers failed, and she has a subscription, both on behalf of `acct_x`."""
    told = [
        event(failed(subscription_id="sub_1", on_behalf_of=BEHALF)),
        event(
            events.SubscriptionUpdated(
                subscription_id="sub_1",
                stripe_customer_id="cus_1",
                status="active",
                current_period_end=ahead(days=20),
                description="Fortnightly clean",
                on_behalf_of=BEHALF,
            )
        ),
        event(
            events.PaymentMethodChanged(
                stripe_customer_id="cus_1", subscription_id="sub_1", on_behalf_of=BEHALF
            )
        ),
    ]
    for one in told:
        handle(session, one, NOW)
    host_events.note(session, told, NOW)
    session.flush()
    return told


def everything(session: Session, customer_id: str) -> dict[str, Any]:
    """What each place tells of it."""
    seen = lookup(session, customer_id, NOW)
    row = people.customer(session, customer_id)
    assert row is not None
    (contact,) = customers.contacts(session, [Asked(OF_STRIPE)], NOW)
    story = timeline.story(
        session, OWN, invoice_id="in_1", stripe_customer_id=None, customer_id=None, now=NOW
    )
    return {
        "page": [one.invoice_id for one in seen.invoices],
        "subscriptions": [one.subscription_id for one in seen.subscriptions],
        "card": seen.method_changed_at is not None,
        "mail": contact is not None and contact.customer_id == customer_id,
        "story": story.customer is not None and story.customer.customer_id == customer_id,
        "api": incidents.of_invoice(session, row.business_pk, StripeId(OWN, "in_1")) is not None,
    }


ALL = {
    "page": ["in_1"],
    "subscriptions": ["sub_1"],
    "card": True,
    "mail": True,
    "story": True,
    "api": True,
}
NOTHING: dict[str, Any] = {
    "page": [],
    "subscriptions": [],
    "card": False,
    "mail": False,
    "story": False,
    "api": False,
}


def owners(session: Session) -> list[str | None]:
    session.flush()
    return list(session.scalars(select(HostEventRow.customer_id).order_by(HostEventRow.event_id)))


def test_what_no_business_names_is_of_those_that_name_none(session: Session, dana: str) -> None:
    """On the page, in emails, in what hosts hear, and when the portal asks billing."""
    charged(session)
    assert everything(session, dana) == ALL
    assert set(owners(session)) == {dana}
    assert behalves.unnamed(session, 5) == [Merchant(OWN, BEHALF)]


@pytest.mark.whole
def test_as_soon_as_a_business_names_it_it_is_that_ones(session: Session, dana: str) -> None:
    """From that moment, what was heard before too; and back again when none names it any more."""
    charged(session)
    add_business(session, "birch", name="birch", on_behalf_of=BEHALF)
    theirs = add_customer(
        session, business_id="birch", platform_stripe_customer_id="cus_1"
    ).customer_id
    assert everything(session, dana) == NOTHING
    assert everything(session, theirs) == ALL
    assert behalves.unnamed(session, 5) == []
    add_business(session, "birch", name="birch", on_behalf_of=None, release_links=True)
    assert everything(session, dana) == ALL


@pytest.mark.whole
def test_another_accounts_business_that_names_it_changes_nothing(
    session: Session, dana: str
) -> None:
    """A behalf is named on an account."""
    charged(session)
    add_business(
        session, "birch", name="birch", stripe_account="acct_platform", on_behalf_of=BEHALF
    )
    assert everything(session, dana) == ALL


@pytest.mark.whole
def test_metadata_of_such_a_subscription_says_whose_it_is(session: Session) -> None:
    """Until a business names the behalf: then it speaks for that one's customers; and again for all others when none does."""
    add_business(session, "alder", name="alder")
    dana = add_customer(session, business_id="alder").customer_id
    take_in(session, says(dana, object_id="sub_1", on_behalf_of=BEHALF))
    assert stripe_id_of(session, dana) == "cus_1"
    told = link_report.evidence(session, OWN, customer_id=None, stripe_customer_id="cus_1")
    assert [one.customer_id for one in told.evidence] == [dana]
    add_business(session, "birch", name="birch", on_behalf_of=BEHALF)
    assert stripe_id_of(session, dana) is None
    add_business(session, "birch", name="birch", on_behalf_of=None)
    assert stripe_id_of(session, dana) == "cus_1"


@pytest.mark.whole
def test_what_the_host_said_of_a_behalf_is_not_said_of_the_rest(session: Session) -> None:
    """A business that leaves its behalf takes no link with it."""
    add_business(session, "birch", name="birch", on_behalf_of=BEHALF)
    kim = add_customer(
        session, business_id="birch", platform_stripe_customer_id="cus_1"
    ).customer_id
    add_business(session, "birch", name="birch", on_behalf_of=None, release_links=True)
    assert stripe_id_of(session, kim) is None


def test_stripe_is_asked_with_the_behalf_that_it_knows(session: Session, dana: str) -> None:
    """It would else know no such subscription, and no such invoice."""
    charged(session)
    seen = lookup(session, dana, NOW)
    asked: list[StripeCustomer] = []

    class Pages:
        def invoice(self, invoice_id: str, stripe_customer: StripeCustomer) -> str:
            asked.append(stripe_customer)
            return "https://invoice.example"

    assert resolved_links.confirm(Pages(), seen, "in_1")  # type: ignore[arg-type]
    assert asked == [OF_STRIPE]
    row = people.customer(session, dana)
    assert row is not None
    session.add(
        CancellationRequestRow(
            account=OWN, request_id="r" * 22, customer_pk=row.id, stripe_customer_id="cus_1",
            subscription_id="sub_1", status="approved", asked_at=NOW, decided_at=NOW,
            business_told_at=NOW, next_try_at=NOW, tries=0,
        )
    )  # fmt: skip
    session.flush()
    step = cancellation_steps.lease_step(session, NOW)
    assert step is not None
    assert (step.step, step.stripe_customer) == (Step.CANCEL, OF_STRIPE)


@pytest.mark.whole
def test_a_business_hears_and_lists_nothing_of_anothers_behalf(session: Session, dana: str) -> None:
    """Over the HTTP API: one Stripe customer of both, and an invoice of each."""
    add_business(session, "birch", name="birch", on_behalf_of=BEHALF)
    theirs = add_customer(
        session, business_id="birch", platform_stripe_customer_id="cus_1"
    ).customer_id
    session.execute(delete(HostEventRow))
    told = {
        who: event(failed(invoice_id=f"in_{who}", on_behalf_of=behalf))
        for who, behalf in ((dana, ""), (theirs, BEHALF))
    }
    for one in told.values():
        handle(session, one, NOW)
    host_events.note(session, told.values(), NOW)
    session.flush()
    heard = session.execute(select(HostEventRow.event_id, HostEventRow.customer_id)).tuples().all()
    assert dict(heard) == {one.id: who for who, one in told.items()}
    for who in told:
        row = people.customer(session, who)
        assert row is not None
        listed = incidents.of_business(
            session, row.business_pk, after=None, customer_id=None, open_=None, limit=9
        )
        assert [one.InvoiceRow.invoice_id for one in listed] == [f"in_{who}"]


def test_doctor_names_what_no_business_has(session: Session, dana: str) -> None:
    """With what to do."""
    charged(session)
    session.commit()
    database = Transactions(session.get_bind())  # type: ignore[arg-type]
    found = next(one for one in check_whose(database) if one.code == "behalves-unnamed")
    assert "on behalf of 1 account that no business has: acct_x on your own account" in found.text
    add_business(session, "birch", name="birch", on_behalf_of=BEHALF)
    session.commit()
    assert "behalves-unnamed" not in [one.code for one in check_whose(database)]
