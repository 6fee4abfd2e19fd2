"""Odd values in what Stripe and SendGrid send, on real tables: whatever stands where, it is stored, or its one event is set aside."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.billing.handlers import inbox
from services.billing.stripe_events.payloads import NotAnEvent
from services.notifier.adapters.sendgrid.gateway import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignedEvents,
)
from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.delivery_events import DeliveryEvent
from services.notifier.handlers import events as notifier_events
from services.notifier.handlers import feedback
from services.notifier.handlers.invoices import UnreadableEvent
from services.portal.handlers import events as portal_events
from shared import events
from shared.contracts.accounts import OWN, StripeId
from shared.database import Transactions, make_engine
from tests.fixtures.accounts import OWN_ALONE
from tests.fixtures.stripe_events import NAMES, stripe_event

GOLDEN = [stripe_event(name) for name in NAMES]
NOW = dt.datetime(2026, 11, 29, 12, 0, tzinfo=dt.UTC)

_numbers = itertools.count(1)


def _deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


ODD = st.one_of(
    st.sampled_from(
        ["", "\x00", "a\x00b", "\ud800", "\x1b[2J", "\x9b", "\x7f", "x" * 256, "é" * 5000, "a" * 21, "USDT"]
    ),
    st.sampled_from([-1, 1 << 31, 1 << 53, 1 << 63, 1 << 80, 10**400, -(1 << 63), 253402300800, 1.5, 1e300]),
    st.sampled_from([None, True, [], {}, [{}], {"id": "\x00"}, {"id": "x" * 300}, _deep(80)]),
    st.text(max_size=5),
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, one in inside:
        yield (*path, name)
        yield from _places(one, (*path, name))


@st.composite
def odd_documents(draw: st.DrawFn, originals: list[Any]) -> Any:
    """One of the documents with odd values at one to three places."""
    made = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(sorted(_places(made), key=str)))
        holder = made
        for name in way:
            holder = holder[name]
        holder[last] = copy.deepcopy(draw(ODD))
    return made


@pytest.fixture
def tables(database: Callable[[str], str]) -> Iterator[dict[str, Transactions]]:
    made = {
        name: Transactions(make_engine(database(name)))
        for name in ("billing", "portal", "notifier")
    }
    yield made
    for one in made.values():
        one.engine.dispose()


FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(odd_documents(GOLDEN))
def test_stripes_events_go_all_the_way(tables: dict[str, Transactions], event: Any) -> None:
    """A signed event is stored, translated or in quarantine, and what billing says of it fits the tables of all who hear it."""
    if isinstance(event.get("id"), str) and event["id"].startswith("evt_"):
        event["id"] = f"evt_{next(_numbers)}"
    try:
        received = inbox.read_webhook(json.dumps(event).encode(), directory=OWN_ALONE)
    except NotAnEvent:
        return  # without an id or a type of its own: nothing to store it under
    with tables["billing"].transaction() as session:
        inbox.store_webhooks(session, [received], NOW)
    for outgoing in received.translation.outgoing:
        heard = events.decode(events.encode(outgoing.event))
        with tables["portal"].transaction() as session:
            portal_events.handle(session, heard, NOW)
        try:
            with tables["notifier"].transaction() as session:
                notifier_events.handle(session, heard, NOW)
        except UnreadableEvent:
            pass  # a state that the notifier does not know: a dead letter with this reason, at once


def test_an_odd_event_is_read_again(tables: dict[str, Transactions]) -> None:
    """What was stored of a deeply nested event with raw and escaped control characters can be replayed."""
    event = copy.deepcopy(next(one for one in GOLDEN if one["type"] == "invoice.payment_failed"))
    event["data"]["object"] |= {"number": "SUN\x00-1", "lines": "DEEP"}
    body = json.dumps(event).replace('"DEEP"', "[" * 5000 + "]" * 5000).replace("SUN", "SUN\x07")
    received = inbox.read_webhook(body.encode(), directory=OWN_ALONE)
    (outgoing,) = received.translation.outgoing
    assert outgoing.event.data.number == "SUN\ufffd\ufffd-1"  # type: ignore[attr-defined]
    with tables["billing"].transaction() as session:
        assert inbox.store_webhooks(session, [received], NOW) == [inbox.Outcome.TRANSLATED]
    with tables["billing"].transaction() as session:
        again = inbox.replay(session, StripeId(OWN, event["id"]), directory=OWN_ALONE, now=NOW)
    assert again.status == "translated"


KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
).decode()
SIGNED = SignedEvents(PUBLIC)


def read(batch: Any) -> list[DeliveryEvent]:
    """A batch as SendGrid signs it and the webhook reads it."""
    body, stamp = json.dumps(batch).encode(), str(int(NOW.timestamp()))
    signature = KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        TIMESTAMP_HEADER: stamp,
    }
    return SIGNED.read(body, headers, NOW)


def sent(session: Any, count: int) -> list[str]:
    """The ids of mails that are under way."""
    made = [f"ntf_{next(_numbers)}" for _ in range(count)]
    for notification_id in made:
        session.execute(
            text(
                "INSERT INTO notifications (notification_id, dedupe_key, kind, status, attempt, correlation_id, "
                "created_at, due_at, attempts, lookups, unconfirmed_posts) VALUES "
                "(:id, :id, 'payment_failed', 'sent', 0, '', now(), now(), 1, 0, 0)"
            ),
            {"id": notification_id},
        )
    return made


BOUNCE = {
    "event": "bounce",
    "type": "bounce",
    "sg_event_id": "sg",
    "sg_message_id": "abc.filter0001",
    "timestamp": int(NOW.timestamp()),
    "email": "dana@example.com",
    "reason": "550 no such user",
}


@FUZZ
@given(odd_documents([BOUNCE, BOUNCE | {"event": "deferred"}, BOUNCE | {"event": "dropped"}]))
def test_one_odd_event_of_sendgrids_leaves_the_others_alone(
    tables: dict[str, Transactions], odd: Any
) -> None:
    """Read, stored and applied together with a sound one, which has its effect."""
    with tables["notifier"].transaction() as session:
        mine, other = sent(session, 2)
        odd = {"sg_event_id": f"sg_{mine}", **odd, "notification_id": mine}
        sound = BOUNCE | {
            "event": "delivered",
            "sg_event_id": f"sg_{other}",
            "notification_id": other,
        }
        feedback.handle(session, read([odd, sound]), NOW, AddressHasher([]))
    with tables["notifier"].reading() as session:
        state = session.scalar(
            text("SELECT status FROM notifications WHERE notification_id = :id"), {"id": other}
        )
    assert state == "delivered"
