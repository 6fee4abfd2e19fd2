"""A failure of somebody whom nobody knew: told as soon as the portal says who it is, once, and only if it is still owed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace

from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.sending import Unavailable
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.models import Notification
from services.notifier.workflows import sending
from shared import events as contract
from shared.contracts.invoices import InvoiceStatus
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import a_contact
from tests.unit.notifier.test_sending import wait_in_vain


def linked(
    stripe_customer_id: str | None = "cus_1",
    event_id: str = "link_1",
    evidence: str = "host",
    imported: bool = False,
) -> contract.Event:
    """The portal says whose a Stripe customer is."""
    data = contract.CustomerLinkChanged(
        customer_id="cst_1",
        external_id="1001",
        business_id="sunrise",
        stripe_customer_id=stripe_customer_id,
        evidence=evidence,
        imported=imported,
    )
    return contract.Event(
        id=f"{event_id}/{data.type}",
        occurred_at=dt.datetime(2026, 11, 30, tzinfo=dt.UTC),
        correlation_id=event_id,
        data=data,
    )


@pytest.fixture
def stranger(house: House) -> House:
    """Three days ago two charges of somebody failed whom the portal does not know."""
    house.portal.people.clear()
    for number in (1, 2):
        house.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
    wait_in_vain(house, days=3)
    assert house.work() == []
    return house


def meet(house: House, event: contract.Event | None = None) -> str:
    house.portal.people["cus_1"] = a_contact()
    return house.hear(event or linked())


@pytest.mark.whole
def test_all_that_waited_is_one_email_at_once(stranger: House) -> None:
    """Both invoices, in one email, in the same round; the event's second copy changes nothing."""
    assert meet(stranger) == "2 looked at again"
    assert sorted(stranger.work()) == ["lease_lost", "sent"]
    assert stranger.mailed_to("dana@example.com") == [Kind.PAYMENTS_FAILED]
    assert all(f"SUN-{number}" in stranger.mailer.inbox[0].text for number in (1, 2))
    assert stranger.hear(linked()).startswith("duplicate")
    assert wait_in_vain(stranger, days=2) == []


@pytest.mark.whole
@pytest.mark.parametrize(
    "by", [{"evidence": "enrolled"}, {"evidence": "metadata", "imported": True}]
)
def test_an_import_mails_nobody_about_what_is_past(stranger: House, by: dict[str, Any]) -> None:
    """Whom it enrols, or finds named in metadata, hears nothing of failures that nobody could tell them of, however long it is waited;
    what fails from then on is told."""
    meet(stranger, linked(**by))
    assert wait_in_vain(stranger, days=3) == []
    assert stranger.mailer.inbox == []
    stranger.hear(failed(invoice_id="in_3", number="SUN-3"))
    assert "sent" in wait_in_vain(stranger, days=1)
    assert "SUN-3" in stranger.mailer.inbox[0].text


@pytest.mark.whole
@pytest.mark.parametrize("first", ["sender", "news"])
def test_what_is_past_goes_neither_by_a_race_nor_by_a_claim(stranger: House, first: str) -> None:
    """The portal's answer draws the enrolled a line. A sender may ask before the enrolment is heard of; and the host's claim, which has all
    that was given up looked at again, keeps the line."""
    known = a_contact()
    line = stranger.clock() - dt.timedelta(hours=1)
    known = replace(known, business=replace(known.business, live_since=line))
    stranger.portal.people["cus_1"] = known
    if first == "news":
        stranger.hear(linked(evidence="enrolled"))
    wait_in_vain(stranger, days=3)
    stranger.hear(linked(event_id="link_2", evidence="enrolled"))
    stranger.hear(linked(event_id="link_3"))
    wait_in_vain(stranger, days=3)
    assert stranger.mailer.inbox == []
    assert Status.OBSERVED in {row.status for row in stranger.rows()}
    stranger.hear(failed(invoice_id="in_3", number="SUN-3", occurred_at=stranger.clock()))
    assert "sent" in wait_in_vain(stranger, days=1)


def test_a_failure_of_a_moment_ago_is_told_to_whom_is_enrolled(house: House) -> None:
    """Who subscribes may be enrolled by it moments after the charge has failed: that is their first failure, and it is told."""
    house.portal.people.clear()
    house.hear(failed())
    assert house.work() == ["unknown_customer"]
    meet(house, linked(evidence="enrolled"))
    assert house.work() == ["sent"]


@pytest.mark.whole
def test_what_was_paid_meanwhile_is_not_told(stranger: House) -> None:
    """The other one is an email about a single invoice; with nothing owed any more there is none."""
    stranger.hear(paid(invoice_id="in_1"))
    meet(stranger)
    stranger.work()
    assert stranger.mailed_to("dana@example.com") == [Kind.PAYMENT_FAILED]
    assert "SUN-2" in stranger.mailer.inbox[0].text
    assert wait_in_vain(stranger, days=1) == []


@pytest.mark.whole
def test_nothing_goes_out_when_stripe_has_closed_all(stranger: House) -> None:
    """Stripe is asked before anything is said, whatever the events have told."""
    for number in (1, 2):
        gone = InvoiceNow(status=InvoiceStatus.PAID, amount_remaining=0)
        stranger.billing.say(f"in_{number}", gone)
    meet(stranger)
    stranger.work()
    stranger.work()
    assert stranger.mailer.inbox == []
    assert {row.reason for row in stranger.rows()} == {Reason.PAID}


@pytest.mark.whole
def test_others_wait_on(stranger: House) -> None:
    """A link of another Stripe customer, or with nobody, wakes nothing."""
    assert stranger.hear(linked("cus_2")) == "nothing has waited for this customer"
    assert stranger.hear(linked(None, "link_2")) == "linked with nobody"
    assert stranger.work() == []


@pytest.mark.whole
def test_a_sender_that_asks_while_the_link_is_made_asks_again_within_seconds(house: House) -> None:
    """It heard "nobody" a moment before: its next look is not an hour away."""
    house.portal.people.clear()
    house.hear(failed())
    wait_in_vain(house, days=1)
    house.clock.forward(days=1)
    (leased,) = sending.lease(house.desk, 16)
    house.hear(linked())
    assert sending.send_one(house.desk, leased).outcome == "unknown_customer"
    house.portal.people["cus_1"] = a_contact()
    house.clock.forward(seconds=5)
    assert house.work() == ["sent"]


@pytest.mark.whole
def test_who_became_known_after_days_has_a_whole_day_of_tries(stranger: House) -> None:
    """SendGrid is away when the customer is met: the email is tried on, and not given up for its age."""
    stranger.mailer.answers = [Unavailable("503")]
    meet(stranger)
    assert sorted(stranger.work()) == ["lease_lost", "unavailable"]
    stranger.clock.forward(minutes=1)
    assert stranger.work() == ["sent"]


def give_up(house: House, **changes: Any) -> None:
    """As a release did that waited for minutes."""
    with house.db.transaction() as session:
        for row in house.rows():
            found = session.get_one(Notification, row.notification_id)
            found.status, found.reason = "suppressed", Reason.NO_SUCH_CUSTOMER.value
            for name, value in changes.items():
                setattr(found, name, value)


@pytest.mark.whole
def test_what_was_given_up_is_told_too_where_it_is_still_owed(stranger: House) -> None:
    """Once, for the newest failure of an invoice; nothing for an invoice of which the customer was told otherwise."""
    give_up(stranger)
    stranger.clock.forward(hours=1)
    stranger.hear(failed(invoice_id="in_2", number="SUN-2", attempt_count=2))
    stranger.work()
    give_up(stranger)
    assert meet(stranger) == "2 looked at again"
    assert sorted(stranger.work()) == ["lease_lost", "sent"]
    assert stranger.mailed_to("dana@example.com") == [Kind.PAYMENTS_FAILED]
    assert stranger.hear(linked(event_id="link_2")) == "0 looked at again"


@pytest.mark.whole
def test_an_email_that_may_be_on_its_way_is_left_alone(stranger: House) -> None:
    """A post whose delivery is unconfirmed keeps its time of grace: sent earlier, it might arrive twice."""
    with stranger.db.transaction() as session:
        for row in stranger.rows():
            session.get_one(Notification, row.notification_id).unconfirmed_since = stranger.clock()
    assert meet(stranger) == "nothing has waited for this customer"
