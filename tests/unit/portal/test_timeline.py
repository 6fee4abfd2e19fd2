"""Looking back: what `portico explain` tells of a customer's page, links and requests to cancel."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy.orm import Session

from services.portal.domain.cancelling import Decision, Step
from services.portal.handlers import cancellation_steps, cancelling, timeline
from services.portal.handlers.cancellation_steps import Done, PendingStep
from services.portal.handlers.events import handle
from services.portal.models import ActivityRow, CancellationRequestRow
from services.portal.ports import PlannedEnd
from shared import events
from shared.contracts.accounts import OWN, StripeId
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    add_first,
    ago,
    ahead,
    checkout,
    event,
    failed,
    invoice_data,
    says,
    take_in,
)
from tests.unit.wire import on_the_wire


@pytest.fixture
def vera(session: Session) -> str:
    """A customer of Sunrise, whom the host calls c1 and Stripe cus_1."""
    return tables.filled(session.get_bind().engine, add_first, session)


def story(session: Session, now: dt.datetime = NOW, **subject: str) -> list[dict[str, Any]]:
    ids: dict[str, Any] = dict.fromkeys(("invoice_id", "stripe_customer_id", "customer_id"))
    told: list[dict[str, Any]] = on_the_wire(timeline.story)(
        session, OWN, **(ids | subject), now=now
    )["steps"]
    return told


def words(steps: list[dict[str, Any]], *wanted: str) -> list[tuple[str, str]]:
    return [(one["step"], one["text"]) for one in steps if one["step"] in wanted]


def looked(session: Session, customer_id: str, first: dt.datetime, last: dt.datetime) -> None:
    """The customer opened the page three times between two moments."""
    session.add(
        ActivityRow(
            customer_id=customer_id,
            what="page",
            bucket=first,
            first_at=first,
            last_at=last,
            count=3,
        )
    )
    session.flush()


def test_nothing_is_told_from_before_the_invoice(session: Session, vera: str) -> None:
    """Looks that ended before it are none of its story; what began before it stands where it ended."""
    handle(session, event(failed(), ago(minutes=30)), NOW)
    looked(session, vera, ago(days=2), ago(days=2))
    looked(session, vera, ago(minutes=50), ago(minutes=20))
    steps = story(session, invoice_id="in_1")
    assert min(dt.datetime.fromisoformat(one["at"]) for one in steps) == ago(minutes=30)
    began = f"{ago(minutes=50):%H:%M}"
    assert words(steps, "page") == [
        ("page", f"the customer opened the page (3 times from {began})")
    ]


def test_an_invoice_that_never_failed_has_a_beginning_too(session: Session, vera: str) -> None:
    """When it was finalized; where that isn't known nothing is told of the page."""
    looked(session, vera, ago(days=2), ago(days=2))
    looked(session, vera, ago(minutes=5), ago(minutes=5))
    for invoice_id, finalized, told in (("in_1", ago(minutes=9), 1), ("in_2", None, 0)):
        about = invoice_data(events.InvoiceUpdated, invoice_id=invoice_id, finalized_at=finalized)
        handle(session, event(about, ago(minutes=9)), NOW)
        assert len(words(story(session, invoice_id=invoice_id), "page")) == told


@pytest.mark.whole
def test_a_refused_link_is_told_with_its_reason(session: Session) -> None:
    """In the story of the customer and of the Stripe customer, until it is settled, and that it was."""
    add_business(session)
    vera, nat = (add_customer(session, own).customer_id for own in ("c1", "c2"))
    take_in(session, says(vera, at=ago(hours=2)))
    take_in(session, says(nat, object_id="sub_1", at=ago(hours=1)), now=ago(hours=1))
    refused = (
        f"{nat} was not linked with cus_1 (metadata): stripe_customer_taken, the Stripe customer is "
        "another customer's by a word of the same rank"
    )
    for subject in ({"customer_id": nat}, {"stripe_customer_id": "cus_1"}):
        assert words(story(session, **subject), "link_refused") == [("link_refused", refused)]
    assert words(story(session, customer_id=vera), "link_refused") == []
    take_in(session, says(None, before=vera))
    steps = words(story(session, customer_id=nat), "link_refused", "link_settled")
    assert [step for step, _ in steps] == ["link_refused", "link_settled"]


def test_an_invoice_of_nobody_says_which_link_was_refused(session: Session, vera: str) -> None:
    """It is why nobody was told; it was refused before the invoice, whose story begins with it."""
    take_in(session, checkout("c1", "cus_9", session_id="cs_9", at=ago(days=3)))
    about = failed(invoice_id="in_9", stripe_customer_id="cus_9")
    handle(session, event(about, ago(minutes=30)), NOW)
    steps = story(session, invoice_id="in_9")
    ((_, text),) = words(steps, "link_refused")
    assert "cs_9 of cus_9 was refused: not_signed, Portico did not sign it" in text
    assert all(dt.datetime.fromisoformat(one["at"]) >= ago(minutes=30) for one in steps)


@pytest.fixture
def request_row(session: Session, vera: str) -> CancellationRequestRow:
    from services.portal.queries import customers

    row = customers.customer(session, vera)
    assert row is not None
    made = CancellationRequestRow(
        request_id="r" * 22, customer_pk=row.id, stripe_customer_id="cus_1",
        subscription_id="sub_1", status="open", asked_at=ago(hours=3), next_try_at=ago(hours=3),
        tries=0,
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def done(session: Session, step: Step, at: dt.datetime, **outcome: Any) -> None:
    step_done = PendingStep("r" * 22, step, "cus_1", "sub_1", "c", {}, "kind")
    cancellation_steps.finish_errand(session, step_done, Done(**outcome), at)


REQUEST = (
    "waiting",
    "cancellation_requested",
    "cancellation_passed_on",
    "cancellation_approved",
    "cancellation_declined",
    "cancellation_overtaken",
    "cancellation_carried_out",
    "cancellation_answered",
)


def test_a_request_to_cancel_is_told_from_its_beginning_to_its_end(
    session: Session, vera: str, request_row: CancellationRequestRow
) -> None:
    """Asked, passed on, approved, carried out when billing was reached again, answered: each when it happened."""

    def told() -> list[str]:
        return [step for step, _ in words(story(session, customer_id=vera), *REQUEST)]

    assert told() == ["cancellation_requested", "waiting"]  # for hours nobody has passed it on
    done(session, Step.TELL_BUSINESS, ago(hours=2))
    steps = words(story(session, customer_id=vera), *REQUEST)
    assert steps[-1] == ("waiting", "the request to cancel sub_1 waits for the business's answer")
    cancelling.decide(session, "r" * 22, Decision.APPROVE, ago(hours=1))
    done(session, Step.CANCEL, NOW, problem="RpcTimeout")
    (_, text) = words(story(session, customer_id=vera), *REQUEST)[-1]
    assert "waits after 1 try, next at" in text
    assert text.endswith("until billing plans the end: RpcTimeout")
    done(session, Step.CANCEL, NOW, end=PlannedEnd(ahead(days=20)))
    done(session, Step.TELL_CUSTOMER, NOW)
    assert told() == [
        "cancellation_requested",
        "cancellation_passed_on",
        "cancellation_approved",
        "cancellation_carried_out",
        "cancellation_answered",
    ]


def test_an_approval_of_before_observing_is_told(
    session: Session, vera: str, request_row: CancellationRequestRow
) -> None:
    """It was given, and ends nothing: the business is asked again."""
    done(session, Step.TELL_BUSINESS, ago(hours=2))
    cancelling.decide(session, "r" * 22, Decision.APPROVE, ago(hours=1))
    done(session, Step.CANCEL, ago(minutes=59), problem="BusinessObserves")
    steps = dict(words(story(session, customer_id=vera), *REQUEST, "cancellation_reopened"))
    assert "asked again once it is live" in steps["cancellation_reopened"]


def test_a_request_that_needs_no_answer_any_more(
    session: Session, vera: str, request_row: CancellationRequestRow
) -> None:
    """The subscription ends anyway: nothing waits."""
    cancelling.supersede(session, StripeId(OWN, "sub_1"), ago(hours=1))
    steps = words(story(session, customer_id=vera), *REQUEST)
    assert [step for step, _ in steps] == ["cancellation_requested", "cancellation_overtaken"]
