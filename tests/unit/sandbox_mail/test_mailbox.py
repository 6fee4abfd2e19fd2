"""The mailbox: keeping mails, bounded memory, fates of addresses, signed events."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sandbox.mail import Mailbox
from sandbox.mail.rules import parse


class Receiver:
    """Stands where the notifier's webhook stands; keeps what it was told."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.requests = []

    def __call__(self, url, body, headers):
        self.requests.append((url, body, dict(headers)))
        status = self.statuses.pop(0) if self.statuses else 204
        if status is None:
            raise ConnectionRefusedError
        return status

    @property
    def events(self):
        return [event for _, body, _ in self.requests for event in json.loads(body)]


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def mailbox(receiver):
    box = Mailbox("http://mail.test", "http://notifier.test/hook", event_delay=0.0, post=receiver)
    yield box
    box.close()


def a_mail(to="ana@example.com", **changes):
    request = {
        "personalizations": [{"to": [{"email": to}]}],
        "from": {"email": "billing@sunrise.example"},
        "subject": "Your payment",
        "content": [{"type": "text/plain", "value": "Hello"}],
        "custom_args": {"notification_id": "n1"},
        **changes,
    }
    return parse(json.dumps(request).encode())


def test_lists_the_newest_first(mailbox):
    """Mails come back newest first, with the fields a test reads."""
    mailbox.accept(a_mail(subject="one"))
    mailbox.accept(a_mail(subject="two"))
    documents = [mail.document() for mail in mailbox.mails()]
    assert [one["subject"] for one in documents] == ["two", "one"]
    assert documents[0]["to"] == "ana@example.com"
    assert documents[0]["text"] == "Hello"
    assert documents[0]["custom_args"] == {"notification_id": "n1"}
    assert documents[0]["received_at"].endswith("Z")


def test_finds_the_mails_of_one_address(mailbox):
    """The filter matches any recipient and does not mind the case."""
    mailbox.accept(a_mail("ana@example.com"))
    mailbox.accept(a_mail("ben@example.com"))
    assert [mail.to for mail in mailbox.mails(to="ANA@example.com")] == ["ana@example.com"]


def test_each_personalization_is_a_mail_of_its_own(mailbox):
    """Two personalizations make two mails, with their own subject and arguments."""
    groups = [
        {"to": [{"email": "ana@example.com"}]},
        {"to": [{"email": "ben@example.com"}], "subject": "For Ben", "custom_args": {"n": "2"}},
    ]
    mailbox.accept(a_mail(personalizations=groups))
    ben, ana = mailbox.mails()
    assert (ana.text, ana.subject) == ("Hello", "Your payment")
    assert (ben.subject, ben.envelope.custom_args["n"]) == ("For Ben", "2")


def test_memory_is_bounded_and_the_count_exact(receiver):
    """Only the newest `keep` mails stay, while the counter knows about all of them."""
    box = Mailbox("http://mail.test", keep=3)
    for number in range(5):
        box.accept(a_mail(subject=str(number)))
    assert [mail.subject for mail in box.mails()] == ["4", "3", "2"]
    assert box.counts()["accepted"] == 5


def test_state_survives_a_restart(tmp_path):
    """With a state path, mails, the exact count and the signing key are there after a restart."""
    path = tmp_path / "sandbox.db"
    first = Mailbox("http://mail.test", state_path=path, keep=2)
    for subject in ("one", "two", "three"):
        first.accept(a_mail(subject=subject))
    first.close()
    second = Mailbox("http://mail.test", state_path=path, keep=2)
    assert [mail.document() for mail in second.mails()] == [
        mail.document() for mail in first.mails()
    ]
    assert second.counts()["accepted"] == 3
    assert second.public_key == first.public_key
    second.close()


def test_emptying_forgets_mails_and_bounces(mailbox):
    """An emptied inbox starts anew: no mails, a zero count, no suppressed address."""
    mailbox.accept(a_mail("bounce@example.com"))
    assert mailbox.empty() == 1
    mailbox.accept(a_mail("bounce@example.com"))
    assert [mail.status for mail in mailbox.mails()] == ["bounce"]


def test_reports_processed_and_delivered(mailbox, receiver):
    """Acceptance is followed by processed and delivered, custom arguments flattened in."""
    message_id = mailbox.accept(a_mail())
    assert mailbox.events.wait_idle(5)
    assert [event["event"] for event in receiver.events] == ["processed", "delivered"]
    event = receiver.events[0]
    assert event["notification_id"] == "n1"
    assert event["email"] == "ana@example.com"
    assert event["sg_message_id"].startswith(message_id + ".")
    assert len({event["sg_event_id"] for event in receiver.events}) == 2


def test_a_late_bounce_names_the_message_alone(mailbox, receiver):
    """What a mail server sends back later comes without custom arguments and categories."""
    message_id = mailbox.accept(a_mail())
    assert mailbox.events.wait_idle(5)
    (mail,) = mailbox.mails()
    mailbox.report(mail, "bounce", named=False)
    assert mailbox.events.wait_idle(5)
    event = receiver.events[-1]
    assert (event["event"], "notification_id" in event) == ("bounce", False)
    assert event["sg_message_id"].startswith(message_id + ".")


def test_signature_covers_timestamp_and_raw_body(mailbox, receiver):
    """The signature verifies with the public key over timestamp plus the body's very bytes."""
    import base64

    from cryptography.hazmat.primitives import hashes

    mailbox.accept(a_mail())
    assert mailbox.events.wait_idle(5)
    _, body, headers = receiver.requests[0]
    assert body.endswith(b"]\r\n")
    key = load_der_public_key(base64.b64decode(mailbox.public_key))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(
        base64.b64decode(headers["X-Twilio-Email-Event-Webhook-Signature"]),
        headers["X-Twilio-Email-Event-Webhook-Timestamp"].encode() + body,
        ec.ECDSA(hashes.SHA256()),
    )


@pytest.mark.parametrize(
    ("address", "history"),
    [
        ("bounce@example.com", ["processed", "bounce"]),
        ("dropped@example.com", ["dropped"]),
        ("deferred@example.com", ["processed", "deferred", "delivered"]),
    ],
)
def test_addresses_choose_their_fate(mailbox, receiver, monkeypatch, address, history):
    """Addresses that start with bounce, dropped or deferred meet that fate."""
    monkeypatch.setattr("sandbox.mail.mailbox.DEFERRAL_SECONDS", 0.2)
    mailbox.accept(a_mail(address))
    assert mailbox.events.wait_idle(5)
    assert [event["event"] for event in receiver.events] == history


def test_a_bounced_address_is_dropped_next_time(mailbox, receiver):
    """After a hard bounce the address is suppressed: the next mail to it is dropped."""
    mailbox.accept(a_mail("bounce-me@example.com"))
    mailbox.accept(a_mail("bounce-me@example.com"))
    assert [mail.status for mail in mailbox.mails()] == ["dropped", "bounce"]


def test_duplicates_carry_the_same_event_id(mailbox, receiver):
    """Events sent again on demand keep their id, which is what a receiver dedupes by."""
    mailbox.accept(a_mail())
    assert mailbox.events.wait_idle(5)
    assert mailbox.events.again(mailbox.records(), 2) == 4
    assert mailbox.events.wait_idle(5)
    ids = [event["sg_event_id"] for event in receiver.events]
    assert len(ids) == 6
    assert len(set(ids)) == 2


def test_keeps_trying_until_the_receiver_answers(monkeypatch):
    """A receiver that is down or failing gets its events later, once it answers 2xx."""
    monkeypatch.setattr("sandbox.mail.events.RETRY_DELAYS", (0.01, 0.01, 0.01, 0.01))
    receiver = Receiver(None, 503, 500)
    box = Mailbox("http://mail.test", "http://notifier.test", event_delay=0.0, post=receiver)
    box.accept(a_mail())
    assert box.events.wait_idle(5)
    assert [record.state for record in box.records()] == ["delivered", "delivered"]
    assert box.counts()["events_delivered"] == 2


def test_gives_up_after_the_last_delay(monkeypatch):
    """A receiver that never answers is given up on, and that is counted."""
    monkeypatch.setattr("sandbox.mail.events.RETRY_DELAYS", (0.01,))
    receiver = Receiver(*[503] * 20)
    box = Mailbox("http://mail.test", "http://notifier.test", event_delay=0.0, post=receiver)
    box.accept(a_mail())
    assert box.events.wait_idle(5)
    assert {record.state for record in box.records()} == {"given up"}
    assert box.counts()["events_given_up"] == 2


def test_without_a_webhook_events_are_only_listed():
    """With nobody to tell, events are listed as not sent."""
    box = Mailbox("http://mail.test")
    box.accept(a_mail())
    assert [record.state for record in box.records()] == ["not sent", "not sent"]
