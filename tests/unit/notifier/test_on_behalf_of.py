"""A platform's Stripe customer is a customer of several businesses: each writes to them about its own invoices alone."""

from __future__ import annotations

from typing import Any

import pytest

from services.notifier.domain.kinds import Kind
from services.notifier.models import IncidentRow, Notification
from services.notifier.ports import Business
from services.notifier.queries.erasure import erase_customer
from shared import events as contract
from shared.contracts.accounts import OWN, StripeId
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import a_contact
from tests.unit.notifier.test_linked import linked
from tests.unit.notifier.test_sending import wait_in_vain

ALDER, BIRCH = "acct_a", "acct_b"


@pytest.fixture
def platform(house: House) -> House:
    """Dana is a customer of two businesses, with an address at each."""
    house.portal.people.clear()
    for behalf in (ALDER, BIRCH):
        know(house, behalf)
    return house


def know(house: House, behalf: str) -> None:
    house.portal.people["cus_1", behalf] = a_contact(
        email=f"dana@{behalf}.example",
        business=Business(name=behalf, email=f"hello@{behalf}.example"),
    )


def fails(house: House, behalf: str, number: int = 1, **more: Any) -> None:
    house.hear(
        failed(invoice_id=f"in_{behalf}{number}", number=f"{behalf}-{number}",
               on_behalf_of=behalf, **more)
    )  # fmt: skip


def test_each_failure_is_told_by_its_own_business(platform: House) -> None:
    """At once: what the other one has told about keeps nobody waiting, and nothing of it is in the email."""
    for behalf in (ALDER, BIRCH):
        fails(platform, behalf)
        assert platform.work() == ["sent"]
    for behalf, mail, other in zip(
        (ALDER, BIRCH), platform.mailer.inbox, (BIRCH, ALDER), strict=True
    ):
        assert (mail.to, mail.kind) == (f"dana@{behalf}.example", Kind.PAYMENT_FAILED)
        assert f"{behalf}-1" in mail.text
        assert other not in mail.text


@pytest.mark.whole
def test_nothing_of_one_business_is_gathered_into_anothers_email(platform: House) -> None:
    """Two more fail at each: each has one email more, with its own two."""
    for number in (1, 2, 3):
        for behalf in (ALDER, BIRCH):
            fails(platform, behalf, number)
        platform.work()
    for _ in range(3):
        platform.clock.forward(hours=2)
        platform.work()
    assert len(platform.mailer.inbox) == 4
    for mail in platform.mailer.inbox:
        mine, other = (ALDER, BIRCH) if ALDER in mail.to else (BIRCH, ALDER)
        assert f"{mine}-" in mail.text
        assert other not in mail.text


def test_who_is_forgotten_at_one_business_is_written_to_by_the_other(platform: House) -> None:
    """With what was told there, and what is waiting."""
    for behalf in (ALDER, BIRCH):
        fails(platform, behalf)
    with platform.db.transaction() as session:
        assert erase_customer(session, StripeId(OWN, "cus_1"), None, ALDER) == 2
    assert [row.on_behalf_of for row in platform.table(Notification)] == [BIRCH]
    assert [row.on_behalf_of for row in platform.table(IncidentRow)] == [BIRCH]
    assert platform.work() == ["sent"]


def test_the_news_of_a_payment_goes_where_the_failure_was_told(platform: House) -> None:
    """The customer's address at that business, and that business's."""
    fails(platform, BIRCH)
    platform.work()
    platform.hear(paid(invoice_id=f"in_{BIRCH}1", on_behalf_of=BIRCH))
    platform.work()
    told = {mail.to for mail in platform.mailer.inbox}
    assert told == {f"dana@{BIRCH}.example", f"hello@{BIRCH}.example"}


def test_an_end_is_told_to_the_business_whose_subscription_it_was(platform: House) -> None:
    """With the same Stripe customer at both."""
    data = contract.SubscriptionEnded(
        subscription_id="sub_1", stripe_customer_id="cus_1", status="canceled", on_behalf_of=BIRCH
    )
    at = platform.clock()
    platform.hear(contract.Event(id="evt_end", occurred_at=at, correlation_id="evt", data=data))
    platform.clock.forward(seconds=5)
    platform.work()
    assert [mail.to for mail in platform.mailer.inbox] == [f"hello@{BIRCH}.example"]


@pytest.mark.whole
def test_a_link_at_one_business_wakes_nothing_of_the_others(house: House) -> None:
    """What waits for the customer of one is not looked at when the other one knows theirs."""
    house.portal.people.clear()
    for behalf in (ALDER, BIRCH):
        fails(house, behalf)
    wait_in_vain(house, days=3)
    known = linked()
    changes = {name: getattr(known.data, name) for name in known.data.__struct_fields__}
    data = contract.CustomerLinkChanged(**{**changes, "on_behalf_of": BIRCH})
    know(house, BIRCH)
    told = contract.Event(id="link_b", occurred_at=known.occurred_at, correlation_id="x", data=data)
    assert house.hear(told) == "1 looked at again"
    assert house.work() == ["sent"]
    assert [mail.to for mail in house.mailer.inbox] == [f"dana@{BIRCH}.example"]


def test_a_link_of_nobodys_behalf_wakes_what_is_charged_on_one_that_no_business_names(
    house: House,
) -> None:
    """The portal alone knows which are named, and is asked before the email goes out."""
    house.portal.people.clear()
    fails(house, ALDER)
    house.work()
    assert house.mailer.inbox == []
    know(house, ALDER)
    house.hear(linked())
    assert house.work() == ["sent"]
