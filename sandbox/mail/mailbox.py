"""The mailbox: every mail SendGrid accepted, what became of it, and the events that say so."""

from __future__ import annotations

import secrets
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.mail.events import EventSender, Post, Record, SigningKey
from sandbox.mail.rules import Address, Envelope, Submission
from sandbox.mail.store import Store

DEFERRAL_SECONDS = 5.0


@dataclass(frozen=True)
class Mail:
    """One accepted mail, to one group of recipients.

    ``status`` is what the customer's provider made of it: ``delivered``, ``bounce``, ``dropped`` or
    ``deferred``. The bodies are kept compressed: tens of thousands of mails fit in memory.
    """

    id: str
    message_id: str
    sender: Address
    reply_to: Address | None
    envelope: Envelope
    categories: tuple[str, ...]
    tracking_settings: dict[str, Any]
    received_at: float
    status: str
    packed_text: bytes
    packed_html: bytes

    @property
    def to(self) -> str:
        """The first recipient's address."""
        return self.envelope.to[0].email

    @property
    def recipients(self) -> list[str]:
        """Every address the mail went to."""
        return [address.email for address in self.envelope.to]

    @property
    def subject(self) -> str:
        """The subject line."""
        return self.envelope.subject

    @property
    def text(self) -> str:
        """The plain-text part, empty when there was none."""
        return zlib.decompress(self.packed_text).decode()

    @property
    def html(self) -> str:
        """The HTML part, empty when there was none."""
        return zlib.decompress(self.packed_html).decode()

    def document(self, *, bodies: bool = True) -> dict[str, Any]:
        """The mail as ``/inbox.json`` lists it; times are ISO 8601 in UTC."""
        when = datetime.fromtimestamp(self.received_at, UTC)
        whole: dict[str, Any] = {
            "id": self.id,
            "message_id": self.message_id,
            "to": self.to,
            "to_name": self.envelope.to[0].name,
            "recipients": self.recipients,
            "from": self.sender.email,
            "from_name": self.sender.name,
            "reply_to": self.reply_to.email if self.reply_to else None,
            "reply_to_name": self.reply_to.name if self.reply_to else None,
            "subject": self.subject,
            "custom_args": dict(self.envelope.custom_args),
            "headers": dict(self.envelope.headers),
            "tracking_settings": self.tracking_settings,
            "categories": list(self.categories),
            "status": self.status,
            "received_at": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if bodies:
            whole.update(text=self.text, html=self.html)
        return whole


class Mailbox:
    """Accepts mails, keeps the newest ``keep`` of them, and reports on each by signed webhooks.

    ``public_url`` is where people reach the sandbox; ``event_webhook_url`` is who hears of
    deliveries (None: nobody, events are only listed); ``state_path`` is an SQLite file that keeps
    mails and signing key across restarts (None: memory only). ``event_delay`` seconds pass between
    a 202 and its first event.
    """

    def __init__(
        self,
        public_url: str,
        event_webhook_url: str | None = None,
        state_path: str | Path | None = None,
        *,
        keep: int = 20_000,
        event_delay: float = 0.2,
        post: Post | None = None,
    ) -> None:
        self.public_url = public_url.rstrip("/")
        self.keep = keep
        self.accepted = 0
        self.event_delay = event_delay
        self._mails: OrderedDict[str, Mail] = OrderedDict()
        self._suppressed: set[str] = set()
        self._lock = threading.Lock()
        self._store = Store(state_path) if state_path else None
        key = SigningKey(self._store.value("event_webhook_key") if self._store else None)
        self.events = EventSender(key, event_webhook_url, post)
        if self._store:
            self._store.keep_value("event_webhook_key", key.pem())
            self.accepted = self._store.accepted()
            for document in self._store.newest(keep):
                mail = _mail_of(document)
                self._mails[mail.id] = mail

    @property
    def public_key(self) -> str:
        """The event webhook's verification key, as SendGrid's settings page shows it."""
        return self.events.key.public

    @property
    def event_webhook_url(self) -> str | None:
        """Where events are posted; assign to change it while running."""
        return self.events.url

    @event_webhook_url.setter
    def event_webhook_url(self, url: str | None) -> None:
        self.events.url = url

    def accept(self, submission: Submission) -> str:
        """Take an accepted request: one mail a personalization. Returns the ``X-Message-Id``."""
        message_id = secrets.token_urlsafe(16)
        text = zlib.compress(submission.text.encode(), 1)
        html = zlib.compress(submission.html.encode(), 1)
        for envelope in submission.envelopes:
            mail = Mail(
                id=secrets.token_hex(8),
                message_id=message_id,
                sender=submission.sender,
                reply_to=submission.reply_to,
                envelope=envelope,
                categories=submission.categories,
                tracking_settings=dict(submission.tracking_settings),
                received_at=time.time(),
                status=self._fate(envelope.to[0].email),
                packed_text=text,
                packed_html=html,
            )
            self._keep(mail)
            self._report(mail)
        return message_id

    def mails(self, to: str | None = None, limit: int | None = None) -> list[Mail]:
        """Kept mails, newest first; ``to`` matches any recipient whatever its case."""
        wanted = to.strip().lower() if to else None
        found: list[Mail] = []
        with self._lock:
            for mail in reversed(self._mails.values()):
                if limit is not None and len(found) >= limit:
                    break
                if wanted is None or any(wanted == one.lower() for one in mail.recipients):
                    found.append(mail)
        return found

    def mail(self, mail_id: str) -> Mail | None:
        """One kept mail, or None."""
        with self._lock:
            return self._mails.get(mail_id)

    def records(self, mail_id: str | None = None) -> list[Record]:
        """Reported events, oldest first; of one mail when ``mail_id`` is given."""
        return [
            record
            for record in list(self.events.records)
            if mail_id is None or record.mail_id == mail_id
        ]

    def counts(self) -> dict[str, int]:
        """Exact numbers: mails accepted since the inbox was last emptied, kept, and events."""
        with self._lock:
            kept = len(self._mails)
        return {
            "accepted": self.accepted,
            "kept": kept,
            "events_delivered": self.events.delivered,
            "events_given_up": self.events.failed,
        }

    def empty(self) -> int:
        """Throw all mails away, forget bounced addresses; returns how many were kept."""
        with self._lock:
            count = len(self._mails)
            self._mails.clear()
            self._suppressed.clear()
            self.accepted = 0
            if self._store:
                self._store.empty()
        return count

    def report(self, mail: Mail, event: str, *, named: bool = True) -> Record:
        """Report one more event about a mail: ``spamreport``, ``bounce``, ``open``, …

        Not ``named``: without the sender's custom arguments and categories, as when a mail server that took the mail
        sends it back later.
        """
        if event in ("bounce", "dropped", "deferred", "delivered"):
            with self._lock:
                changed = replace(mail, status=event)
                if mail.id in self._mails:
                    self._mails[mail.id] = changed
                    if self._store:
                        self._store.update(mail.id, changed.document())
        return self.events.put(mail.id, _event(mail, mail.to, event, named=named))

    def close(self) -> None:
        """Close the state file."""
        if self._store:
            self._store.close()

    def _fate(self, address: str) -> str:
        local = address.lower()
        if local in self._suppressed or local.startswith("dropped"):
            return "dropped"
        if local.startswith("bounce"):
            # SendGrid keeps a bounced address on its suppression list and drops what follows.
            self._suppressed.add(local)
            return "bounce"
        return "deferred" if local.startswith("deferred") else "delivered"

    def _keep(self, mail: Mail) -> None:
        with self._lock:
            self.accepted += 1
            self._mails[mail.id] = mail
            while len(self._mails) > self.keep:
                self._mails.popitem(last=False)
            if self._store:
                self._store.add(mail.id, mail.document(), self.accepted, self.keep)

    def _report(self, mail: Mail) -> None:
        for address in mail.recipients:
            fate = mail.status if address == mail.to else "delivered"
            for name, delay in _history(fate):
                self.events.put(mail.id, _event(mail, address, name), self.event_delay + delay)


def _history(fate: str) -> Iterator[tuple[str, float]]:
    """The events of a mail with their delays in seconds."""
    if fate == "dropped":
        yield "dropped", 0.0
        return
    yield "processed", 0.0
    yield fate, 0.1
    if fate == "deferred":
        yield "delivered", DEFERRAL_SECONDS


_DETAILS: dict[str, dict[str, Any]] = {
    "delivered": {"response": "250 2.0.0 OK: queued", "tls": 1},
    "deferred": {
        "response": "451 4.7.1 Greylisting in action, please come back later",
        "attempt": "1",
    },
    "bounce": {
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist.",
        "bounce_classification": "Invalid Addresses",
    },
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
}


def _event(mail: Mail, address: str, name: str, *, named: bool = True) -> dict[str, Any]:
    """An event as the webhook reports it, custom arguments flattened in."""
    event: dict[str, Any] = dict(mail.envelope.custom_args) if named else {}
    event.update(
        {
            "email": address,
            "timestamp": int(time.time()),
            "smtp-id": f"<{mail.message_id}@geopod-ismtpd-1>",
            "event": name,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"{mail.message_id}.recvd-sandbox-1-{mail.id[:8].upper()}.0",
            **_DETAILS.get(name, {}),
        }
    )
    if mail.categories and named:
        event["category"] = list(mail.categories)
    return event


def _mail_of(document: dict[str, Any]) -> Mail:
    names = {document["to"]: document["to_name"]}
    reply_to = document["reply_to"]
    return Mail(
        id=document["id"],
        message_id=document["message_id"],
        sender=Address(document["from"], document["from_name"]),
        reply_to=Address(reply_to, document["reply_to_name"] or "") if reply_to else None,
        envelope=Envelope(
            to=tuple(Address(email, names.get(email, "")) for email in document["recipients"]),
            subject=document["subject"],
            headers=document["headers"],
            custom_args=document["custom_args"],
        ),
        categories=tuple(document["categories"]),
        tracking_settings=document["tracking_settings"],
        received_at=datetime.fromisoformat(document["received_at"]).timestamp(),
        status=document["status"],
        packed_text=zlib.compress(document["text"].encode(), 1),
        packed_html=zlib.compress(document["html"].encode(), 1),
    )
