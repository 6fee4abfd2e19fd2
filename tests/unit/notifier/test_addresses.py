"""Addresses that take no mail are known again, and can't be read back from what is kept of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text, update

from services.notifier.domain.addresses import AddressHash, AddressHasher, address_hash
from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import feedback
from services.notifier.models import SuppressedAddress
from services.notifier.queries import notifications, suppressions
from services.notifier.queries.erasure import erase_customer
from services.notifier.queries.notifications import NewNotification
from shared.contracts.accounts import OWN, StripeId
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import START

UNREACHABLE = (
    "customer_unreachable/07e2f1394b0ea80e2adca010ea8318df697001a005ba7452720edda4b0ce57b3"
)
"""The key of the mail about dana@example.com, as releases before keyed hashes wrote it: with her SHA-256."""
DANA = UNREACHABLE.partition("/")[2]
OLD, NEW = "an old key of the address hashes", "a new key of the address hashes"


def bounce(house: House, number: int = 1) -> None:
    """SendGrid reports that Dana's mailbox does not exist."""
    item = DeliveryEvent(
        event_id=f"sg_{number}",
        notification_id=house.rows()[-1].notification_id,
        what=Delivery.BOUNCED,
        permanent=True,
        occurred_at=house.clock(),
        address="Dana@example.com",
        provider_word="bounce",
    )
    with house.db.transaction() as session:
        feedback.handle(session, [item], house.clock(), house.hasher)


@pytest.fixture
def sent(house: House) -> House:
    house.hear(failed())
    house.work()
    return house


def why_not(house: House, hasher: AddressHasher, address: str = "dana@example.com") -> Any:
    """The reason for which nothing is sent to the address; None: it may be written to."""
    with house.db.reading() as session:
        wanted = hasher(address)
        return suppressions.suppressed_addresses(session, [wanted, hasher("else@example.com")]).get(
            wanted
        )


def test_without_the_key_a_keyed_hash_says_nothing() -> None:
    """It differs by key, is the same for every spelling of an address, and is no plain hash of it."""
    one, other = AddressHasher([NEW])("Dana@Example.com "), AddressHasher([OLD])("dana@example.com")
    assert one.plain == other.plain == DANA == address_hash("dana@example.com")
    assert one.newest == AddressHasher([NEW, OLD])("dana@example.com").newest
    assert len({one.newest, other.newest, DANA}) == 3
    assert AddressHasher([])("dana@example.com") == AddressHash(DANA, ())


def test_a_bounce_is_written_under_both_hashes(sent: House) -> None:
    """For one release old processes, which know the plain hash alone, run beside new ones."""
    bounce(sent)
    (row,) = sent.table(SuppressedAddress)
    assert (row.address_sha256, row.address_hmac) == (DANA, sent.hasher("dana@example.com").newest)


def test_what_the_release_before_wrote_is_known_and_gets_its_keyed_hash(house: House) -> None:
    """A row of plain SQL as old code writes it stops mail at once, and the round that fills the column makes of it what a
    fresh bounce would be."""
    with house.db.transaction() as session:
        session.execute(
            text(
                "INSERT INTO suppressed_addresses (address_sha256, reason, since) "
                "VALUES (:hash, 'address bounced', '2026-01-01 00:00:00')"
            ),
            {"hash": DANA},
        )
    assert why_not(house, house.hasher) == Reason.ADDRESS_BOUNCED
    with house.db.transaction() as session:
        assert suppressions.key_addresses(session, house.hasher, 10) == 1
        assert suppressions.key_addresses(session, house.hasher, 10) == 0
    (row,) = house.table(SuppressedAddress)
    assert row.address_hmac == house.hasher("dana@example.com").newest
    with house.db.transaction() as session:
        assert not suppressions.suppress_address(
            session, house.hasher("dana@example.com"), Reason.ADDRESS_BOUNCED, START, None
        )


def test_addresses_are_known_under_each_key_and_without_the_plain_hash(house: House) -> None:
    """After a rotation the old key still knows what it hashed; dropped, it does not. The plain hash is not needed."""
    with house.db.transaction() as session:
        old = AddressHasher([OLD])("dana@example.com")
        suppressions.suppress_address(session, old, Reason.ADDRESS_BOUNCED, START, None)
        session.execute(update(SuppressedAddress).values(address_sha256="gone"))
    assert why_not(house, AddressHasher([NEW, OLD])) == Reason.ADDRESS_BOUNCED
    assert why_not(house, AddressHasher([NEW])) is None


def test_an_upgrade_tells_no_business_anew(sent: House) -> None:
    """The mail of the release before, by the literal key that it wrote, is the one about this address: though an operator
    let the address in again, its next bounce is no second mail."""
    with sent.db.transaction() as session:
        notifications.add_notification(
            session,
            NewNotification(
                account=OWN,
                dedupe_key=UNREACHABLE,
                kind=Kind.CUSTOMER_UNREACHABLE,
                now=START,
                invoice_id="in_1",
                attempt=1,
                stripe_customer_id="cus_1",
                customer_id=None,
                correlation_id="evt_1",
            ),
        )
    before = [row.dedupe_key for row in sent.rows()]
    bounce(sent, 2)
    assert sorted(row.dedupe_key for row in sent.rows()) == sorted(before)


def test_forgetting_a_customer_leaves_the_hashes_alone(sent: House) -> None:
    """The mail that names the hash goes with its customer; the hashes stay, or that person could be written to again."""
    bounce(sent)
    with sent.db.transaction() as session:
        erase_customer(session, StripeId(OWN, "cus_1"), None)
    assert sent.rows() == []
    assert len(sent.table(SuppressedAddress)) == 1
    assert why_not(sent, sent.hasher) == Reason.ADDRESS_BOUNCED
