"""Webhooks in one statement on PostgreSQL, in several on SQLite: what they leave behind and answer is the same."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from services.billing.handlers.inbox import Outcome, Received, keep, read_webhook, store_webhooks
from services.billing.models import (
    Base,
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PlatformRefusal,
)
from services.billing.stripe_events.translation import Status
from shared.contracts.accounts import OWN, Account, in_account
from shared.database import Transactions, UnstorableValue, make_engine
from shared.nameko_ext.batching import Failed, in_halves
from shared.outbox import Outgoing
from tests.fixtures.accounts import OWN_ALONE
from tests.unit import accounts, tables
from tests.unit.billing.conftest import NOW, Edit, payload

LATER = NOW + dt.timedelta(minutes=10)
FAILED = "invoice.payment_failed"

Batches = Sequence[Sequence[Received]]
Left = tuple[list[list[Outcome]], dict[str, list[dict[str, Any]]]]


@pytest.fixture
def postgresql(database: Callable[[str], str]) -> Iterator[Transactions]:
    engine = make_engine(database("billing"))
    accounts.watch(engine)
    yield Transactions(engine)
    engine.dispose()


@pytest.fixture
def sqlite() -> Transactions:
    return tables.empty(Base.metadata)


def received(name: str, event_id: str, edit: Edit | None = None) -> Received:
    """The golden event under another id."""

    def edited(event: dict[str, Any]) -> None:
        event["id"] = event_id
        if edit is not None:
            edit(event)

    return read_webhook(payload(name, edited), directory=OWN_ALONE)


def about(invoice: str, **fields: Any) -> Edit:
    return lambda event: event["data"]["object"].update({"id": invoice, **fields})


def elsewhere(one: Received, account: Account = Account("acct_1")) -> Received:  # noqa: B008
    """The same event of another account, translated as if that were served already."""

    def said(outgoing: Outgoing) -> Outgoing:
        event, again = outgoing.event, outgoing.again_key
        data = msgspec.structs.replace(event.data, account=account)
        return Outgoing(
            msgspec.structs.replace(event, id=in_account(account, event.id), data=data),
            in_account(account, outgoing.dedupe_key),
            in_account(account, again) if again else None,
        )

    translation = replace(one.translation, outgoing=tuple(map(said, one.translation.outgoing)))
    event = msgspec.structs.replace(one.event, account=account)
    return replace(one, event=event, translation=translation)


def session_event(event_id: str) -> Received:
    event = {
        "id": event_id,
        "type": "billing_portal.session.created",
        "created": 1,
        "livemode": False,
        "data": {"object": {"id": "bps_1", "url": "https://billing.stripe.com/p/session/secret"}},
    }
    return read_webhook(json.dumps(event).encode(), directory=OWN_ALONE)


def waiting(
    change_id: str, customer: str, closed: bool = False, account: str = OWN
) -> PaymentMethodChange:
    """A change of card that goes on by itself only later."""
    return PaymentMethodChange(
        id=change_id,
        account=account,
        stripe_customer_id=customer,
        payment_method_id="pm_1",
        set_at=NOW,
        opened_at=NOW,
        runs=1,
        due_at=LATER,
        closed_at=NOW if closed else None,
    )


def keeping(account: str, card: str | None = "pm_new") -> PlatformRefusal:
    """The subscription of the golden failures is not charged to its customer's new card, where there is one."""
    return PlatformRefusal(
        account=account,
        subscription_id="sub_1SLb9u2eZvKYlo2CkQ6vTn3D",
        stripe_customer_id="cus_a",
        payment_method_id=card,
        refused_at=NOW,
    )


def left(database: Transactions, batches: Batches, *, delivered: bool = True) -> Left:
    """What each batch was answered, and every row of the tables afterwards."""
    with database.transaction() as session:
        session.add_all(
            [
                *(waiting("a", "cus_a"), waiting("b", "cus_b"), waiting("c", "cus_a", closed=True)),
                waiting("d", "cus_a", account="acct_1"),
                *(keeping(OWN), keeping("acct_1"), keeping("acct_2", card=None)),
            ]
        )
    answers = []
    for number, batch in enumerate(batches):
        with database.transaction() as session:
            now = NOW + dt.timedelta(seconds=number)
            answers.append(store_webhooks(session, list(batch), now, delivered=delivered))
    return answers, rows(database)


def _order(model: Any) -> list[Any]:
    return [model.id, *([model.account] if hasattr(model, "account") else [])]


def rows(database: Transactions) -> dict[str, list[dict[str, Any]]]:
    with database.reading() as session:
        return {
            model.__tablename__: [
                {column.name: getattr(row, column.name) for column in model.__table__.columns}
                for row in session.scalars(select(model).order_by(*_order(model)))  # type: ignore[attr-defined]
            ]
            for model in (InboxEvent, OutboxEvent, PaymentMethodChange)
        }


STORIES: dict[str, tuple[Batches, list[list[str]]]] = {
    "new ones, out of order": (
        [[received(FAILED, f"evt_{n}", about(f"in_{n}")) for n in (3, 1, 2)]],
        [["translated"] * 3],
    ),
    "one that came before": (
        [
            [received(FAILED, "evt_1")],
            [received(FAILED, "evt_1"), received("invoice.paid", "evt_2"), received(FAILED, "evt_1")],
        ],
        [["translated"], ["duplicate", "translated", "duplicate"]],
    ),
    "the same one in one batch": (
        [[received(FAILED, "evt_1"), received(FAILED, "evt_2", about("in_2")), received(FAILED, "evt_1")]],
        [["translated", "translated", "duplicate"]],
    ),
    "two events for one fact, in one batch and in two": (
        [
            [received("invoice.paid", "evt_1"), received("invoice.payment_succeeded", "evt_2")],
            [received("invoice.paid", "evt_3")],
        ],
        [["translated", "translated"], ["translated"]],
    ),
    "two failures of one attempt, in one batch and in two": (
        [
            [received(FAILED, "evt_1"), received(FAILED, "evt_2")],
            [received(FAILED, "evt_3"), received(FAILED, "evt_4")],
        ],
        [["translated"] * 2, ["translated"] * 2],
    ),
    "what says several things": (
        [
            [received("customer.updated.default_payment_method", "evt_2")],
            [received("customer.subscription.created", "evt_1")],
        ],
        [["translated"], ["translated"]],
    ),
    "what can't be read": (
        [[received(FAILED, "evt_1", lambda event: event["data"]["object"].pop("currency"))]],
        [["quarantined"]],
    ),
    "what is not ours": (
        [
            [
                received("product.updated", "evt_1"),
                received("invoice.paid", "evt_2", lambda event: event.update(account="acct_1")),
                received("invoice.paid", "evt_3", lambda event: event.update(livemode=True)),
            ]
        ],
        [["ignored", "connected", "quarantined"]],
    ),
    "a secret link, whose payload is not kept": (
        [[session_event("evt_1"), received("invoice.paid", "evt_2")]],
        [["ignored", "translated"]],
    ),
    "what customers may do": (
        [[received("billing_portal.configuration.updated", "evt_1")]],
        [["translated"]],
    ),
    "failures that wake a card, and one of our own": (
        [
            [
                received(FAILED, "evt_1", about("in_1", customer="cus_a")),
                received("invoice.payment_failed.own_retry", "evt_2", about("in_2", customer="cus_b")),
            ]
        ],
        [["translated"] * 2],
    ),
    "two accounts, the same customer": (
        [
            [
                elsewhere(received(FAILED, "evt_1", about("in_1", customer="cus_a"))),
                received(FAILED, "evt_2", about("in_2", customer="cus_b")),
            ]
        ],
        [["translated"] * 2],
    ),
    "two accounts, the same event id": (
        [
            [elsewhere(received(FAILED, "evt_1", about("in_1"))), received(FAILED, "evt_1", about("in_2"))],
            [elsewhere(received(FAILED, "evt_1", about("in_1"))), received(FAILED, "evt_1", about("in_2"))],
        ],
        [["translated"] * 2, ["duplicate"] * 2],
    ),
    "odd texts": (
        [
            [
                received(FAILED, "evt_1", about("in_1", number="it's \"5 %s :now\" \\ \\u0041 €😀\t")),
                received(FAILED, "evt_2", about("in_2", currency="it's %(x)s \\ \x00 {null}")),
            ]
        ],
        [["translated", "quarantined"]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("story", list(STORIES))
def test_both_databases_leave_and_answer_the_same(
    sqlite: Transactions, postgresql: Transactions, story: str, delivered: bool
) -> None:
    """Row by row, column by column, in the same order; and what is expected of it."""
    batches, wanted = STORIES[story]
    answers, found = left(postgresql, batches, delivered=delivered)
    assert [[one.value for one in batch] for batch in answers] == wanted
    there, here = left(sqlite, batches, delivered=delivered), (answers, found)
    assert _without_gaps(here) == _without_gaps(there)


def _without_gaps(told: Left) -> Left:
    """PostgreSQL's sequences leave gaps where a row was not new: only the order of the numbers means anything."""
    answers, found = told
    outbox = [{**row, "id": place} for place, row in enumerate(found["outbox"])]
    return answers, {**found, "outbox": outbox}


def test_a_webhook_leaves_what_it_should(postgresql: Transactions) -> None:
    """The promises by name, on PostgreSQL: order of arrival, a second failure under its own key, counts, cards woken."""
    first, second = (
        received(FAILED, "evt_2", about("in_1", customer="cus_a")),
        received(FAILED, "evt_1", about("in_1", customer="cus_a")),
    )
    answers, found = left(postgresql, [[first, second, first], [first]])
    assert answers == [[Outcome.TRANSLATED] * 2 + [Outcome.DUPLICATE], [Outcome.DUPLICATE]]
    counted = {row["id"]: (row["deliveries"], row["last_delivered_at"]) for row in found["inbox"]}
    assert counted == {"evt_2": (3, NOW + dt.timedelta(seconds=1)), "evt_1": (1, None)}
    assert [row["event_id"] for row in found["outbox"]] == [
        f"evt_2/{FAILED}",
        f"evt_1/{FAILED}",
    ]
    assert [row["dedupe_key"] for row in found["outbox"]] == [
        f"{FAILED}:in_1:1:",
        f"{FAILED}:in_1:1::evt_1",
    ]
    due = {row["id"]: row["due_at"] for row in found["payment_method_changes"]}
    assert due == {"a": NOW, "b": LATER, "c": LATER, "d": LATER}
    assert json.loads(found["inbox"][0]["payload"])["id"] == "evt_1"


def test_a_failed_charge_wakes_cards_of_its_own_account(postgresql: Transactions) -> None:
    """The other account's customer of the same id waits on."""
    failed = elsewhere(received(FAILED, "evt_1", about("in_1", customer="cus_a")))
    _, found = left(postgresql, [[failed]])
    due = {row["id"]: row["due_at"] for row in found["payment_method_changes"]}
    assert due == {"a": LATER, "b": LATER, "c": LATER, "d": NOW}
    assert [row["account"] for row in found["inbox"]] == ["acct_1"]


def test_a_failure_has_the_new_card_tried_where_its_subscription_keeps_an_old_one(
    postgresql: Transactions,
) -> None:
    """On accounts beside the own one, which may change any subscription; not where no card is waiting, and not again by a second delivery."""
    batch = [
        received(FAILED, "evt_1", about("in_1")),
        elsewhere(received(FAILED, "evt_2", about("in_2"))),
        elsewhere(received(FAILED, "evt_3", about("in_3")), Account("acct_2")),
    ]
    _, found = left(postgresql, [batch, batch])
    (told,) = [
        json.loads(row["body"])
        for row in found["outbox"]
        if row["type"] == "customer.payment_method_changed"
    ]
    assert (told["data"]["account"], told["data"]["invoice_id"]) == ("acct_1", "in_2")
    assert told["data"]["payment_method_id"] == "pm_new"


def test_a_batch_is_one_statement(postgresql: Transactions) -> None:
    """Inbox, outbox and cards: between BEGIN and COMMIT PostgreSQL is asked once."""
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    sql_event.listen(postgresql.engine, "before_cursor_execute", note)
    batch = [received(FAILED, f"evt_{n}", about(f"in_{n}", customer="cus_a")) for n in range(9)]
    batch[5:] = map(elsewhere, batch[5:])
    with postgresql.transaction() as session:
        assert store_webhooks(session, batch, NOW) == [Outcome.TRANSLATED] * 9
    assert len(sent) == 1


def test_a_long_payload_is_compressed_fast(postgresql: Transactions) -> None:
    """By LZ4 where the server has it; one that has not keeps its own way."""
    with postgresql.transaction() as session:
        store_webhooks(
            session, [received(FAILED, "evt_1", about("in_1", description="x" * 9000))], NOW
        )
        has_lz4 = session.scalar(
            text(
                "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
            )
        )
        used = session.scalar(text("SELECT pg_column_compression(payload) FROM inbox"))
    assert used == ("lz4" if has_lz4 else "pglz")


def test_a_poison_webhook_fails_alone(postgresql: Transactions) -> None:
    """One row that PostgreSQL refuses fails its own caller; every other one of the batch is stored with what it says."""
    with postgresql.transaction() as session:
        session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN RAISE EXCEPTION ''refused'' USING ERRCODE = ''23514''; END'"
            )
        )
        session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW "
                "WHEN (NEW.event_id LIKE 'evt_17/%') EXECUTE FUNCTION refuse()"
            )
        )

    def work(batch: list[Received]) -> list[Outcome]:
        with postgresql.transaction() as session:
            return store_webhooks(session, batch, NOW)

    batch = [received(FAILED, f"evt_{n}", about(f"in_{n}")) for n in range(40)]
    outcomes = in_halves(work, batch)
    failed = outcomes.pop(17)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, DBAPIError)
    assert outcomes == [Outcome.TRANSLATED] * 39
    found = rows(postgresql)
    assert (len(found["inbox"]), len(found["outbox"])) == (39, 39)


def test_what_a_column_does_not_take_is_set_aside(postgresql: Transactions) -> None:
    """A text too long for its column is no reason to have Stripe repeat the event for days: stored alone, quarantined."""
    good = received(FAILED, "evt_1")
    (outgoing,) = good.translation.outgoing
    long = replace(outgoing, dedupe_key="x" * 2000)
    poison = replace(good, translation=replace(good.translation, outgoing=(long,)))

    def store(one: Received) -> Outcome:
        with postgresql.transaction() as session:
            return store_webhooks(session, [one], NOW)[0]

    with pytest.raises(UnstorableValue):
        store(poison)
    kept, outcome = keep(store, poison)
    assert (outcome, kept.translation.status) == (Outcome.QUARANTINED, Status.QUARANTINED)
    found = rows(postgresql)
    assert [row["status"] for row in found["inbox"]] == ["quarantined"]
    assert found["outbox"] == []


def test_batches_that_say_the_same_in_other_orders_wait_for_each_other_in_no_circle(
    postgresql: Transactions,
) -> None:
    """Other events about the same charges, from the end on: the keys of the outbox are taken in one order, and yet what came first
    is published first."""
    with postgresql.transaction() as session:
        session.execute(
            text(
                "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END'"
            )
        )
        session.execute(
            text(
                "CREATE TRIGGER dawdle AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION dawdle()"
            )
        )
    charges = [f"in_{n}" for n in range(5)]
    batches = [
        [received(FAILED, f"evt_{number}_{one}", about(one)) for one in order]
        for number, order in enumerate((charges, charges[::-1]))
    ]

    def store(batch: list[Received]) -> list[Outcome]:
        with postgresql.transaction() as session:
            return store_webhooks(session, batch, NOW)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(store, batches)) == [[Outcome.TRANSLATED] * 5] * 2
    said = [row["event_id"] for row in rows(postgresql)["outbox"]]
    for number, batch in enumerate(batches):
        mine = [one for one in said if one.startswith(f"evt_{number}_")]
        assert mine == [f"{one.event.id}/{FAILED}" for one in batch]
