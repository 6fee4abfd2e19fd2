"""Store, then acknowledge: inbox and outbox in one commit, each Stripe event once."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import eventlet
import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from services.billing.domain.accounts import Directory
from services.billing.handlers import inbox
from services.billing.handlers.inbox import (
    EVIDENCE_SETTLED,
    Outcome,
    Received,
    read_webhook,
    store_webhooks,
    tell_evidence_again,
)
from services.billing.models import InboxEvent, OutboxEvent
from services.billing.stripe_events.payloads import NotAnEvent
from shared import events
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import NotQuarantined, UnknownInboxEvent
from shared.database import Transactions
from shared.nameko_ext.batching import batch_transactions
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import NOW, Edit, payload
from tests.unit.billing.webhooks import store_webhook
from tests.unit.wire import on_the_wire

inbox_events, replay = on_the_wire(inbox.inbox_events), on_the_wire(inbox.replay)


def receive(database: Transactions, name: str, edit: Edit | None = None) -> Outcome:
    received = read_webhook(payload(name, edit), directory=OWN_ALONE)
    with database.transaction() as session:
        return store_webhook(session, received, NOW)


def outbox(database: Transactions) -> list[OutboxEvent]:
    with database.reading() as session:
        return list(session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)))


def stored(database: Transactions) -> list[InboxEvent]:
    with database.reading() as session:
        return list(session.scalars(select(InboxEvent)))


def test_a_failed_charge_is_stored_and_queued(database: Transactions) -> None:
    """The payload is kept byte for byte, and the event waits in the outbox as it will go over the wire."""
    assert receive(database, "invoice.payment_failed") is Outcome.TRANSLATED
    (row,) = stored(database)
    assert row.payload.encode() == payload("invoice.payment_failed")
    assert (row.status, row.livemode, row.received_at) == ("translated", False, NOW)
    (queued,) = outbox(database)
    assert events.decode(queued.body).id == queued.event_id
    assert queued.published_at is None


def test_the_same_delivery_twice_changes_nothing(database: Transactions) -> None:
    """Stripe delivers at least once; the second delivery is acknowledged and only counted."""
    receive(database, "invoice.payment_failed")
    assert receive(database, "invoice.payment_failed") is Outcome.DUPLICATE
    assert (len(stored(database)), len(outbox(database))) == (1, 1)


def test_two_stripe_events_for_one_change_are_said_once(database: Transactions) -> None:
    """`invoice.paid` and `invoice.payment_succeeded` are both stored; that it is paid, and who paid, goes out once."""
    receive(database, "invoice.paid")
    assert receive(database, "invoice.payment_succeeded") is Outcome.TRANSLATED
    assert len(stored(database)) == 2
    assert [row.type for row in outbox(database)] == ["invoice.paid", "customer.seen"]


def test_one_stripe_event_may_say_several_things(database: Transactions) -> None:
    """A customer's update that carries a link and a new card queues both."""
    receive(database, "customer.updated.default_payment_method")
    assert [row.type for row in outbox(database)] == [
        "customer.evidence_changed",
        "customer.payment_method_changed",
        "customer.seen",
    ]


def numbered(name: str, number: int) -> Received:
    """The golden event under another id, about another invoice."""

    def edit(event: dict[str, Any]) -> None:
        event["id"] = f"evt_{number}"
        event["data"]["object"]["id"] = f"in_{number}"

    return read_webhook(payload(name, edit), directory=OWN_ALONE)


def test_webhooks_that_come_together_share_one_commit(database: Transactions) -> None:
    """On SQLite a batch is one multi-row insert into the inbox and one into the outbox, which keeps the order of arrival."""
    batch = [numbered("invoice.payment_failed", number) for number in (3, 1, 2)]
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    sql_event.listen(database.engine, "before_cursor_execute", note)
    with database.transaction() as session:
        assert store_webhooks(session, batch, NOW) == [Outcome.TRANSLATED] * 3
    sql_event.remove(database.engine, "before_cursor_execute", note)
    assert len([one for one in statements if one.startswith("INSERT")]) == 2
    assert sorted(row.id for row in stored(database)) == ["evt_1", "evt_2", "evt_3"]
    assert [row.event_id.partition("/")[0] for row in outbox(database)] == [
        "evt_3",
        "evt_1",
        "evt_2",
    ]


def test_a_hundred_copies_in_one_batch_are_one_event(database: Transactions) -> None:
    """100 deliveries of one event at the same moment: one row, one event out, 99 told to be duplicates."""
    store = batch_transactions(
        "test", lambda session, batch: store_webhooks(session, batch, NOW), database
    )
    received = numbered("invoice.payment_failed", 1)
    threads = [eventlet.spawn(store, received) for _ in range(100)]
    outcomes = Counter(thread.wait() for thread in threads)
    assert outcomes == {Outcome.TRANSLATED: 1, Outcome.DUPLICATE: 99}
    assert (len(stored(database)), len(outbox(database))) == (1, 1)


@pytest.mark.whole
def test_a_poison_webhook_fails_alone(database: Transactions) -> None:
    """One row that the database refuses is answered with the error; all others of its batch are stored."""
    with database.transaction() as session:
        session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON inbox WHEN NEW.id = 'evt_17' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )
    store = batch_transactions(
        "test", lambda session, batch: store_webhooks(session, batch, NOW), database
    )

    def outcome(number: int) -> Any:
        try:
            return store(numbered("invoice.payment_failed", number))
        except IntegrityError as error:
            return error

    threads = [eventlet.spawn(outcome, number) for number in range(50)]
    outcomes = [thread.wait() for thread in threads]
    assert isinstance(outcomes.pop(17), IntegrityError)
    assert outcomes == [Outcome.TRANSLATED] * 49
    assert (len(stored(database)), len(outbox(database))) == (49, 49)


def test_other_types_are_stored_and_acknowledged(database: Transactions) -> None:
    """An event that is not for us is kept as ignored, so that an upgrade may read it later."""
    assert receive(database, "product.updated") is Outcome.IGNORED
    assert [row.status for row in stored(database)] == ["ignored"]


def test_what_we_cannot_read_is_kept_with_the_reason(database: Transactions) -> None:
    """A well-signed event of an unknown shape is quarantined, not refused, and nothing goes out."""

    def broken(event: dict[str, Any]) -> None:
        del event["data"]["object"]["currency"]

    assert receive(database, "invoice.payment_failed", broken) is Outcome.QUARANTINED
    (row,) = stored(database)
    assert row.reason is not None
    assert "currency" in row.reason
    assert outbox(database) == []


def test_a_portal_sessions_url_is_never_stored() -> None:
    """Stripe's own event about a portal session carries its URL: the payload is not kept."""
    event = {
        "id": "evt_1",
        "type": "billing_portal.session.created",
        "created": 1,
        "livemode": False,
        "data": {"object": {"url": "https://billing.stripe.com/p/session/secret"}},
    }
    assert read_webhook(json.dumps(event).encode(), directory=OWN_ALONE).payload == ""


@pytest.mark.parametrize("body", [b'{"id": "evt_1", "type": "a", "x": "\xff"}', b"\xff", b"[1]"])
def test_what_is_no_event_is_refused_before_the_database(body: bytes) -> None:
    """Bytes that are not UTF-8, not JSON or not an event never reach a transaction."""
    with pytest.raises(NotAnEvent):
        read_webhook(body, directory=OWN_ALONE)


def test_an_event_that_fails_to_queue_is_not_stored_either(database: Transactions) -> None:
    """Inbox and outbox are one commit: a crash between them leaves nothing, and Stripe delivers again."""
    received = read_webhook(payload("invoice.payment_failed"), directory=OWN_ALONE)
    with pytest.raises(RuntimeError), database.transaction() as session:
        store_webhook(session, received, NOW)
        raise RuntimeError("the process dies before the commit")
    assert (stored(database), outbox(database)) == ([], [])
    assert receive(database, "invoice.payment_failed") is Outcome.TRANSLATED


# --- replay --------------------------------------------------------------------------------------------------


def do_replay(database: Transactions, event_id: str, *, livemode: bool = False) -> dict[str, Any]:
    with database.transaction() as session:
        return replay(
            session, StripeId(OWN, event_id), directory=Directory(livemode=livemode), now=NOW
        )


def quarantine_then_upgrade(database: Transactions) -> str:
    """Store an event that was unreadable at the time, though today's code reads it."""
    receive(database, "invoice.payment_failed")
    with database.transaction() as session:
        row = session.scalars(select(InboxEvent)).one()
        row.status, row.reason = "quarantined", "an older version could not read it"
        session.delete(session.scalars(select(OutboxEvent)).one())
        return row.id


def test_a_quarantined_event_can_be_replayed_after_an_upgrade(database: Transactions) -> None:
    """What can be read now goes out now; a second replay says nothing twice."""
    event_id = quarantine_then_upgrade(database)
    first = do_replay(database, event_id)
    assert first == {
        "event_id": event_id,
        "status": "translated",
        "reason": None,
        "queued": [f"{event_id}/invoice.payment_failed"],
    }
    assert do_replay(database, event_id)["queued"] == []
    assert len(outbox(database)) == 1


def test_a_replay_of_what_still_cannot_be_read_keeps_the_reason(database: Transactions) -> None:
    """Replaying changes nothing while the reason stands."""
    receive(database, "invoice.payment_failed", lambda event: event.pop("livemode"))
    result = do_replay(database, stored(database)[0].id)
    assert (result["status"], result["queued"]) == ("quarantined", [])
    assert "livemode" in result["reason"]


def test_a_translated_event_stays_translated_under_the_other_key(database: Transactions) -> None:
    """Replaying with a key of the other mode does not turn what was said into a quarantine."""
    receive(database, "invoice.payment_failed")
    event_id = stored(database)[0].id
    assert do_replay(database, event_id, livemode=True)["status"] == "translated"


def test_replaying_an_unknown_event_says_so(database: Transactions) -> None:
    """There is nothing to translate for an id that was never stored."""
    with pytest.raises(UnknownInboxEvent):
        do_replay(database, "evt_never")


# --- closing -------------------------------------------------------------------------------------------------


def close(database: Transactions, event_id: str, reason: str = "a test of ours") -> dict[str, Any]:
    with database.transaction() as session:
        closed, _ = inbox.close_event(
            session, StripeId(OWN, event_id), reason=reason, by="dana", now=NOW
        )
        told: dict[str, Any] = plain(closed)
    return told


def quarantined(database: Transactions) -> str:
    receive(database, "invoice.payment_failed", lambda event: event.pop("livemode"))
    return stored(database)[0].id


def test_a_person_closes_a_quarantined_event_once(database: Transactions) -> None:
    """Who, when, why and what it was quarantined for are kept; closing it again changes nothing, nor does Stripe's repeating it."""
    event_id = quarantined(database)
    first = close(database, event_id)
    assert (first["status"], first["closed_by"]) == ("closed", "dana")
    assert (first["closed_at"], first["closed_reason"]) == (NOW.isoformat(), "a test of ours")
    assert "livemode" in first["reason"]
    assert close(database, event_id, "another reason") == first
    repeated = receive(database, "invoice.payment_failed", lambda event: event.pop("livemode"))
    assert (repeated, stored(database)[0].status) == (Outcome.DUPLICATE, "closed")


def test_only_what_is_quarantined_can_be_closed(database: Transactions) -> None:
    """What was translated needs nobody; what was never stored can't be."""
    receive(database, "invoice.payment_failed")
    with pytest.raises(NotQuarantined, match="is translated"):
        close(database, stored(database)[0].id)
    with pytest.raises(UnknownInboxEvent):
        close(database, "evt_never")


def test_a_replay_opens_a_closed_event_again(database: Transactions) -> None:
    """Still unreadable, somebody has to look again; readable, it is translated and said."""
    event_id = quarantined(database)
    close(database, event_id)
    assert do_replay(database, event_id)["status"] == "quarantined"
    assert close(database, event_id, "looked again")["closed_reason"] == "looked again"
    with database.transaction() as session:
        row = session.get_one(InboxEvent, (OWN, event_id))
        row.payload = payload("invoice.payment_failed").decode()
    assert do_replay(database, event_id)["status"] == "translated"
    assert len(outbox(database)) == 1


def test_the_inbox_can_be_read_by_status_and_type(database: Transactions) -> None:
    """Ops see what came, newest first and without payloads."""
    for name in ("invoice.payment_failed", "product.updated", "customer.deleted"):
        receive(database, name)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(InboxEvent)) == 3
        (ignored,) = inbox_events(session, status="ignored", type=None, before=None, limit=9)
        (deleted,) = inbox_events(
            session, status=None, type="customer.deleted", before=None, limit=9
        )
        assert inbox_events(session, status=None, type=None, before=NOW, limit=9) == []
    assert ignored["type"] == "product.updated"
    assert deleted["event_id"] == "evt_1SWrZA2eZvKYlo2CdElEtEd1"
    assert "payload" not in deleted


def old_release(database: Transactions, event_id: str, at: dt.datetime = NOW) -> None:
    """A replica of the release before stores an event, and says of it only what it knew to say."""

    def edit(event: dict[str, Any]) -> None:
        event["id"] = event_id

    received = read_webhook(payload("customer.updated.metadata", edit), directory=OWN_ALONE)
    with database.transaction() as session:
        nothing = replace(received.translation, outgoing=())
        store_webhook(session, replace(received, translation=nothing), at)


def tell_again(database: Transactions, now: dt.datetime) -> int | None:
    with database.transaction() as session:
        return tell_evidence_again(session, directory=OWN_ALONE, now=now)


def test_evidence_that_an_old_replica_took_in_is_told_again(database: Transactions) -> None:
    """However long both releases run side by side, each stored event is looked at once more, and said once."""
    later = NOW + EVIDENCE_SETTLED
    old_release(database, "evt_1")
    assert tell_again(database, NOW) == 0, "rows of this moment may still become visible"
    assert tell_again(database, later) == 1
    assert tell_again(database, later) == 0
    receive(database, "customer.created")
    old_release(database, "evt_2", later)
    assert tell_again(database, later + EVIDENCE_SETTLED) == 1
    evidence = [row for row in outbox(database) if row.type == "customer.evidence_changed"]
    assert [(row.type, row.event_id.partition("/")[0]) for row in evidence] == [
        ("customer.evidence_changed", "evt_1"),
        ("customer.evidence_changed", json.loads(payload("customer.created"))["id"]),
        ("customer.evidence_changed", "evt_2"),
    ]


def test_no_event_falls_between_two_rounds(
    database: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events received in the same moment are one portion, however many they are."""
    monkeypatch.setattr(inbox, "EVIDENCE_BATCH", 2)
    for number in range(5):
        old_release(database, f"evt_{number}")
    old_release(database, "evt_5", NOW + dt.timedelta(seconds=1))
    later = NOW + EVIDENCE_SETTLED + dt.timedelta(seconds=1)
    assert [tell_again(database, later) for _ in range(3)] == [5, 1, 0]


def test_a_body_that_was_erased_tells_nothing(database: Transactions) -> None:
    """A customer who was forgotten stays so."""
    old_release(database, "evt_1")
    with database.transaction() as session:
        session.execute(update(InboxEvent).values(payload=""))
    assert tell_again(database, NOW + EVIDENCE_SETTLED) == 0


def test_pages_of_events_leave_none_out_that_came_at_one_moment(database: Transactions) -> None:
    """Webhooks that were stored together have one time: the next page begins after an event, by its id."""
    for name in ("invoice.payment_failed", "invoice.paid", "invoice.voided"):
        receive(database, name)
    seen: list[str] = []
    page: dict[str, Any] = {"before": None, "before_id": None}
    with database.reading() as session:
        while rows := inbox_events(session, status=None, type=None, limit=1, **page):
            seen += [row["event_id"] for row in rows]
            page = {"before": NOW, "before_id": seen[-1]}
    assert seen == sorted((row.id for row in stored(database)), reverse=True)
    assert len(seen) == 3
