"""Webhooks that came together, stored: inbox, outbox and whom a failed charge wakes, in the caller's one transaction.

On PostgreSQL that is one statement, whose parts see the inbox as it was before: what a part needs of another it gets by
`RETURNING` (https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING). SQLite has no `INSERT` in a `WITH` and
gets a statement for each. `tests/contract/test_intake.py` holds both to the same outcome.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.billing.models import InboxEvent
from services.billing.queries import outbox, payment_method_changes, platform_refusals
from services.billing.stripe_events.payloads import StripeEvent, subject_of
from services.billing.stripe_events.translation import Translation
from shared import events
from shared.contracts.accounts import Account, StripeId
from shared.prepared import prepared
from shared.statements import Kept, insert_new, table_of

Arrival = tuple[StripeEvent, str, Translation]
"""A signed event, its payload as it is stored, and what it means."""


def store(
    session: Session,
    arrivals: Sequence[Arrival],
    now: dt.datetime,
    *,
    delivered: bool = True,
    subscriptions: Mapping[StripeId, str] = MappingProxyType({}),
) -> dict[StripeId, bool]:
    """Write events that differ by their names to the inbox, and of those that are new there what they say to the outbox, in the
    order in which they came; the names of the new ones, each with whether its subscription, by `subscriptions`, keeps an old card beside a
    new one. `delivered`: by webhooks, not read from Stripe's log.

    The inbox is written in the order of ids and the outbox in that of keys, so that two batches with the same events never wait
    for each other in a circle.
    """
    ordered = sorted(arrivals, key=lambda one: (one[0].id, one[0].account))
    if session.get_bind().dialect.name == "postgresql":
        return _in_one_statement(session, arrivals, ordered, now, delivered, subscriptions)
    return _in_several(session, arrivals, ordered, now, delivered, subscriptions)


def _inbox_row(arrival: Arrival) -> dict[str, Any]:
    """What differs between the rows of one batch, but for the payload."""
    event, _, translation = arrival
    subject = subject_of(event)
    return {
        "id": event.id,
        "type": event.type,
        "api_version": event.api_version,
        "livemode": event.livemode,
        "account": event.account,
        "created": event.created,
        "status": translation.status,
        "reason": translation.reason,
        "object_id": subject.object_id,
        "stripe_customer_id": subject.stripe_customer_id,
    }


def _wakes(translation: Translation) -> str | None:
    """The Stripe customer, of the event's account, whose charge failed: a card that came while a debit was under way, and waits
    for its end, has its turn."""
    for one in translation.outgoing:
        data = one.event.data
        if isinstance(data, events.InvoicePaymentFailed) and not data.own_retry:
            return data.stripe_customer_id
    return None


def _in_several(
    session: Session,
    arrivals: Sequence[Arrival],
    ordered: Sequence[Arrival],
    now: dt.datetime,
    delivered: bool,
    subscriptions: Mapping[StripeId, str],
) -> dict[StripeId, bool]:
    constant = {"received_at": now, "deliveries": int(delivered), "replays": 0}
    rows = [{**_inbox_row(one), "payload": one[1], **constant} for one in ordered]
    new = insert_new(session, table_of(InboxEvent), rows, returning=("account", "id"))
    fresh = {StripeId(Account(account), event_id) for account, event_id in new}
    told = [one for one in arrivals if one[0].name in fresh]
    outgoing = [one for _, _, translation in told for one in translation.outgoing]
    outbox.OUTBOX.add(session, outgoing, now)
    customers = {
        StripeId(event.account, customer)
        for event, _, translation in told
        if (customer := _wakes(translation)) is not None
    }
    if customers:
        payment_method_changes.wake(session, customers, now)
    named = {
        one: StripeId(one.account, subscriptions[one]) for one in fresh if one in subscriptions
    }
    kept = platform_refusals.keeping(session, set(named.values())) if named else set()
    return {one: named.get(one) in kept for one in fresh}


_STORE: Final = Kept(
    prepared(
        text("""
WITH arrived AS MATERIALIZED (
    SELECT * FROM ROWS FROM (
        json_to_recordset(CAST(:inbox AS json)) AS (
            id text, type text, api_version text, livemode boolean, account text, created bigint, status text, reason text,
            object_id text, stripe_customer_id text, wakes text, subscription_id text
        ),
        unnest(CAST(:payloads AS text[]))
    ) WITH ORDINALITY AS arrived (
        id, type, api_version, livemode, account, created, status, reason, object_id, stripe_customer_id, wakes, subscription_id,
        payload, place
    )
), stored AS (
    INSERT INTO inbox (
        id, type, api_version, livemode, account, created, status, reason, object_id, stripe_customer_id, payload, received_at,
        deliveries, replays
    )
    SELECT id, type, api_version, livemode, account, created, status, reason, object_id, stripe_customer_id, payload, :now,
        :deliveries, 0
    FROM arrived ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING account, id
), outgoing AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('outbox', 'id')) AS id, came.* FROM (
        SELECT told.* FROM ROWS FROM (
            json_to_recordset(CAST(:outbox AS json)) AS (
                account text, inbox_id text, event_id text, type text, dedupe_key text, again_key text
            ),
            unnest(CAST(:bodies AS text[]))
        ) WITH ORDINALITY AS told (account, inbox_id, event_id, type, dedupe_key, again_key, body, place)
        JOIN stored ON stored.account = told.account AND stored.id = told.inbox_id
        ORDER BY place
    ) AS came
), queued AS (
    INSERT INTO outbox (id, event_id, type, dedupe_key, body, created_at, attempts, next_attempt_at)
    SELECT id, event_id, type, dedupe_key, body, :now, 0, :now
    FROM outgoing ORDER BY dedupe_key, place
    ON CONFLICT (dedupe_key) DO NOTHING
    RETURNING event_id
), queued_again AS (
    INSERT INTO outbox (id, event_id, type, dedupe_key, body, created_at, attempts, next_attempt_at)
    SELECT id, event_id, type, again_key, body, :now, 0, :now
    FROM outgoing
    WHERE again_key IS NOT NULL AND NOT EXISTS (SELECT FROM queued WHERE queued.event_id = outgoing.event_id)
    ORDER BY again_key, place
    ON CONFLICT (dedupe_key) DO NOTHING
), woken AS (
    UPDATE payment_method_changes SET due_at = :now
    WHERE closed_at IS NULL AND due_at > :now
        AND (account, stripe_customer_id) IN (SELECT account, wakes FROM arrived JOIN stored USING (account, id))
)
SELECT account, id, EXISTS (
    SELECT FROM platform_refusals AS kept
    WHERE kept.account = arrived.account AND kept.subscription_id = arrived.subscription_id AND kept.payment_method_id IS NOT NULL
) FROM stored JOIN arrived USING (account, id)
""")
    )
)


def _in_one_statement(
    session: Session,
    arrivals: Sequence[Arrival],
    ordered: Sequence[Arrival],
    now: dt.datetime,
    delivered: bool,
    subscriptions: Mapping[StripeId, str],
) -> dict[StripeId, bool]:
    """Small values travel as JSON, which msgspec makes faster than a driver binds them one by one; long texts, which JSON would
    only make longer, as arrays."""
    inbox = [
        {
            **_inbox_row(one),
            "wakes": _wakes(one[2]),
            "subscription_id": subscriptions.get(one[0].name),
        }
        for one in ordered
    ]
    told = [(event.name, one) for event, _, translation in arrivals for one in translation.outgoing]
    queued = [
        {
            "account": source.account,
            "inbox_id": source.id,
            "event_id": one.event.id,
            "type": one.event.type,
            "dedupe_key": one.dedupe_key,
            "again_key": one.again_key,
        }
        for source, one in told
    ]
    stored = _STORE.run(
        session,
        {
            "inbox": _json(inbox),
            "payloads": [payload for _, payload, _ in ordered],
            "outbox": _json(queued),
            "bodies": [events.encode(one.event).decode() for _, one in told],
            "now": now,
            "deliveries": int(delivered),
        },
    )
    return {StripeId(Account(account), event_id): kept for account, event_id, kept in stored}


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
