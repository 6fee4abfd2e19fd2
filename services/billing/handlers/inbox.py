"""Stripe speaks: store, then acknowledge, and tell the others in the same commit."""

from __future__ import annotations

import datetime as dt
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec import UNSET
from sqlalchemy.orm import Session

from services.billing import models
from services.billing.domain.accounts import AccountState, Directory
from services.billing.handlers import kept_methods
from services.billing.queries import accounts, intake, outbox, reconciliation
from services.billing.queries import inbox as queries
from services.billing.queries import portal as portal_queries
from services.billing.stripe_events.payloads import NotAnEvent, StripeEvent, parse_event
from services.billing.stripe_events.translation import (
    CONNECT_WANTED,
    EVIDENCE_TYPES,
    Status,
    Translation,
    translate,
    translate_served,
)
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.rpc.billing import (
    ClosedEvent,
    InboxEvent,
    InboxEventDetails,
    PublishedEvent,
    ReplayedEvent,
)
from shared.contracts.rpc.errors import NotQuarantined, UnknownInboxEvent
from shared.database import UnstorableValue
from shared.events import CustomerEvidenceChanged
from shared.text import clean_utf8

EVIDENCE_BATCH: Final = 500
"""Stored events looked at in one round: few enough that what they make never stands in front of a failed charge for long."""
EVIDENCE_SETTLED: Final = dt.timedelta(minutes=5)
"""Rows become visible in the order of their commits, not of their times: younger ones wait for the next round."""


AGAIN_BATCH: Final = 100
"""Events of an account translated again in one round: few, for the same reason."""


class Outcome(enum.StrEnum):
    """What became of a webhook: the `outcome` label of `portico_stripe_webhooks_total` and Stripe's answer."""

    TRANSLATED = "translated"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"
    CONNECTED = "connected"
    THIN = "thin"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Received:
    """A signed event, read and translated, but not stored yet."""

    event: StripeEvent
    payload: str
    translation: Translation

    @property
    def type_label(self) -> str:
        """The type for a metric: bounded, since Stripe has hundreds."""
        return self.event.type if self.event.type in CONNECT_WANTED else "other"


def read_webhook(body: bytes, account: Account = OWN, *, directory: Directory) -> Received:
    """Parse and translate a signed body; pure, so it happens outside the transaction. `account`: whose the event is where it names
    none.

    Raises NotAnEvent when the body is not UTF-8, not JSON or not an event.
    """
    event, payload = _parse(body, account)
    return Received(event, payload, translate(event, directory=directory))


def read_logged(body: bytes, account: Account, *, livemode: bool) -> Received:
    """The same of an event in Stripe's log of an account that is served, which need not name it. `livemode`: its mode.

    Raises NotAnEvent.
    """
    event, payload = _parse(body, account)
    if (
        event.account != account
    ):  # whether a platform's log holds those of its accounts is not documented
        reason = f"of the account {event.account}, in the log of another"
        return Received(event, payload, Translation(Status.CONNECTED, reason))
    return Received(event, payload, translate_served(event, livemode=livemode))


def _parse(body: bytes, account: Account = OWN) -> tuple[StripeEvent, str]:
    """The event, and its body as it is stored. Raises NotAnEvent."""
    try:
        payload = clean_utf8(body)
    except UnicodeDecodeError:
        raise NotAnEvent("the body is not UTF-8") from None
    event = parse_event(body, account)
    if event.type.startswith("billing_portal.session."):
        payload = (
            ""  # it holds the session's URL, which opens a customer's billing to whoever reads it
        )
    return event, payload


def keep(store: Callable[[Received], Outcome], received: Received) -> tuple[Received, Outcome]:
    """Have the event stored, and where what was made of it can't be, the event alone, quarantined with the reason: Stripe
    would repeat it for days, each time in vain. The event as it was stored, and what became of it."""
    try:
        return received, store(received)
    except UnstorableValue as refusal:
        set_aside = Translation(Status.QUARANTINED, f"can't be stored: {refusal}")
        received = replace(received, translation=set_aside)
        return received, store(received)


def store_webhooks(
    session: Session, batch: Sequence[Received], now: dt.datetime, *, delivered: bool = True
) -> list[Outcome]:
    """Inbox and outbox of webhooks that came together, in the caller's one transaction: `queries.intake` makes it one statement.

    A repeated delivery is only counted, whether the first one came earlier or stands in the same batch;
    not even that when the events were not `delivered`, but read from Stripe's log.
    """
    firsts: dict[StripeId, Received] = {}
    for received in batch:
        firsts.setdefault(received.event.name, received)
    arrivals = [(one.event, one.payload, one.translation) for one in firsts.values()]
    subscriptions = {
        name: subscription
        for name, one in firsts.items()
        if (subscription := kept_methods.subscription_of(one.event, one.translation))
    }
    stored = intake.store(session, arrivals, now, delivered=delivered, subscriptions=subscriptions)
    for event, received in firsts.items():
        if event in stored:
            _learn(session, received.event, received.translation, now)
    watched = [(one.event, one.translation) for name, one in firsts.items() if stored.get(name)]
    kept_methods.note_arrivals(session, watched, now)
    fresh, outcomes = set(stored), []
    for received in batch:
        new = received.event.name in fresh
        fresh.discard(received.event.name)  # the first copy made the row, the others are duplicates
        outcomes.append(Outcome(received.translation.status.value) if new else Outcome.DUPLICATE)
    again = Counter(
        received.event.name
        for received, outcome in zip(batch, outcomes, strict=True)
        if outcome is Outcome.DUPLICATE
    )
    if again and delivered:
        queries.count_deliveries(session, again, now)
    return outcomes


def replay(
    session: Session, event: StripeId, *, directory: Directory, now: dt.datetime
) -> ReplayedEvent:
    """Translate a stored event again: after an upgrade that understands what was quarantined or ignored.

    What was already said is not said again. One that a person has closed is open again if it still can't be read. Raises
    UnknownInboxEvent.
    """
    row = _stored(session, event, lock=True)
    row.replays, row.replayed_at = row.replays + 1, now
    if not row.payload:
        return ReplayedEvent.of(row, event_id=row.id, queued=[])
    parsed = parse_event(row.payload, event.account)
    translation = translate(parsed, directory=directory)
    queued = _take_again(session, parsed, translation, now)
    if row.status != Status.TRANSLATED or translation.status is Status.TRANSLATED:
        row.status, row.reason = translation.status.value, translation.reason
    return ReplayedEvent.of(row, event_id=row.id, queued=queued)


def _take_again(
    session: Session, event: StripeEvent, translation: Translation, now: dt.datetime
) -> list[str]:
    """Queue what a stored event says and was not said yet, and learn from it; returns the ids of the new events."""
    queued = outbox.add_unsaid(session, translation.outgoing, now)
    _learn(session, event, translation, now)
    kept_methods.note_arrivals(session, [(event, translation)], now)
    return queued


def _learn(
    session: Session, event: StripeEvent, translation: Translation, now: dt.datetime
) -> None:
    """Note what an event tells that is for nobody but us."""
    if translation.configuration is not None:
        portal_queries.learn_of_ours(session, event.account, translation.configuration, now)
    if translation.state is AccountState.DISCONNECTED:
        accounts.disconnect(session, event.account, now, happened_at=event.occurred_at())
    elif translation.state is not None:
        accounts.restrict(
            session,
            event.account,
            translation.state is AccountState.RESTRICTED,
            now,
            happened_at=event.occurred_at(),
        )


@dataclass(frozen=True)
class TranslatedAgain:
    """What came of a batch of stored events whose account was not served when they came."""

    account: Account
    events: int


def translate_again(
    session: Session, directory: Directory, now: dt.datetime
) -> TranslatedAgain | None:
    """Translate the oldest stored events of one account that is served by now, and was not when they came; None: there are none,
    or others are at them.

    An old replica stores so what it is delivered of accounts that it doesn't know, and each does what came before its account was
    let in. What was said meanwhile is not said again.
    """
    waiting = queries.account_that_waits(session, directory)
    if waiting is None:
        return None
    rows = queries.lock_waiting(session, waiting, AGAIN_BATCH)
    for row in rows:
        row.replays, row.replayed_at = row.replays + 1, now
        if not row.payload:
            row.status, row.reason = Status.IGNORED.value, "nothing of it was kept"
            continue
        event = parse_event(row.payload, waiting)
        translation = translate(event, directory=directory)
        try:
            with session.begin_nested():
                _take_again(session, event, translation, now)
        except UnstorableValue as refusal:  # as in `keep`: it must not hold up the others
            translation = Translation(Status.QUARANTINED, f"can't be stored: {refusal}")
        row.status, row.reason = translation.status.value, translation.reason
    return TranslatedAgain(waiting, len(rows)) if rows else None


def close_event(
    session: Session, event: StripeId, *, reason: str, by: str, now: dt.datetime
) -> tuple[ClosedEvent, bool]:
    """A person has looked at a quarantined event, and nothing more is to be done: it grows old like the others, from now on.
    False: it was closed before, and stays so for the first reason. Raises UnknownInboxEvent, NotQuarantined."""
    row = _stored(session, event, lock=True)
    fresh = row.status != Status.CLOSED
    if fresh:
        if row.status != Status.QUARANTINED:
            raise NotQuarantined(f"{event.id} is {row.status}: there is nothing to close")
        row.status, row.closed_at = Status.CLOSED.value, now
        row.closed_reason, row.closed_by = reason, by or None
    return ClosedEvent.of(row, event_id=row.id), fresh


def tell_evidence_again(session: Session, *, directory: Directory, now: dt.datetime) -> int | None:
    """Translate the next stored events that may tell whose a Stripe customer is, and queue what was not said of that; how
    many events of ours that made, None when somebody else is at it.

    A replica of the release before stores what Stripe delivers to it and says it in a form that is no evidence. So whatever
    is stored is looked at once more, however long both releases run side by side.
    """
    since = reconciliation.evidence_told_until(session)
    if since is None:
        return None
    until = now - EVIDENCE_SETTLED
    rows = queries.inbox_between(session, EVIDENCE_TYPES, since, until, EVIDENCE_BATCH)
    outgoing = [
        one
        for row in rows
        if row.payload
        for one in translate(
            parse_event(row.payload, Account(row.account or OWN)), directory=directory
        ).outgoing
        if isinstance(one.event.data, CustomerEvidenceChanged)
    ]
    done = rows[-1].received_at if len(rows) >= EVIDENCE_BATCH else until
    reconciliation.evidence_told(session, max(since, done))
    return len(outbox.add_unsaid(session, outgoing, now))


def _stored(session: Session, event: StripeId, *, lock: bool = False) -> models.InboxEvent:
    row = queries.inbox_event(session, event, lock=lock)
    if row is None:
        where = f" of account {event.account}" if event.account else ""
        raise UnknownInboxEvent(f"no stored event {event.id}{where}")
    return row


def inbox_events(
    session: Session,
    *,
    status: str | None,
    type: str | None,
    before: dt.datetime | None,
    limit: int,
    before_id: str | None = None,
) -> list[InboxEvent]:
    """Stored events for people, newest first, without their payloads."""
    return [
        InboxEvent.of(row, event_id=row.id, account=row.account or None)
        for row in queries.inbox_events(
            session, status=status, type=type, before=before, limit=limit, before_id=before_id
        )
    ]


def show_event(session: Session, event: StripeId, *, payload: bool) -> InboxEventDetails:
    """One stored event whole. Raises UnknownInboxEvent."""
    row = _stored(session, event)
    return InboxEventDetails.of(
        row,
        event_id=row.id,
        about=row.object_id,
        account=row.account or None,
        published=[PublishedEvent.of(one) for one in outbox.published_of(session, [event])],
        payload=row.payload if payload else UNSET,
    )
