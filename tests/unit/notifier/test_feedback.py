"""SendGrid's Event Webhook: what is believed, and what it changes."""

from __future__ import annotations

import base64
import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from structlog.testing import capture_logs

from services.notifier.adapters.sendgrid.gateway import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadWebhook,
    SignedEvents,
    read_event,
)
from services.notifier.domain.addresses import address_hash
from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import feedback
from services.notifier.models import (
    Notification,
    OutboxEvent,
    SendGridEvent,
    SuppressedAddress,
)
from services.notifier.service import NotifierService
from shared import events as wire
from shared.database import DatabaseUnavailable
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import START
from tests.unit.notifier.welcoming import Welcoming

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
).decode()


def sign(
    body: bytes, at: dt.datetime = START, key: ec.EllipticCurvePrivateKey = KEY
) -> dict[str, Any]:
    """The arguments of `read` for a body that SendGrid signed at a moment."""
    timestamp = str(int(at.timestamp()))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "body": body,
        "signature": base64.b64encode(signature).decode(),
        "timestamp": timestamp,
        "now": START,
    }


def sg_event(**changes: Any) -> dict[str, Any]:
    return {
        "event": "delivered",
        "sg_event_id": "sg_1",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "timestamp": int(START.timestamp()),
        "email": "dana@example.com",
        "notification_id": "ntf_1",
        "unknown_field": {"is": "ignored"},
    } | changes


events = SignedEvents(PUBLIC)


def read(
    body: bytes, signature: str | None, timestamp: str | None, now: dt.datetime
) -> list[DeliveryEvent]:
    headers = {SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp}
    return events.read(
        body, {name: value for name, value in headers.items() if value is not None}, now
    )


def event_of(**fields: Any) -> DeliveryEvent | None:
    """What becomes of one of SendGrid's events, at once."""
    at: dt.datetime = fields.pop("at", START)
    raw = msgspec.json.encode(fields | {"timestamp": at.timestamp()})
    return read_event(msgspec.Raw(raw), at)


def test_a_signed_batch_is_read() -> None:
    """Custom arguments stand among the fields; what names neither a notification nor a message is left out."""
    nobodys = sg_event(notification_id="", sg_message_id=None)
    body = json.dumps([sg_event(), nobodys, {"event": "open"}]).encode()
    (found,) = read(**sign(body + b"\r\n"))
    assert (found.notification_id, found.what, found.occurred_at) == (
        "ntf_1",
        Delivery.DELIVERED,
        START,
    )
    assert found.message_id == "14c5d75ce93"


@pytest.mark.parametrize(
    "hostile", ["", ".", ".filter0001", "short", "x" * 256, "a b c d e f", "%%%%%%%%\n", "ü" * 20]
)
def test_what_is_no_name_of_a_message_is_none(hostile: str) -> None:
    """Empty, overlong or odd ids match nothing and reach no database; with our own argument the event still counts."""
    named, nameless = sg_event(sg_message_id=hostile), sg_event(sg_message_id=hostile)
    del nameless["notification_id"]
    (found,) = read(**sign(json.dumps([named, nameless]).encode()))
    assert (found.notification_id, found.message_id) == ("ntf_1", None)


@pytest.mark.parametrize(
    ("changes", "what", "permanent", "complaint"),
    [
        ({"event": "processed"}, Delivery.ACCEPTED, False, False),
        ({"event": "delivered"}, Delivery.DELIVERED, False, False),
        ({"event": "deferred", "reason": "invalid"}, Delivery.DEFERRED, False, False),
        ({"event": "bounce", "type": "bounce"}, Delivery.BOUNCED, True, False),
        ({"event": "bounce", "type": "blocked"}, Delivery.BOUNCED, False, False),
        ({"event": "bounce"}, Delivery.BOUNCED, True, False),
        ({"event": "dropped", "reason": " Bounced Address"}, Delivery.DROPPED, True, False),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, Delivery.DROPPED, True, False),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, Delivery.DROPPED, True, True),
        ({"event": "dropped", "reason": "over Package Quota"}, Delivery.DROPPED, False, False),
        ({"event": "spamreport"}, Delivery.COMPLAINED, True, True),
    ],
)
def test_sendgrids_words_end_here(
    changes: dict[str, Any], what: Delivery, permanent: bool, complaint: bool
) -> None:
    """What happened, and whether the address takes another email, in our words; SendGrid's own is kept for records alone."""
    found = event_of(**(sg_event() | changes))
    assert found is not None
    assert (found.what, found.permanent, found.complaint) == (what, permanent, complaint)
    assert (found.provider_word, found.address) == (changes["event"], "dana@example.com")


@pytest.mark.parametrize("field", ["email", "reason", "response", "type", "sg_message_id"])
def test_an_event_counts_whatever_it_leaves_empty(field: str) -> None:
    """What happened, and to which email, is all that it has to say."""
    found = event_of(**(sg_event() | {"event": "bounce", field: None}))
    assert found is not None
    assert (found.notification_id, found.what) == ("ntf_1", Delivery.BOUNCED)


def test_a_mail_server_that_asks_for_patience_says_why() -> None:
    """SendGrid has the words of a server that did not refuse under another name than those of one that did."""
    found = event_of(**(sg_event() | {"event": "deferred", "response": "451 4.7.1 Greylisting"}))
    assert found is not None
    assert found.reason == "451 4.7.1 Greylisting"


def test_one_unreadable_event_does_not_cost_the_batch() -> None:
    """Refusing the batch would bring it back for days; the rest of it counts."""
    odd: list[Any] = [
        7,
        {"event": 7},
        {"event": "bounce", "timestamp": "x"},
        sg_event(timestamp=1e30),
    ]
    body = json.dumps([*odd, sg_event()]).encode()
    assert len(read(**sign(body))) == 1


def test_a_mail_servers_odd_answer_is_cleaned() -> None:
    """NUL and half characters in its words, and a value that is nested too deeply, cost neither the event nor the batch."""
    odd = sg_event(reason="550 no\x00such \ud800 user", other="DEEP")
    body = json.dumps([odd, sg_event()]).replace('"DEEP"', "[" * 10_000 + "]" * 10_000).encode()
    found, _ = read(**sign(body))
    assert found.reason == "550 no\ufffdsuch \ufffd user"


BODY = json.dumps([sg_event()]).encode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"signature": None}, "not signed"),
        ({"timestamp": None}, "not signed"),
        ({"signature": ""}, "not signed"),
        ({"signature": "A"}, "can't be read"),
        ({"signature": "AAAA"}, "wrong"),
        ({"body": BODY + b" "}, "wrong"),
        ({"body": b"\xff\xfe"}, "can't be read"),
        ({"timestamp": "soon"}, "wrong"),
    ],
)
def test_what_is_not_signed_like_this_is_refused(changes: dict[str, Any], says: str) -> None:
    """Missing, mangled or foreign signatures, and bodies that are one byte off."""
    with pytest.raises(BadWebhook, match=says):
        read(**(sign(BODY) | changes))


def test_a_foreign_key_is_refused() -> None:
    """Another account's key signs nothing for us."""
    with pytest.raises(BadWebhook, match="wrong"):
        read(**sign(BODY, key=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("minutes", [-11, 11, -60 * 24 * 365, 60 * 24 * 365])
def test_a_signature_is_fresh_on_both_sides_of_the_clock(minutes: int) -> None:
    """The library checks neither an old nor a future timestamp."""
    with pytest.raises(BadWebhook, match=r"right and \d+ s (old|ahead)"):
        read(**sign(BODY, at=START + dt.timedelta(minutes=minutes)))
    assert read(**sign(BODY, at=START + dt.timedelta(minutes=minutes % 10)))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"7", b"\x00"])
def test_signed_nonsense_is_refused(body: bytes) -> None:
    """Well signed, but no array of events."""
    with pytest.raises(BadWebhook, match="not a JSON array"):
        read(**sign(body))


# --- what an event changes ------------------------------------------------------------------------------------------


def report(house: House, event: str, number: int = 1, **changes: Any) -> int:
    values: dict[str, Any] = {
        "sg_event_id": f"sg_{event}_{number}",
        "notification_id": house.rows()[-1].notification_id,
        "event": event,
        "at": house.clock(),
        "email": "Dana@example.com",
    }
    item = event_of(**(values | changes))
    with house.db.transaction() as session:
        return sum(feedback.handle(session, [item] if item else [], house.clock(), house.hasher))


def delivered(event_id: str, notification_id: str) -> DeliveryEvent:
    return DeliveryEvent(
        event_id=event_id,
        notification_id=notification_id,
        what=Delivery.DELIVERED,
        occurred_at=START,
        provider_word="delivered",
    )


@pytest.fixture
def sent(house: House) -> House:
    house.hear(failed())
    house.work()
    return house


def test_delivered_is_delivered_whatever_comes_later(sent: House) -> None:
    """`processed` and `deferred` may arrive after `delivered` and change nothing back; copies count once."""
    assert report(sent, "delivered") == 1
    assert report(sent, "delivered") == 0
    report(sent, "processed")
    report(sent, "deferred", reason="try later")
    assert (sent.row().status, sent.row().delivered_at) == ("delivered", START)
    assert len(sent.table(SendGridEvent)) == 3


def test_a_hard_bounce_stops_further_email_to_the_address(sent: House) -> None:
    """Bounced wins over a delivered that came before it, and the address is remembered by its hash alone."""
    report(sent, "delivered")
    report(sent, "bounce", type="bounce", reason="550 <dana@example.com> unknown")
    (business, row) = sent.rows()
    assert row.status == "bounced"
    assert "dana" not in str(row.reason)
    assert business.kind == "customer_unreachable"
    (address,) = sent.table(SuppressedAddress)
    assert (address.address_sha256, address.reason) == (
        address_hash("dana@example.com"),
        Reason.ADDRESS_BOUNCED,
    )
    report(sent, "delivered", 2)
    report(sent, "bounce", 2, type="bounce", reason="550 unknown")
    assert sent.rows()[-1].status == "bounced"
    sent.work()
    assert sent.mailed_to("hello@sunrise.example") == ["customer_unreachable"]
    assert "dana@example.com" in sent.mailer.inbox[-1].text


@pytest.mark.whole
def test_of_a_welcome_that_bounced_the_business_hears_when_there_is_something_to_call_about(
    house: House,
) -> None:
    """A thousand welcomes to old addresses are no thousand emails to the business; a debt whose customer can't be told of it is one."""
    town = Welcoming(house)
    town.change_business(email="hello@sunrise.example")
    town.add("c1", email="dana@example.com")
    town.ask("c1")
    town.go_on(dt.timedelta(seconds=10))
    report(house, "bounce", type="bounce", reason="550 unknown")
    house.work()
    assert house.mailed_to("hello@sunrise.example") == []
    for number in (1, 2):
        house.hear(failed(invoice_id=f"in_{number}"))
        house.work()
    told = [row for row in house.rows() if row.kind == "payment_failed"]
    assert {row.reason for row in told} == {Reason.ADDRESS_BOUNCED}
    assert house.mailed_to("hello@sunrise.example") == ["customer_unreachable"]


def test_a_bounce_that_comes_later_without_our_argument_is_known_by_its_message(
    sent: House,
) -> None:
    """A mail server took the mail and sent it back an hour later: SendGrid names the message alone, and all follows as
    from any other bounce."""
    email = sent.row()
    late = {"notification_id": "", "sg_message_id": email.provider_message_id, "type": "bounce"}
    sent.clock.forward(hours=1)
    assert report(sent, "bounce", reason="550 unknown", **late) == 1
    assert report(sent, "bounce", reason="550 unknown", **late) == 0
    assert sent.rows()[0].status == "bounced"
    assert told(sent) == [("bounced", email.notification_id)]
    assert len(sent.table(SuppressedAddress)) == 1


def test_a_message_that_nobody_or_that_two_were_sent_as_is_nobodys(sent: House) -> None:
    """Another sender's message, and a name that tells nothing apart, change no row."""
    assert report(sent, "bounce", notification_id="", sg_message_id="another-senders-message") == 0
    sent.hear(failed(invoice_id="in_2"))
    with sent.db.transaction() as session:
        for row in session.scalars(select(Notification)):
            row.provider_message_id = "always-the-same"
    assert report(sent, "bounce", notification_id="", sg_message_id="always-the-same") == 0
    assert sent.table(SendGridEvent) == []


def test_a_block_is_no_statement_about_the_address(sent: House) -> None:
    """A soft bounce marks this email and leaves the address alone."""
    report(sent, "bounce", type="blocked", reason="451 busy")
    assert sent.row().status == "bounced"
    assert sent.table(SuppressedAddress) == []


@pytest.mark.parametrize(
    ("event", "why", "reason"),
    [
        ("dropped", "Bounced Address", Reason.ADDRESS_BOUNCED),
        ("dropped", "Spam Reporting Address", Reason.ADDRESS_COMPLAINED),
        ("spamreport", "", Reason.ADDRESS_COMPLAINED),
        ("dropped", "Recipient List over Package Quota", None),
    ],
)
def test_drops_and_complaints(sent: House, event: str, why: str, reason: Reason | None) -> None:
    """What SendGrid would drop again is not tried again."""
    report(sent, event, reason=why)
    assert [row.reason for row in sent.table(SuppressedAddress)] == ([reason] if reason else [])


def test_bounces_show_in_the_metrics_apart_from_deliveries(sent: House) -> None:
    """Each event counts under SendGrid's word for it and is a line of the log, beside the Stripe event that the email is about;
    a copy does not count."""

    def counted() -> float:
        return REGISTRY.get_sample_value("portico_sendgrid_events_total", {"event": "bounce"}) or 0

    before = counted()
    with capture_logs() as lines:
        report(sent, "bounce", type="blocked")
        report(sent, "bounce", type="blocked")
        report(sent, "delivered")
    told = [line for line in lines if line["event"] == "delivery event handled"]
    assert [line["type"] for line in told] == ["bounce", "delivered"]
    assert {line["correlation_id"] for line in told} == {sent.row().correlation_id}
    assert counted() == before + 1


def told(house: House) -> list[tuple[str, str]]:
    """What the host application hears: reason and notification."""
    heard = [wire.decode(row.body).data for row in house.table(OutboxEvent)]
    return [
        (data.reason, data.notification_id)
        for data in heard
        if isinstance(data, wire.NotificationUndeliverable)
    ]


@pytest.mark.parametrize(
    ("event", "changes", "reason"),
    [
        ("bounce", {"type": "bounce"}, "bounced"),
        ("dropped", {"reason": "Bounced Address"}, "dropped"),
        ("spamreport", {}, "spam_report"),
    ],
)
def test_the_host_hears_once_of_an_email_that_did_not_arrive(
    sent: House, event: str, changes: dict[str, Any], reason: str
) -> None:
    """Once for an email and reason, however often SendGrid says it; without the address."""
    email = sent.row().notification_id
    for number in range(3):
        report(sent, event, number, notification_id=email, **changes)
    assert told(sent) == [(reason, email)]
    (row,) = sent.table(OutboxEvent)
    assert "dana" not in row.body.lower()


def test_the_host_does_not_hear_of_what_may_still_arrive(sent: House) -> None:
    """Delivered, deferred and a soft bounce are no news to it."""
    report(sent, "delivered")
    report(sent, "deferred", reason="busy")
    report(sent, "bounce", type="blocked", reason="451 busy")
    assert told(sent) == []


def test_events_about_others_are_not_stored(sent: House) -> None:
    """A SendGrid account may send other mail: those events are acknowledged and forgotten."""
    assert report(sent, "delivered", notification_id="ntf_of_somebody_else") == 0
    assert report(sent, "open") == 0
    assert sent.table(SendGridEvent) == []


def test_a_batch_with_copies_of_itself_counts_once(sent: House) -> None:
    """Up to 46 copies of an event were reported, some within one batch."""
    item = delivered("sg_1", sent.row().notification_id)
    with sent.db.transaction() as session:
        assert feedback.handle(session, [item] * 46, START, sent.hasher).count(True) == 1


@pytest.mark.whole
def test_an_event_that_fails_fails_alone(sent: House) -> None:
    """The others of its batch are stored and applied, and it is logged and counted: SendGrid would repeat all of them for days."""
    with sent.db.transaction() as session:
        session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON sendgrid_events WHEN NEW.sg_event_id = 'sg_2' "
                "BEGIN SELECT RAISE(ABORT, 'poison'); END"
            )
        )
    batch = [
        event
        for number, name in enumerate(
            ["processed", "processed", "deferred", "delivered", "delivered"]
        )
        for event in [
            event_of(
                sg_event_id=f"sg_{number}",
                notification_id=sent.row().notification_id,
                event=name,
            )
        ]
        if event is not None
    ]
    hooks = SimpleNamespace(are_heard=False)
    service: Any = SimpleNamespace(db=sent.db, hasher=sent.hasher, hooks=hooks)
    before = REGISTRY.get_sample_value("portico_sendgrid_events_total", {"event": "failed"}) or 0
    assert NotifierService._apply(service, batch, START) == 4
    assert sorted(row.sg_event_id for row in sent.table(SendGridEvent)) == [
        "sg_0",
        "sg_1",
        "sg_3",
        "sg_4",
    ]
    assert sent.row().status == "delivered"
    assert (
        REGISTRY.get_sample_value("portico_sendgrid_events_total", {"event": "failed"})
        == before + 1
    )


def test_a_database_that_is_away_is_nobodys_fault(sent: House) -> None:
    """The batch comes again as a whole; what was stored of it is known by its ids then."""

    class Away:
        def transaction(self) -> Any:
            raise DatabaseUnavailable("away")

    item = delivered("sg_1", "ntf")
    service: Any = SimpleNamespace(db=Away(), hasher=sent.hasher)
    with pytest.raises(DatabaseUnavailable):
        NotifierService._apply(service, [item, item], START)
