"""What billing's events do to the portal's tables."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.portal.domain.notice import Tone
from services.portal.handlers import timeline as story
from services.portal.handlers.events import (
    ROUTES,
    can_be_imported,
    handle,
    handle_imported,
    handle_invoices,
)
from services.portal.handlers.resolved_links import notice_for
from services.portal.models import (
    CancellationRequestRow,
    CustomerRow,
    InvoiceRow,
    ProcessedEventRow,
    SubscriptionRow,
)
from services.portal.retention import RULES
from shared import events
from shared.contracts.accounts import OWN
from shared.retention import RETENTION, prune_batch
from tests.unit import tables
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    add_first,
    ago,
    ahead,
    event,
    failed,
    invoice_data,
    lookup,
    paid,
    says,
    take_in,
)
from tests.unit.wire import moment, on_the_wire


def changed(
    subscription_id: str | None = None, invoice_id: str | None = None
) -> events.PaymentMethodChanged:
    return events.PaymentMethodChanged(
        stripe_customer_id="cus_1", subscription_id=subscription_id, invoice_id=invoice_id
    )


def tone(session: Session, customer_id: str) -> Tone:
    session.flush()
    snapshot = lookup(session, customer_id, NOW)
    assert snapshot is not None
    return notice_for(snapshot, NOW).tone


@pytest.fixture
def customer_id(session: Session) -> str:
    return tables.filled(session.get_bind().engine, add_first, session)


def test_every_event_of_the_contract_has_a_handler() -> None:
    """What billing sends us is handled, and we wait for nothing that it doesn't send. Evidence has a lane of its own, and so
    has what Stripe tells of its customers."""
    elsewhere = {events.CustomerEvidenceChanged, events.StripeCustomerSeen}
    heard = set(events.CONSUMERS["portal"]) - elsewhere
    about_invoices = {cls for cls in heard if issubclass(cls, events.InvoiceData)}
    assert about_invoices | set(ROUTES) == heard


def test_the_same_event_twice_acts_once(session: Session, customer_id: str) -> None:
    """A redelivered event changes nothing, whatever it carries the second time."""
    assert handle(session, event(failed(), event_id="evt_1"), NOW)
    assert not handle(session, event(failed(amount_remaining=1), event_id="evt_1"), NOW)
    assert session.scalars(select(InvoiceRow.amount_remaining)).all() == [12900]


@pytest.mark.parametrize(
    "data",
    [
        failed(),
        invoice_data(events.InvoicePaymentActionRequired),
        paid(),
        invoice_data(events.InvoiceVoided, status="void"),
        invoice_data(events.InvoiceMarkedUncollectible, status="uncollectible"),
        invoice_data(events.InvoiceUpdated),
        events.CustomerDeleted(stripe_customer_id="cus_1"),
        changed(),
    ],
    ids=lambda data: data.type,
)
def test_handlers_are_idempotent_by_themselves(
    session: Session, customer_id: str, data: events.Data
) -> None:
    """Even when an event comes again under another id, the tables end as after the first."""

    def state() -> object:
        session.flush()
        return [
            sorted(map(str, session.execute(select(*table.c)).all()))
            for table in CustomerRow.metadata.sorted_tables
            if table.name != ProcessedEventRow.__tablename__
        ]

    assert handle(session, event(data, ago(minutes=2)), NOW)
    once = state()
    assert handle(session, event(data, ago(minutes=2)), NOW)
    assert state() == once


@pytest.mark.whole
def test_the_story_ends_the_same_in_any_order(session: Session, customer_id: str) -> None:
    """Failed, dated, card changed, paid: whatever the order of arrival, the page says thank you."""
    story = [
        (failed(), ago(minutes=9)),
        (
            invoice_data(events.InvoiceUpdated, next_payment_attempt=ahead(days=1)),
            ago(minutes=9),
        ),
        (changed(), ago(minutes=5)),
        (paid(), ago(minutes=4)),
    ]
    ends = set()
    for number, order in enumerate(itertools.permutations(story)):
        for data, at in order:
            fresh = data
            if not isinstance(data, events.PaymentMethodChanged):
                fresh = type(data)(**{**_fields(data), "invoice_id": f"in_{number}"})
            handle(session, event(fresh, at), NOW)
        row = session.get(InvoiceRow, (OWN, f"in_{number}"))
        assert row is not None
        ends.add((row.status, row.next_payment_attempt, row.method_changed_at, row.closed_at))
    assert ends == {("paid", ahead(days=1), ago(minutes=5), ago(minutes=4))}
    assert tone(session, customer_id) is Tone.PAID


def _fields(data: events.Data) -> dict[str, object]:
    return {name: getattr(data, name) for name in data.__struct_fields__}


def test_the_page_follows_the_story(session: Session, customer_id: str) -> None:
    """Declined, card saved and settling, declined again, another card, paid."""
    seen = [tone(session, customer_id)]
    for data, at in (
        (failed(), ago(minutes=10)),
        (changed(), ago(minutes=8)),
        (failed(own_retry=True), ago(minutes=7)),
        (changed(), ago(minutes=5)),
        (paid(), ago(minutes=4)),
    ):
        handle(session, event(data, at), NOW)
        seen.append(tone(session, customer_id))
    assert seen == [
        Tone.WELL,
        Tone.DECLINED,
        Tone.SETTLING,
        Tone.STILL_DECLINED,
        Tone.SETTLING,
        Tone.PAID,
    ]


def test_one_subscriptions_new_card_settles_only_its_own_invoice(
    session: Session, customer_id: str
) -> None:
    """A card changed for one subscription says nothing about what another one owes."""
    handle(session, event(failed(), ago(minutes=9)), NOW)
    handle(session, event(changed("sub_2"), ago(minutes=5)), NOW)
    assert tone(session, customer_id) is Tone.DECLINED
    handle(session, event(changed("sub_1"), ago(minutes=5)), NOW)
    assert tone(session, customer_id) is Tone.SETTLING


def test_invoices_wait_for_their_customer(session: Session) -> None:
    """An invoice of an unknown Stripe customer is kept, and shown once the link is there."""
    add_business(session)
    made = add_customer(session)
    handle(session, event(failed(), ago(minutes=9)), NOW)
    assert tone(session, made.customer_id) is Tone.WELL
    take_in(session, says(made.customer_id))
    assert tone(session, made.customer_id) is Tone.DECLINED


def test_processed_events_are_forgotten_in_time(session: Session, customer_id: str) -> None:
    """The memory of events does not grow indefinitely, and ends when every other one ends."""
    handle(session, event(failed()), ago(days=RETENTION.days + 1))
    handle(session, event(paid()), ago(days=RETENTION.days - 1))
    assert prune_batch(session, RULES, NOW - RETENTION)[ProcessedEventRow.__tablename__] == 1
    assert session.scalar(select(func.count()).select_from(ProcessedEventRow)) == 1


def test_events_that_come_together_end_as_those_that_come_alone(
    session: Session, customer_id: str
) -> None:
    """Two invoices, a copy, and a payment behind its failure in one batch: each acts once, in the order they came."""
    handle(session, event(changed(), ago(minutes=5)), NOW)
    batch = [
        event(failed(invoice_id="in_1"), ago(minutes=9), "evt_1"),
        event(failed(invoice_id="in_2"), ago(minutes=9), "evt_2"),
        event(failed(invoice_id="in_1"), ago(minutes=9), "evt_1"),
        event(paid(invoice_id="in_1"), ago(minutes=4), "evt_3"),
    ]
    assert handle_invoices(session, batch, NOW) == [True, True, False, True]
    assert handle_invoices(session, batch, NOW) == [False] * 4
    session.flush()
    rows = {row.invoice_id: row for row in session.scalars(select(InvoiceRow))}
    assert {invoice_id: row.status for invoice_id, row in rows.items()} == {
        "in_1": "paid",
        "in_2": "open",
    }
    assert {row.method_changed_at for row in rows.values()} == {ago(minutes=5)}


@pytest.mark.parametrize(("renewed", "noted"), [(True, False), (None, True), (False, True)])
def test_a_card_that_its_bank_renewed_is_nobodys_new_one(
    session: Session, renewed: bool | None, noted: bool
) -> None:
    """Nothing is said to be saved or on its way, for where Stripe has given up nothing is charged. An event of the release
    before, which can't say, counts as a person's choice."""
    handle(session, event(failed(), ago(minutes=9)), NOW)
    card = events.PaymentMethodChanged(stripe_customer_id="cus_1", renewed=renewed)
    handle(session, event(card, ago(minutes=8)), NOW)
    row = session.scalars(select(InvoiceRow)).one()
    assert (row.method_changed_at is not None) is noted


@pytest.mark.whole
def test_the_story_says_where_invoices_stand(session: Session, customer_id: str) -> None:
    """`portico explain` begins with it: by invoice however it ended, by customer what failed and is still open; a date
    only where the page would promise it."""
    when = {"next_payment_attempt": ahead(days=3)}
    handle(session, event(failed(**when), ago(hours=2)), NOW)
    handle(session, event(failed(invoice_id="in_2"), ago(hours=3)), NOW)
    handle(session, event(paid(invoice_id="in_2", amount_paid=12900), ago(hours=1)), NOW)
    session.flush()

    def standing(**subject: str | None) -> list[dict[str, object]]:
        ids = {"invoice_id": None, "stripe_customer_id": None, "customer_id": None}
        return on_the_wire(story.story)(session, OWN, **(ids | subject), now=NOW)["standing"]  # type: ignore[arg-type]

    (of_customer,) = standing(customer_id=customer_id)
    assert (of_customer["status"], of_customer["remaining"]) == ("open", 12900)
    assert of_customer["next_charge"] is None  # why it failed is not known yet
    row = session.get(InvoiceRow, (OWN, of_customer["invoice_id"]))
    assert row is not None
    row.card_of_failure = row.last_failed_at
    (of_invoice,) = standing(invoice_id=row.invoice_id)
    assert of_invoice["next_charge"] == moment(ahead(days=3))
    (closed,) = standing(invoice_id="in_2")
    assert (closed["status"], closed["paid"], closed["forgiven"]) == ("paid", 12900, 0)
    assert standing(invoice_id="in_unknown") == []


def test_a_card_from_before_the_failure_is_no_part_of_its_story(
    session: Session, customer_id: str
) -> None:
    """A new payment method is told of only where it came after the invoice had failed."""

    def steps() -> list[str]:
        session.flush()
        ids = {"invoice_id": "in_1", "stripe_customer_id": None, "customer_id": None}
        return [
            one["step"] for one in on_the_wire(story.story)(session, OWN, **ids, now=NOW)["steps"]
        ]  # type: ignore[arg-type]

    handle(session, event(changed(), ago(hours=2)), NOW)
    handle(session, event(failed(), ago(hours=1)), NOW)
    assert steps() == ["shown_as_owed"]
    handle(session, event(changed(), ago(minutes=5)), NOW)
    assert steps() == ["shown_as_owed", "card_changed"]


@pytest.mark.parametrize("first", ["the change", "the failures"])
def test_a_method_for_one_invoice_is_news_of_that_one_alone(
    session: Session, customer_id: str, first: str
) -> None:
    """Heard of before the failures or after them: the other invoice of the same subscription still asks."""
    change = event(changed("sub_1", "in_1"), ago(minutes=5))
    failures = [
        event(failed(invoice_id=one, subscription_id="sub_1"), ago(minutes=9), f"evt_{one}")
        for one in ("in_1", "in_2")
    ]
    if first == "the change":
        handle(session, change, NOW)
    handle_invoices(session, failures, NOW)
    if first == "the failures":
        handle(session, change, NOW)
    session.flush()
    rows = {row.invoice_id: row.method_changed_at for row in session.scalars(select(InvoiceRow))}
    assert rows == {"in_1": ago(minutes=5), "in_2": None}


FINALIZED = ago(days=12)


def imported(**changes: object) -> events.InvoiceImported:
    given = {"finalized_at": FINALIZED, "attempt_count": 3} | changes
    return invoice_data(events.InvoiceImported, **given)  # type: ignore[no-any-return]


def test_what_was_owed_before_portico_is_shown(session: Session, customer_id: str) -> None:
    """An invoice that was tried and is open asks for a new card, as if its failure had been heard of."""
    assert handle(session, event(imported()), NOW)
    row = session.scalars(select(InvoiceRow)).one()
    assert (row.first_failed_at, row.last_failed_at) == (FINALIZED, FINALIZED)
    assert tone(session, customer_id) is Tone.DECLINED


def test_a_first_payment_that_is_found_unpaid_did_not_fail_at_checkout(
    session: Session, customer_id: str
) -> None:
    """Whoever left the checkout long ago is asked like anybody else."""
    handle(session, event(imported(billing_reason="subscription_create")), NOW)
    assert tone(session, customer_id) is Tone.DECLINED


def test_what_nobody_collected_any_more_before_portico_is_not_asked_for(
    session: Session, customer_id: str
) -> None:
    """A renewal was collected by itself once, whoever finds it later."""
    handle(
        session,
        event(imported(billing_reason="subscription_cycle", auto_advance=False)),
        NOW,
    )
    assert tone(session, customer_id) is Tone.WELL


def test_a_first_payment_that_was_begun_today_may_be_at_checkout(
    session: Session, customer_id: str
) -> None:
    """Whoever left it may be back in a moment, and nobody asks them for it; a bank may have a first debit."""
    made = ago(hours=20)
    handle(
        session,
        event(imported(billing_reason="subscription_create", finalized_at=made)),
        NOW,
    )
    assert tone(session, customer_id) is Tone.WELL


def test_what_was_not_tried_yet_is_not_owed(session: Session, customer_id: str) -> None:
    """Stripe charges it by itself in a moment."""
    handle(session, event(imported(attempted=False, attempt_count=0)), NOW)
    assert tone(session, customer_id) is not Tone.DECLINED


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_import_overrules_no_failure_that_was_heard_of(
    session: Session, customer_id: str, order: tuple[int, int]
) -> None:
    """Whichever comes first, the last failure is the one that its event tells of."""
    said = [event(failed(finalized_at=FINALIZED, attempt_count=3), ago(days=2)), event(imported())]
    for one in order:
        handle(session, said[one], NOW)
    assert session.scalars(select(InvoiceRow.last_failed_at)).one() == ago(days=2)


def test_a_subscription_of_before_portico_is_shown(session: Session, customer_id: str) -> None:
    """Like one that has just begun."""
    data = events.SubscriptionImported(
        subscription_id="sub_9", stripe_customer_id="cus_1", status="active", description="Weekly"
    )
    assert handle(session, event(data), NOW)
    snapshot = lookup(session, customer_id, NOW)
    assert snapshot is not None
    assert [one.subscription_id for one in snapshot.subscriptions] == ["sub_9"]


def subscribed(number: int, status: str = "active") -> events.SubscriptionImported:
    return events.SubscriptionImported(
        subscription_id=f"sub_{number}", stripe_customer_id="cus_1", status=status
    )


def test_what_an_import_tells_is_taken_in_together(session: Session) -> None:
    """As if each had come alone: what is new, what is known, what is known better and what has ended, and twice about one; each event once."""
    ended = events.SubscriptionEnded(
        subscription_id="sub_1", stripe_customer_id="cus_1", status="canceled"
    )
    handle(session, event(ended, ago(minutes=9)), NOW)
    handle(session, event(subscribed(2, "past_due"), ago(minutes=1)), NOW)
    handle(session, event(subscribed(3, "past_due"), ago(minutes=9)), NOW)
    batch = [
        event(subscribed(1), ago(minutes=5), "evt_1"),
        event(imported(), NOW, "evt_invoice"),
        event(subscribed(2), ago(minutes=5), "evt_2"),
        event(subscribed(3), ago(minutes=5), "evt_3"),
        event(subscribed(4), ago(minutes=5), "evt_4"),
        event(subscribed(4), ago(minutes=5), "evt_4"),
        event(subscribed(4, "trialing"), ago(minutes=4), "evt_5"),
    ]
    assert all(map(can_be_imported, batch))
    assert handle_imported(session, batch, NOW) == [True, True, True, True, True, False, True]
    assert handle_imported(session, batch, NOW) == [False] * len(batch)
    rows = session.execute(select(SubscriptionRow.subscription_id, SubscriptionRow.status))
    assert dict(rows.tuples().all()) == {
        "sub_1": "canceled",
        "sub_2": "past_due",
        "sub_3": "active",
        "sub_4": "trialing",
    }
    assert session.scalar(select(func.count()).select_from(InvoiceRow)) == 1


def test_an_end_that_an_import_finds_overtakes_a_request(
    session: Session, customer_id: str
) -> None:
    """The business needs not answer any more, however many came with it."""
    session.add(
        CancellationRequestRow(
            request_id="r" * 22,
            customer_pk=session.scalars(select(CustomerRow.id)).one(),
            stripe_customer_id="cus_1",
            subscription_id="sub_2",
            status="open",
            asked_at=ago(minutes=9),
            tries=0,
        )
    )
    session.flush()
    ends = events.SubscriptionImported(
        subscription_id="sub_2", stripe_customer_id="cus_1", status="active", ends_at=ahead(days=9)
    )
    handle_imported(session, [event(subscribed(1)), event(ends, event_id="evt_2")], NOW)
    assert session.scalars(select(CancellationRequestRow.status)).all() == ["overtaken"]
