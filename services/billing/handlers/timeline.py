"""Looking back: what billing knows of an invoice, a customer or an event, as steps of a time line."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy.orm import Session

from services.billing.models import DeadLetterAction, InboxEvent, OutboxEvent, PaymentMethodChange
from services.billing.queries import inbox, outbox, payment_method_changes, payment_tries
from services.billing.queries import timeline as queries
from services.billing.queries.erasure import ERASED
from services.billing.stripe_events.translation import ROUTES, Status
from shared.contracts.accounts import OWN, Account, StripeId, our_event_id
from shared.contracts.rpc.base import Timeline, TimelineStep, at_or_since
from shared.contracts.rpc.billing import RecoveryAttempt

MOST_EVENTS: Final = 200
MOST_CARD_EVENTS: Final = 50
AT_ONCE: Final = dt.timedelta(seconds=5)
"""What is queued is published within this time where all is well."""


def story(
    session: Session,
    account: Account,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    event_id: str | None,
    now: dt.datetime,
) -> Timeline:
    """The steps in order, and the ids met on the way.

    By event: that one alone. By invoice: its events, and new cards of its customer since the first of them. By
    customer: the newest 200 events. Older ones are left out. What is true only now (an event that waits to be published, a
    change of card that waits) stands at `now`.
    """
    if event_id is not None:
        row = inbox.inbox_event(session, StripeId(account, event_id))
        rows = [row] if row is not None else []
    else:
        rows = queries.inbox_about(
            session,
            account,
            object_id=invoice_id,
            stripe_customer_id=None if invoice_id else stripe_customer_id,
            limit=MOST_EVENTS,
        )
    customers = {row.stripe_customer_id for row in rows if row.stripe_customer_id}
    if invoice_id is not None and rows:
        known = {row.id for row in rows}
        for customer in sorted(customers):
            rows += [
                row
                for row in queries.cards_changed(
                    session, StripeId(account, customer), rows[0].received_at, MOST_CARD_EVENTS
                )
                if row.id not in known
            ]
    ids = [row.id for row in rows]
    names = [StripeId(account, one) for one in ids]
    published = outbox.published_of(session, names)
    steps = [step for row in rows for step in _inbox_steps(row, published)]
    steps += [step for row in published for step in _outbox_steps(row, now)]
    steps += [_dead_letter_step(row) for row in queries.dead_letter_actions(session, names)]
    whose = None if invoice_id or event_id else stripe_customer_id
    change_ids = set()
    if event_id is not None:
        change = payment_method_changes.change_told_by(session, StripeId(account, event_id))
        change_ids |= {change.id} if change else set()
    else:
        tries = payment_tries.recoveries(
            session, account, stripe_customer_id=whose, invoice_id=invoice_id, limit=MOST_EVENTS
        )
        steps += [_recovery_step(one) for one in tries]
        change_ids |= {one.change_id for one in tries if one.change_id}
    changes = payment_method_changes.changes_about(
        session,
        account,
        stripe_customer_id=whose,
        change_ids=sorted(change_ids),
        limit=MOST_CARD_EVENTS,
    )
    told = payment_method_changes.told_by(session, account, [row.id for row in changes])
    begins = _begins(rows) if invoice_id is not None else None
    steps += [
        step
        for row in changes
        for step in _change_steps(row, told[row.id], now)
        if begins is None or step.at >= begins
    ]
    return Timeline(
        steps=sorted(steps, key=lambda step: step.at),
        invoices=sorted(
            {row.object_id for row in rows if row.object_id and row.object_id.startswith("in_")}
        ),
        stripe_customers=sorted(customers),
        events=ids,
    )


def _begins(rows: list[InboxEvent]) -> dt.datetime | None:
    """When the story of an invoice begins: with the first of its events, by Stripe's clock or ours."""
    return min(
        (
            at
            for row in rows
            for at in (
                row.received_at,
                row.created and dt.datetime.fromtimestamp(row.created, dt.UTC),
            )
            if at
        ),
        default=None,
    )


def _step(at: dt.datetime, what: str, text: str, **more: Any) -> TimelineStep:
    return TimelineStep(at=at, service="billing", step=what, text=text, **more)


def _inbox_steps(row: InboxEvent, published: list[OutboxEvent]) -> list[TimelineStep]:
    more = {"event_id": row.id, "object_id": row.object_id}
    came = "Stripe delivered" if row.deliveries else "no webhook came; found in Stripe's log:"
    steps = [_step(row.received_at, "received", f"{came} {row.type}", **more)]
    if row.reason == ERASED:
        text = f"{row.type}: what it held was erased, and what was said of it"
        steps.append(_step(row.received_at, "erased", text, **more))
    elif row.status != Status.TRANSLATED:
        # Closed is what became of one that was quarantined when it came.
        status = Status.QUARANTINED if row.status == Status.CLOSED else row.status
        steps.append(_step(row.received_at, str(status), f"{row.type}: {row.reason}", **more))
    elif row.type in ROUTES and not any(
        one.event_id.startswith(our_event_id(row.account or OWN, row.id, "")) for one in published
    ):
        text = f"{row.type}: said before, by another Stripe event for the same thing"
        steps.append(_step(row.received_at, "deduped", text, **more))
    if row.deliveries > 1 and row.last_delivered_at is not None:
        # At least: copies that came at the very same moment may not have been counted.
        times = "once" if row.deliveries == 2 else f"{row.deliveries - 1} times"
        text = f"{row.type} delivered again, at least {times}, without effect"
        steps.append(_step(row.last_delivered_at, "deduped", text, **more))
    if row.closed_at is not None:
        who = f" by {row.closed_by}" if row.closed_by else ""
        text = f"{row.type} closed by hand{who}: {row.closed_reason or ERASED}"
        steps.append(_step(row.closed_at, "closed", text, **more))
    if row.replays and row.replayed_at is not None:
        text = f"{row.type} translated again by hand ({row.replays}x), now {row.status}"
        steps.append(_step(row.replayed_at, "replayed", text, **more))
    return steps


def _outbox_steps(row: OutboxEvent, now: dt.datetime) -> list[TimelineStep]:
    more = {"event_id": row.event_id}
    steps = [_step(row.created_at, "queued", f"{row.type} queued for the other services", **more)]
    if row.published_at is not None:
        tries = f" after {row.attempts} failed tries" if row.attempts else ""
        steps.append(_step(row.published_at, "published", f"{row.type} published{tries}", **more))
    elif row.attempts:
        due = at_or_since(row.next_attempt_at, now)
        text = f"{row.type} not published after {row.attempts} failed tries, next {due}: {row.last_error}"
        steps.append(_step(now, "not_published", text, **more, until=row.next_attempt_at))
    elif now - row.created_at > AT_ONCE:
        text = f"{row.type} not published, and not refused either: the broker or the relay is away"
        steps.append(_step(now, "not_published", text, **more))
    return steps


def _dead_letter_step(row: DeadLetterAction) -> TimelineStep:
    text = f"dead letter of {row.queue} {row.action} by hand; it had been given up: {row.reason}"
    return _step(row.at, f"dead_letter_{row.action}", text, event_id=row.event_id)


WORDS: Final = {
    "unknown": "asked of the new payment method; Stripe's answer is not known yet",
    "paid": "paid with the new payment method",
    "already_paid": "was paid already when the new payment method was tried",
    "already_tried": "was just tried with the new payment method by Stripe itself, and declined",
    "processing": "charged to the new payment method, which settles in days",
    "declined": "declined on the new payment method",
    "authentication_required": "needs the customer's confirmation on the new payment method",
    "closed": "was closed when the new payment method was tried",
    "refused": "refused by Stripe for the new payment method",
    "not_allowed": "not tried: Stripe doesn't let a platform pay it, since another made its subscription",
    "not_charged": "not charged: Stripe's answer was lost, and it shows no charge",
    "capped": "not tried: it was tried as often as banks put up with",
    "observed": "not charged to the new payment method: the business observes",
}


def _recovery_step(one: RecoveryAttempt) -> TimelineStep:
    text = f"retried at once: {one.invoice_id} {WORDS.get(one.outcome, one.outcome)}"
    detail = f" ({one.detail})" if one.detail else ""
    more = {"change_id": one.change_id} if one.change_id else {}
    return _step(
        one.at, "retried", text + detail, object_id=one.invoice_id, outcome=one.outcome, **more
    )


ENDS: Final = {
    "done": "carried out",
    "no_card": "left alone: it is not what would be charged any more",
    "gone": "left alone: its customer or subscription is gone",
    "observed": "left alone for good: the business observes",
}


def _change_steps(
    row: PaymentMethodChange, told: list[str], now: dt.datetime
) -> list[TimelineStep]:
    card = f"change of card to {row.payment_method_id}"
    more = {"change_id": row.id, "event_id": row.id}
    text = f"{card}, told by {', '.join(told)}"
    steps = [_step(row.opened_at, "card_changed", text, **more)]
    if row.closed_at is not None:
        text = f"{card} {ENDS.get(row.outcome or '', row.outcome)}"
        steps.append(_step(row.closed_at, "card_change_ended", text, **more))
    else:
        text = f"{card} is open: billing goes on with it {at_or_since(row.due_at, now)}"
        steps.append(_step(now, "card_change_due", text, **more, until=row.due_at))
    return steps
