"""Every statement of billing. Functions of a session; the caller opens the transaction and commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, cast

from sqlalchemy import Table, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from services.billing.domain import Payment
from services.billing.models import (
    InboxEvent,
    OutboxEvent,
    Reconciliation,
    Recovery,
    RecoveryLease,
    RecoveryRun,
    StoredConfiguration,
)
from services.billing.payloads import StripeEvent, subject_of
from services.billing.translation import Status, Translation
from shared.database import insert_new
from shared.outbox import Outbox, Outgoing

# --- inbox ---------------------------------------------------------------------------------------------------


def store_stripe_events(
    session: Session,
    received: Iterable[tuple[StripeEvent, str, Translation]],
    now: dt.datetime,
    *,
    delivered: bool = True,
) -> set[str]:
    """Write events with their payloads to the inbox, in one statement; the ids of those that were not there yet.
    `delivered`: by webhooks, not read from Stripe's log.

    Written in the order of their ids, so that two batches with the same events never wait for each other in a
    circle.
    """
    rows = [
        {
            "id": event.id,
            "type": event.type,
            "api_version": event.api_version,
            "livemode": event.livemode,
            "account": event.account,
            "created": event.created,
            "received_at": now,
            "status": translation.status.value,
            "reason": translation.reason,
            "payload": payload,
            "object_id": (subject := subject_of(event)).object_id,
            "stripe_customer_id": subject.stripe_customer_id,
            "deliveries": int(delivered),
            "replays": 0,
        }
        for event, payload, translation in sorted(received, key=lambda one: one[0].id)
    ]
    table = cast(Table, InboxEvent.__table__)
    return set(insert_new(session, table, rows, conflict=["id"], returning="id"))


def count_deliveries(session: Session, again: Mapping[str, int], now: dt.datetime) -> None:
    """Note that these events were delivered so many times more.

    A row that somebody else is writing now is skipped: a count is not worth a wait, and never a deadlock.
    """
    free = session.scalars(
        select(InboxEvent.id)
        .where(InboxEvent.id.in_(sorted(again)))
        .with_for_update(skip_locked=True)
    ).all()
    for times in sorted({again[event_id] for event_id in free}):
        session.execute(
            update(InboxEvent)
            .where(InboxEvent.id.in_([one for one in free if again[one] == times]))
            .values(deliveries=InboxEvent.deliveries + times, last_delivered_at=now)
            .execution_options(synchronize_session=False)
        )


def inbox_event(session: Session, event_id: str) -> InboxEvent | None:
    """One stored Stripe event, locked against a second replay at the same time."""
    return session.get(InboxEvent, event_id, with_for_update=True)


def inbox_events(
    session: Session,
    *,
    status: str | None,
    type: str | None,
    before: dt.datetime | None,
    limit: int,
) -> Sequence[InboxEvent]:
    """Stored Stripe events, newest first."""
    statement = select(InboxEvent).order_by(InboxEvent.received_at.desc(), InboxEvent.id.desc())
    if status is not None:
        statement = statement.where(InboxEvent.status == status)
    if type is not None:
        statement = statement.where(InboxEvent.type == type)
    if before is not None:
        statement = statement.where(InboxEvent.received_at < before)
    return session.scalars(statement.limit(limit)).all()


def payloads_about(
    session: Session, object_ids: Sequence[str], types: Sequence[str] | None = None
) -> Sequence[str]:
    """The stored payloads of what Stripe told of these invoices (or other objects), of these types if any are named."""
    statement = select(InboxEvent.payload).where(
        InboxEvent.object_id.in_(object_ids), InboxEvent.payload != ""
    )
    if types is None:
        statement = statement.where(InboxEvent.status == Status.TRANSLATED.value)
    else:
        statement = statement.where(InboxEvent.type.in_(types))
    return session.scalars(statement).all()


# --- outbox --------------------------------------------------------------------------------------------------


OUTBOX: Final = Outbox(OutboxEvent)


class Unsaid(Protocol):
    """A failure that may not have been announced, and the keys under which it would have been."""

    @property
    def outgoing(self) -> Outgoing: ...
    @property
    def said_as(self) -> tuple[str, ...]: ...


def already_queued(session: Session, event_ids: Sequence[str]) -> set[str]:
    """Which of these events the outbox has, under whatever dedupe key."""
    return set(
        session.scalars(select(OutboxEvent.event_id).where(OutboxEvent.event_id.in_(event_ids)))
    )


def announce_unsaid(session: Session, unsaid: Sequence[Unsaid], now: dt.datetime) -> list[str]:
    """Queue those failures that were announced under none of their keys; returns the ids of the new events."""
    keys = [key for one in unsaid for key in one.said_as]
    said = set(
        session.scalars(select(OutboxEvent.dedupe_key).where(OutboxEvent.dedupe_key.in_(keys)))
    )
    fresh = [one.outgoing for one in unsaid if said.isdisjoint(one.said_as)]
    return OUTBOX.add(session, fresh, now)


# --- reconciliation ------------------------------------------------------------------------------------------

STRIPE_LOG: Final = "stripe"
SWEEP: Final = "sweep"
"""When unpaid invoices were last looked through."""
ANNOUNCED_FROM: Final = "announced_from"
"""What failed before this moment was there before Portico was: the sweep announces none of it."""


def reconciled_until(session: Session, now: dt.datetime) -> dt.datetime | None:
    """How far the log has been walked; None at the very first call, which sets the cursor to now, and draws the line
    `ANNOUNCED_FROM`: what is unpaid by now was there before us. (An installation that is older than the line has none.)"""
    table = cast(Table, Reconciliation.__table__)
    row = {"name": STRIPE_LOG, "until": now}
    if insert_new(session, table, [row], conflict=["name"], returning="name"):
        keep_moment(session, ANNOUNCED_FROM, now)
        return None
    return moment_of(session, STRIPE_LOG)


def moment_of(session: Session, name: str) -> dt.datetime | None:
    """A moment that reconciliation keeps under a name."""
    return session.scalar(select(Reconciliation.until).where(Reconciliation.name == name))


def keep_moment(session: Session, name: str, moment: dt.datetime) -> None:
    """Keep a moment under a name."""
    table = cast(Table, Reconciliation.__table__)
    row = {"name": name, "until": moment}
    if not insert_new(session, table, [row], conflict=["name"], returning="name"):
        session.execute(
            update(Reconciliation).where(Reconciliation.name == name).values(until=moment)
        )


def webhooks_arrived(session: Session, since: dt.datetime) -> bool:
    """Whether Stripe has delivered anything new since a moment."""
    found = select(InboxEvent.id).where(InboxEvent.received_at > since, InboxEvent.deliveries > 0)
    return session.scalar(found.limit(1)) is not None


def take_reconciliation(
    session: Session, holder: str, now: dt.datetime, until: dt.datetime
) -> bool:
    """Take the log for `holder`, or keep it; False while somebody else has it."""
    reconciled_until(session, now)
    taken = session.execute(
        update(Reconciliation)
        .where(
            Reconciliation.name == STRIPE_LOG,
            or_(
                Reconciliation.holder.is_(None),
                Reconciliation.holder == holder,
                Reconciliation.lease_until <= now,
            ),
        )
        .values(holder=holder, lease_until=until)
        .returning(Reconciliation.name)
    ).all()
    return bool(taken)


def finish_reconciliation(
    session: Session, holder: str, since: dt.datetime, until: dt.datetime
) -> None:
    """Move the cursor to `until`, unless the walk left a gap behind the cursor."""
    session.execute(
        update(Reconciliation)
        .where(
            Reconciliation.name == STRIPE_LOG,
            Reconciliation.holder == holder,
            Reconciliation.until >= since,
            Reconciliation.until < until,
        )
        .values(until=until)
    )


def release_reconciliation(session: Session, holder: str) -> None:
    """Give the log back, if it is still ours."""
    session.execute(
        update(Reconciliation)
        .where(Reconciliation.name == STRIPE_LOG, Reconciliation.holder == holder)
        .values(holder=None, lease_until=None)
    )


# --- recoveries ----------------------------------------------------------------------------------------------


def take_lease(
    session: Session, stripe_customer_id: str, holder: str, now: dt.datetime, until: dt.datetime
) -> bool:
    """Take the customer for `holder`, or keep it; False while somebody else has it."""
    table = cast(Table, RecoveryLease.__table__)
    row = {"stripe_customer_id": stripe_customer_id, "holder": holder, "until": until}
    if insert_new(
        session, table, [row], conflict=["stripe_customer_id"], returning="stripe_customer_id"
    ):
        return True
    taken = session.execute(
        update(RecoveryLease)
        .where(
            RecoveryLease.stripe_customer_id == stripe_customer_id,
            or_(RecoveryLease.holder == holder, RecoveryLease.until <= now),
        )
        .values(holder=holder, until=until)
        .returning(RecoveryLease.holder)
    ).all()
    return bool(taken)


def release_lease(session: Session, stripe_customer_id: str, holder: str) -> None:
    """Give the customer back, if it is still ours."""
    session.execute(
        delete(RecoveryLease).where(
            RecoveryLease.stripe_customer_id == stripe_customer_id, RecoveryLease.holder == holder
        )
    )


def ran_since(
    session: Session,
    stripe_customer_id: str,
    payment_method: str,
    scope: str,
    since: dt.datetime,
) -> bool:
    """Whether this card was tried to the end for this scope, or for everything, since then."""
    found = session.scalar(
        select(RecoveryRun.finished_at)
        .where(
            and_(
                RecoveryRun.stripe_customer_id == stripe_customer_id,
                RecoveryRun.payment_method_id == payment_method,
                RecoveryRun.scope.in_({scope, ""}),
                RecoveryRun.finished_at > since,
            )
        )
        .limit(1)
    )
    return found is not None


def finish_run(
    session: Session, stripe_customer_id: str, payment_method: str, scope: str, now: dt.datetime
) -> None:
    """Remember that this card was tried to the end."""
    session.merge(
        RecoveryRun(
            stripe_customer_id=stripe_customer_id,
            payment_method_id=payment_method,
            scope=scope,
            finished_at=now,
        )
    )


def record_recovery(
    session: Session,
    *,
    stripe_customer_id: str,
    invoice_id: str,
    payment_method: str,
    attempt: int,
    payment: Payment,
    now: dt.datetime,
) -> None:
    """Keep the outcome of one try; a repeated try of the same card and attempt overwrites it."""
    session.merge(
        Recovery(
            invoice_id=invoice_id,
            payment_method_id=payment_method,
            attempt=attempt,
            stripe_customer_id=stripe_customer_id,
            outcome=payment.outcome.value,
            detail=payment.detail,
            at=now,
        )
    )


def recoveries(
    session: Session, *, stripe_customer_id: str | None, invoice_id: str | None, limit: int
) -> Sequence[Recovery]:
    """Tries, newest first."""
    statement = select(Recovery).order_by(Recovery.at.desc())
    if stripe_customer_id is not None:
        statement = statement.where(Recovery.stripe_customer_id == stripe_customer_id)
    if invoice_id is not None:
        statement = statement.where(Recovery.invoice_id == invoice_id)
    return session.scalars(statement.limit(limit)).all()


# --- portal configurations -----------------------------------------------------------------------------------


def stored_configuration(session: Session, key: str, livemode: bool) -> str | None:
    """The configuration recorded under this key for this mode."""
    row = session.get(StoredConfiguration, (key, livemode))
    return row.configuration_id if row else None


def record_configuration(
    session: Session, key: str, livemode: bool, configuration_id: str, now: dt.datetime
) -> None:
    """Record which configuration to use."""
    session.merge(
        StoredConfiguration(
            key=key, livemode=livemode, configuration_id=configuration_id, recorded_at=now
        )
    )


def forget_configuration(session: Session, key: str, livemode: bool, configuration_id: str) -> None:
    """Forget one that Stripe does not know any more; a newer record stays."""
    session.execute(
        delete(StoredConfiguration).where(
            StoredConfiguration.key == key,
            StoredConfiguration.livemode == livemode,
            StoredConfiguration.configuration_id == configuration_id,
        )
    )
