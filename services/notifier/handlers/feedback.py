"""What follows from the mail provider's reports about emails that it took."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.kinds import TO_BUSINESS, Kind
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers import hooks, unreachable
from services.notifier.handlers.accepted_mails import mark_others_sent, mark_sent
from services.notifier.metrics import FEEDBACK
from services.notifier.models import Notification
from services.notifier.queries import (
    incidents,
    notifications,
    outbox,
    sendgrid_events,
    suppressions,
)
from services.notifier.queries.sendgrid_events import NewSendGridEvent
from shared.contracts.accounts import StripeId, account_shown
from shared.database import count_on_commit, on_commit
from shared.events import Event, NotificationUndeliverable
from shared.outbox import Outgoing
from shared.telemetry import get_logger

log = get_logger(__name__)

HOST_HEARS: Final = {
    Delivery.BOUNCED: "bounced",
    Delivery.DROPPED: "dropped",
    Delivery.COMPLAINED: "spam_report",
}
"""The reasons of `notification.undeliverable`."""
SILENT: Final = TO_BUSINESS | {Kind.WELCOME}
"""Of whose bounces the business gets no email: its own address takes none, and welcomes go by the thousand. Of a customer who can't be
reached it hears then when there is something to call about: an email that asks for money, and can't go."""


def handle(
    session: Session,
    batch: list[DeliveryEvent],
    now: dt.datetime,
    hasher: AddressHasher,
    *,
    tell_hosts: bool = False,
) -> list[bool]:
    """Apply a batch of events inside the caller's transaction; of each whether it was new and about a notification of ours.

    `tell_hosts` as for `events.handle`. Copies (normal: providers promise at least once) and events about other senders' messages change nothing.
    """
    batch = _named(session, batch)
    known = sendgrid_events.known_invoices(session, {item.notification_id for item in batch})
    ours = [item for item in batch if item.notification_id in known]
    new_ids = sendgrid_events.claim_sendgrid_events(
        session,
        [
            NewSendGridEvent(
                sg_event_id=item.event_id,
                notification_id=item.notification_id,
                event=item.provider_word,
                occurred_at=item.occurred_at,
            )
            for item in ours
        ],
        now,
    )
    fresh = {item.event_id: item for item in ours if item.event_id in new_ids}.values()
    # Incidents are locked in one order, whatever order the batch has.
    for item in sorted(
        fresh, key=lambda item: (known[item.notification_id] or "", item.occurred_at)
    ):
        said = _apply(session, item, known[item.notification_id], now, hasher)
        if said is not None and tell_hosts:
            hooks.record_events(session, [said], now)
        count_on_commit(session, FEEDBACK.labels(item.provider_word))
    outcomes = []
    for item in batch:
        outcomes.append(item.event_id in new_ids)
        new_ids.discard(item.event_id)  # a second copy in the same batch is not new
    return outcomes


def _named(session: Session, batch: list[DeliveryEvent]) -> list[DeliveryEvent]:
    """The events, of which those that name no notification are about the notification that their message was sent for."""
    found = sendgrid_events.sent_as(
        session, {item.message_id for item in batch if item.message_id and not item.notification_id}
    )
    return [
        item
        if item.notification_id
        else replace(item, notification_id=found.get(item.message_id or "", ""))
        for item in batch
    ]


def _apply(
    session: Session,
    item: DeliveryEvent,
    invoice: StripeId | None,
    now: dt.datetime,
    hasher: AddressHasher,
) -> Event | None:
    """What the host is told of, where it is."""
    incident = incidents.lock_known_incident(session, invoice)
    row = notifications.by_id(session, item.notification_id, lock=True)
    if row is None:
        return None
    # Every report proves that the provider took the message: the answer that a time-out hid.
    on_commit(
        session,
        partial(
            log.info,
            "delivery event handled",
            event_id=item.event_id,
            type=item.provider_word,
            notification_id=row.notification_id,
            invoice_id=row.invoice_id,
            **account_shown(row.account),
            correlation_id=row.correlation_id or item.event_id,
        ),
    )
    mailed = mark_sent(session, row, incident, item.occurred_at, item.message_id)
    others = mark_others_sent(session, row, item.occurred_at)
    incidents.note_mailed(session, [*others, mailed] if mailed is not None else others)
    if item.what is Delivery.DELIVERED:
        row.delivered_at = row.delivered_at or item.occurred_at
        if row.status != Status.BOUNCED:
            row.status = Status.DELIVERED.value
    elif item.what is Delivery.DEFERRED:
        row.last_error = _short(f"deferred: {item.reason}")
    elif item.what is Delivery.BOUNCED:
        _bounced(row, f"bounced: {item.reason}")
    elif item.what is Delivery.DROPPED:
        _bounced(row, f"dropped by the mail provider: {item.reason}")
    if item.permanent:
        _stop_writing(session, item, now, row, hasher)
    # A mail server that only refused it this time is no news to the host.
    if item.what in HOST_HEARS and (item.permanent or item.what is not Delivery.BOUNCED):
        return _tell_the_host(session, row, HOST_HEARS[item.what], item.occurred_at, now)
    return None


def _bounced(row: Notification, why: str) -> None:
    row.status, row.reason = Status.BOUNCED.value, _short(why)


def _stop_writing(
    session: Session,
    item: DeliveryEvent,
    now: dt.datetime,
    row: Notification,
    hasher: AddressHasher,
) -> None:
    """Nothing more goes to this address; of one that takes no mail the business hears, and can call: at once, or when there is something
    to call about."""
    if not item.address:
        return
    reason = Reason.ADDRESS_COMPLAINED if item.complaint else Reason.ADDRESS_BOUNCED
    address = hasher(item.address)
    new = suppressions.suppress_address(session, address, reason, now, item.notification_id)
    if new and reason is Reason.ADDRESS_BOUNCED and Kind(row.kind) not in SILENT:
        unreachable.tell_business(session, row, row.customer_id, address, now)


def _tell_the_host(
    session: Session, row: Notification, reason: str, at: dt.datetime, now: dt.datetime
) -> Event:
    """Raise `notification.undeliverable`, once for an email and reason however often it is reported."""
    data = NotificationUndeliverable(
        account=row.account,
        notification_id=row.notification_id,
        kind=row.kind,
        reason=reason,
        stripe_customer_id=row.stripe_customer_id,
        invoice_id=row.invoice_id,
        customer_id=row.customer_id,
    )
    key = f"{row.notification_id}/{reason}/{data.type}"
    event = Event(
        id=key,
        occurred_at=at,
        correlation_id=row.correlation_id or row.notification_id,
        data=data,
    )
    outbox.OUTBOX.add(session, [Outgoing(event, key)], now)
    return event


def _short(text: str) -> str:
    """A mail server's own words, cut to a line. They can quote the address: that is taken out."""
    words = [word if "@" not in word else "…" for word in text.split()]
    return " ".join(words)[:300]
