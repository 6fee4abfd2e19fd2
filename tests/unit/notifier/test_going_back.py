"""The statements of docs/upgrading.md by which the release before can take what is reported of emails that it does not know."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from sqlalchemy import text, update

from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.keys import (
    kept_method_key,
    request_key,
    resend_key,
    unreachable_key,
    webhooks_stopped_key,
    welcome_key,
)
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers import feedback
from services.notifier.models import Notification, SuppressedAddress
from services.notifier.queries import notifications
from services.notifier.queries.notifications import NewNotification
from shared.contracts.accounts import OWN, Account, StripeId
from tests.unit.notifier.conftest import House
from tests.unit.notifier.fakes import START

PAGE = Path(__file__).parents[3] / "docs" / "upgrading.md"
SECTION = (
    PAGE.read_text().partition("### Going back: emails of new kinds")[2].partition("\n### ")[0]
)
BACK, FORWARD = re.findall(r"^    (UPDATE .*?;)$", SECTION, re.M | re.S)
KNOWN_TO_1_0_0 = {
    "payment_failed",
    "payment_reminder",
    "payment_last_attempt",
    "payment_action_required",
    "payments_failed",
    "payment_recovered",
    "fresh_link",
    "cancellation_approved",
    "cancellation_declined",
    "customer_unreachable",
    "customer_recovered",
    "cancellation_requested",
    "subscription_ending",
    "cancellation_withdrawn",
    "collection_ended",
}
WELCOME = welcome_key("c1")
NEW = {
    WELCOME: Kind.WELCOME,
    resend_key("ntf_1", 1): Kind.WELCOME,
    request_key(Kind.CANCELLATION_BY_HAND, "r1"): Kind.CANCELLATION_BY_HAND,
    kept_method_key(StripeId(OWN, "sub_1"), "pm_1"): Kind.PAYMENT_METHOD_BY_HAND,
    kept_method_key(StripeId(Account("acct_1"), "sub_1"), "pm_1"): Kind.PAYMENT_METHOD_BY_HAND,
    webhooks_stopped_key("ep_1", START): Kind.WEBHOOKS_STOPPED,
}
"""As they are written down."""
OLD = {f"{kind}/old": Kind(kind) for kind in KNOWN_TO_1_0_0} | {
    unreachable_key("hash"): Kind.CUSTOMER_UNREACHABLE,
    request_key(Kind.CANCELLATION_APPROVED, "r2"): Kind.CANCELLATION_APPROVED,
    resend_key("ntf_2", 1): Kind.FRESH_LINK,
}


def run(house: House, statement: str) -> dict[str, str]:
    """The kinds afterwards, by key."""
    with house.db.transaction() as session:
        session.execute(text(statement))
    return {row.dedupe_key: row.kind for row in house.rows()}


@pytest.fixture
def sent(house: House) -> House:
    """An email of each kind has gone out, and SendGrid has not reported of it yet."""
    with house.db.transaction() as session:
        for key, kind in (NEW | OLD).items():
            of = WELCOME if kind is Kind.WELCOME else key
            notifications.add_notification(
                session,
                NewNotification(
                    account=OWN, dedupe_key=key, kind=kind, now=START, correlation_id=of
                ),
            )
        session.execute(update(Notification).values(status=Status.SENT.value, sent_at=START))
    return house


def test_no_kind_is_left_that_the_release_before_does_not_know(sent: House) -> None:
    """And those that it knows stay; run again, nothing changes."""
    assert {kind.value for kind in Kind} == KNOWN_TO_1_0_0 | {kind.value for kind in NEW.values()}
    kinds = run(sent, BACK)
    assert set(kinds.values()) <= KNOWN_TO_1_0_0
    assert {key: kinds[key] for key in OLD} == {key: kind.value for key, kind in OLD.items()}
    assert run(sent, BACK) == kinds


def test_a_bounce_of_a_welcome_counts_there(sent: House) -> None:
    """The business is told of it, as of any email to a customer; that does not become a welcome later."""
    run(sent, BACK)
    (row,) = (row for row in sent.rows() if row.dedupe_key == WELCOME)
    item = DeliveryEvent(
        event_id="sg_1",
        notification_id=row.notification_id,
        what=Delivery.BOUNCED,
        permanent=True,
        occurred_at=START + dt.timedelta(hours=1),
        address="dana@example.com",
        provider_word="bounce",
    )
    with sent.db.transaction() as session:
        feedback.handle(session, [item], sent.clock(), sent.hasher)
    (address,) = sent.table(SuppressedAddress)
    assert address.reason == Reason.ADDRESS_BOUNCED
    told = [
        row
        for row in sent.rows()
        if row.correlation_id == WELCOME and row.kind == "customer_unreachable"
    ]
    assert len(told) == 1
    assert run(sent, FORWARD)[told[0].dedupe_key] == "customer_unreachable"


def test_coming_again_each_is_what_it_was(sent: House) -> None:
    run(sent, BACK)
    expected = {key: kind.value for key, kind in (NEW | OLD).items()}
    assert run(sent, FORWARD) == expected
    assert run(sent, FORWARD) == expected


@pytest.mark.parametrize("status", [Status.PENDING, Status.SENDING])
def test_what_waits_is_not_sent_as_something_else(sent: House, status: Status) -> None:
    with sent.db.transaction() as session:
        session.execute(update(Notification).values(status=status.value))
    kinds = run(sent, BACK)
    assert {key: kinds[key] for key in NEW} == {key: kind.value for key, kind in NEW.items()}
