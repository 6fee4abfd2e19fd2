"""The event contract: golden files are what other people's software parses; they change only on purpose."""

import datetime as dt
import json
from pathlib import Path

import msgspec
import pytest

from shared import events
from shared.contracts.accounts import OWN
from shared.messaging import topology

GOLDEN = Path(__file__).parents[2] / "contract" / "golden"
MOMENT = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)


def example(cls: type[events.Data]) -> events.Event:
    """An event of each type with every field filled."""
    values = {
        "account": "acct_1QxGolden",
        "invoice_id": "in_1QxGolden",
        "stripe_customer_id": "cus_QxGolden",
        "status": "paid" if cls is events.InvoicePaid else "open",
        "currency": "usd",
        "amount_due": 14900,
        "amount_remaining": 0 if cls is events.InvoicePaid else 14900,
        "amount_paid": 14900 if cls is events.InvoicePaid else 0,
        "attempt_count": 1,
        "attempted": True,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "number": "SUN-0042",
        "subscription_id": "sub_1QxGolden",
        "purpose": "Fortnightly clean",
        "purpose_more": 1,
        "next_payment_attempt": MOMENT + dt.timedelta(days=3),
        "amount_credited": 0,
        "schedule_changed": False,
        "auto_advance": True,
        "finalized_at": MOMENT - dt.timedelta(hours=1),
        "livemode": False,
        "own_retry": False,
        "customer_id": "1001",
        "business_id": "sunrise-cleaning",
        "evidence": "customer.metadata",
        "payment_method_id": "pm_1QxGolden",
        "cancel_at_period_end": True,
        "ends_at": MOMENT + dt.timedelta(days=30),
        "end_reason": "cancellation_requested",
        "current_period_end": MOMENT + dt.timedelta(days=30),
        "description": "Fortnightly clean",
        "amount": 14900,
        "interval": "month",
        "interval_count": 1,
        "pricing": "fixed",
        "discounted": False,
        "collection_paused": False,
        "collection_resumes_at": None,
        "trial_ends_at": None,
        "requested": False,
        "notification_id": "ntf_QxGolden",
        "kind": "payment_failed",
        "reason": "bounced",
        "object_id": "cus_QxGolden",
        "previous_customer_id": "1000",
        "previous_business_id": "sunrise-cleaning",
        "reference": None,
        "session_created": None,
        "dashboard_url": "https://dashboard.stripe.com/acct_1QxGolden/subscriptions/sub_1QxGolden",
        "external_id": "1001",
        "previous_stripe_customer_id": "cus_QwGolden",
        "endpoint_id": "whe_QxGolden",
        "email": "ada@example.com",
        "name": "Ada Okafor",
        "locale": "pt-BR",
        "pays": "saved_method",
        "imported": True,
        "deleted": False,
    }
    if cls is events.PaymentMethodChanged:
        values["renewed"] = False
    if cls.source == "portal":
        values |= {"customer_id": "q8Zl2Vd0x7mTnKc4RwYb1A", "evidence": "metadata"}
    if cls is events.StripeAccountChanged:
        values["state"] = "connected"
    if cls is events.CustomerLinkRefused:
        values["reason"] = "stripe_customer_taken"
    if cls is events.WebhookEndpointDisabled:
        values["reason"] = "failing"
    if issubclass(cls, events.SubscriptionData):
        values["status"] = "canceled" if cls is events.SubscriptionEnded else "active"
        values["end_changed"] = cls is not events.SubscriptionEnded
    if cls is events.SubscriptionUpdated:  # an end that was withdrawn
        values |= {"cancel_at_period_end": False, "ends_at": None, "end_reason": None}
    fields = {field.name for field in msgspec.structs.fields(cls)}
    return events.Event(
        id=f"evt_1QxGolden/{cls.type}",
        occurred_at=MOMENT,
        correlation_id="evt_1QxGolden",
        data=cls(**{name: value for name, value in values.items() if name in fields}),
    )


@pytest.mark.parametrize("cls", events.EVENTS.values(), ids=lambda cls: cls.type)
def test_golden(cls):
    """Every event encodes to exactly its golden file and decodes back to itself."""
    event = example(cls)
    golden = GOLDEN / f"{cls.type}.v{cls.version}.json"
    assert json.loads(events.encode(event)) == json.loads(golden.read_text())
    assert events.decode(golden.read_bytes()) == event


@pytest.mark.parametrize("cls", events.EVENTS.values(), ids=lambda cls: cls.type)
def test_what_names_no_account_is_of_the_own_one(cls):
    """What the release before has published is understood, whenever it comes; what this one says of the own account too."""
    body = json.loads((GOLDEN / f"{cls.type}.v{cls.version}.json").read_text())
    del body["data"]["account"]
    read = events.decode(body)
    assert read.data.account == OWN
    assert read.data == msgspec.structs.replace(example(cls).data, account=OWN)
    assert events.decode(events.encode(read)) == read


def test_no_golden_file_is_left_over():
    """Each golden file belongs to an event of the contract."""
    known = {f"{name}.v{version}.json" for name, version in events.EVENTS}
    assert {path.name for path in GOLDEN.glob("*.json")} == known


def test_unknown_fields_are_ignored():
    """A newer publisher may add fields; this consumer still understands."""
    body = json.loads(events.encode(example(events.InvoicePaid)))
    body["data"]["added_later"] = 1
    body["also_added"] = True
    assert events.decode(body) == example(events.InvoicePaid)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "invoice.paidd"}, "invoice.paidd"),
        ({"version": 99}, "version 99"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"data": []}, "object"),
        ({"data": {"invoice_id": 3}}, "invoice_id"),
        ({"id": None}, "id"),
    ],
)
def test_wrong_messages_are_named(change, named):
    """What is wrong with a message stands in the error."""
    body = json.loads(events.encode(example(events.InvoicePaid))) | change
    with pytest.raises(events.EventError, match=named):
        events.decode(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b"null", b"{", "text"])
def test_what_is_no_envelope_is_refused(body):
    """Anything but a JSON object of the envelope's shape is an EventError, never another exception."""
    with pytest.raises(events.EventError):
        events.decode(body)


def test_every_event_has_a_consumer_or_is_for_the_host():
    """Nothing is published into the void, but for what only the host application cares about."""
    heard = {cls for classes in events.CONSUMERS.values() for cls in classes}
    assert set(events.EVENTS.values()) - heard == {
        events.NotificationUndeliverable,
        events.WebhookEndpointDisabled,
    }
    for cls in events.EVENTS.values():
        assert topology.has_consumer(cls.type) == (cls in heard)


def test_texts_of_events_are_cleaned():
    """A message can come from an older release, a host's tool, a hand: nothing behind the edge meets NUL or an endless nest."""
    body = json.loads(events.encode(example(events.InvoicePaid)))
    body["data"] |= {"number": "S\x00\ud800", "unknown": "DEEP"}
    body |= {"correlation_id": "c" * 300, "traceparent": "t" * 56}
    raw = json.dumps(body).replace('"DEEP"', "[" * 10_000 + "]" * 10_000).encode()
    event = events.decode(raw)
    assert event.data.number == "S\ufffd\ufffd"
    assert (event.correlation_id, event.traceparent) == ("c" * 255, "")
