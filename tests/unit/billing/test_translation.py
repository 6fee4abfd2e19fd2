"""What each Stripe event means to us, from golden payloads of both API shapes."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from services.billing.adapters.stripe.gateway import MOST_TYPES
from services.billing.domain.accounts import Directory
from services.billing.stripe_events.payloads import NotAnEvent, StripeEvent, parse_event, subject_of
from services.billing.stripe_events.translation import (
    EVIDENCE_TYPES,
    LOGGED,
    ROUTES,
    WANTED,
    Status,
    Translation,
    translate,
)
from shared import events
from tests.fixtures.accounts import OWN_ALONE
from tests.fixtures.stripe_events import NAMES, stripe_event
from tests.unit.billing.conftest import Edit, payload, with_fields

INVOICE, CUSTOMER = "in_1SWqHt2eZvKYlo2CwXyJq0Rf", "cus_TTnQx8dKq2LmPA"
SUBSCRIPTION, NEW_CARD = "sub_1SLb9u2eZvKYlo2CkQ6vTn3D", "pm_1SWr002eZvKYlo2CnEwCaRd1"


def read(name: str, edit: Edit | None = None, *, livemode: bool = False) -> Translation:
    return translate(parse_event(payload(name, edit)), directory=Directory(livemode=livemode))


def only(translation: Translation) -> Any:
    assert translation.status is Status.TRANSLATED, translation.reason
    (data,) = (one for one in told(translation) if not isinstance(one, events.StripeCustomerSeen))
    return data


def told(translation: Translation) -> list[events.Data]:
    return [one.event.data for one in translation.outgoing]


def seen(translation: Translation) -> Any:
    """What it tells of the customer, besides."""
    (data,) = (one for one in told(translation) if isinstance(one, events.StripeCustomerSeen))
    return data


def test_every_route_has_a_golden_payload() -> None:
    """No type is handled without a payload in tests/fixtures/stripe that shows its shape."""
    assert {stripe_event(name)["type"] for name in NAMES} >= WANTED


@pytest.mark.parametrize(
    "name",
    [
        "invoice.payment_failed",
        "invoice.payment_failed.2025-04-30.basil",
        "invoice.payment_failed.2020-08-27",
    ],
)
def test_a_failed_charge_is_read_in_every_shape(name: str) -> None:
    """The old shape, the first new one and the current one give the same event, subscription included."""
    assert only(read(name)) == events.InvoicePaymentFailed(
        invoice_id=INVOICE,
        stripe_customer_id=CUSTOMER,
        status="open",
        currency="usd",
        amount_due=8900,
        amount_remaining=8900,
        attempt_count=1,
        attempted=True,
        billing_reason="subscription_cycle",
        number="7C1F0A2B-0004",
        subscription_id=SUBSCRIPTION,
        purpose="Fortnightly clean",
        next_payment_attempt=dt.datetime(2026, 11, 26, 21, 4, 5, tzinfo=dt.UTC),
        auto_advance=True,
        finalized_at=dt.datetime(2026, 11, 23, 21, 2, 25, tzinfo=dt.UTC),
    )


def test_the_envelope_carries_the_thread() -> None:
    """The event's id, time and correlation id come from Stripe's event, and it survives the wire."""
    (outgoing,) = read("invoice.payment_failed").outgoing
    event = outgoing.event
    assert event.id == "evt_1SWqI52eZvKYlo2CfA1lEd01/invoice.payment_failed"
    assert event.correlation_id == "evt_1SWqI52eZvKYlo2CfA1lEd01"
    assert event.occurred_at == dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
    assert events.decode(events.encode(event)) == event


def test_our_own_retry_is_known() -> None:
    """A failure that Portico's own payment caused says so, by the idempotency key of the request."""
    assert only(read("invoice.payment_failed.own_retry")).own_retry is True
    assert only(read("invoice.payment_failed")).own_retry is False


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("invoice.payment_action_required", events.InvoicePaymentActionRequired),
        ("invoice.paid", events.InvoicePaid),
        ("invoice.paid.2020-08-27", events.InvoicePaid),
        ("invoice.payment_succeeded", events.InvoicePaid),
        ("invoice.voided", events.InvoiceVoided),
        ("invoice.marked_uncollectible", events.InvoiceMarkedUncollectible),
        ("invoice.updated", events.InvoiceUpdated),
        ("invoice.updated.2020-08-27", events.InvoiceUpdated),
    ],
)
def test_each_invoice_event_has_its_own_name(name: str, cls: type[events.InvoiceData]) -> None:
    """Each turn in an invoice's story becomes the event of that name about that invoice."""
    data = only(read(name))
    assert type(data) is cls
    assert (data.invoice_id, data.subscription_id) == (INVOICE, SUBSCRIPTION)


def keys(name: str, edit: Edit | None = None) -> list[str]:
    return [outgoing.dedupe_key for outgoing in read(name, edit).outgoing]


def test_paid_and_payment_succeeded_are_one_fact() -> None:
    """Stripe's two events for one payment have one dedupe key."""
    assert keys("invoice.paid") == keys("invoice.payment_succeeded")


def test_a_second_event_for_the_same_attempt_is_the_same_fact() -> None:
    """Another Stripe event id for the same invoice and attempt does not make a second failure."""
    assert keys("invoice.payment_failed") == keys("invoice.payment_failed.2020-08-27")


def test_the_next_attempt_and_our_own_retry_are_other_facts() -> None:
    """A later attempt, and a retry of ours within an attempt, are told apart."""
    found = [
        *keys("invoice.payment_failed"),
        *keys("invoice.payment_failed", with_fields(attempt_count=2)),
        *keys("invoice.payment_failed.own_retry"),
        *keys("invoice.payment_action_required"),
    ]
    assert len(set(found)) == 4


def test_a_card_changed_back_is_news_again() -> None:
    """Two changes to the same card are two facts, since another card may have stood between them."""
    name = "customer.updated.default_payment_method"
    later = keys(name, lambda event: event.update(id="evt_later"))
    assert not set(keys(name)[1:]) & set(later[1:])


@pytest.mark.parametrize(
    "edit",
    [
        with_fields(before={"description": "x"}),
        lambda event: event["data"].pop("previous_attributes"),
        with_fields(status="draft"),
        with_fields(attempted=False),
        with_fields(status="uncollectible", before={"status": "open"}),
    ],
)
def test_an_invoice_update_that_changes_nothing_for_the_customer_is_ignored(edit: Edit) -> None:
    """Only open, attempted invoices matter, and only when a date, a state or an amount changed."""
    assert read("invoice.updated", edit).status is Status.IGNORED


@pytest.mark.parametrize("amount", ["amount_due", "amount_remaining"])
def test_what_is_paid_or_forgiven_of_an_invoice_that_was_given_up_is_told(amount: str) -> None:
    """It stays given up, and less of it is lost."""
    credited = with_fields(status="uncollectible", before={amount: 14900})
    assert only(read("invoice.updated", credited)).status == "uncollectible"


def test_an_invoice_that_is_sent_is_told_when_it_asks_for_money() -> None:
    """Nobody tries to charge it, so nothing else would tell of it; one that Stripe charges is news once that failed."""
    sent = only(read("invoice.finalized"))
    assert (type(sent), sent.status, sent.collection_method, sent.attempted) == (
        events.InvoiceUpdated,
        "open",
        "send_invoice",
        False,
    )
    charged = with_fields(collection_method="charge_automatically")
    assert read("invoice.finalized", charged).status is Status.IGNORED
    settled = with_fields(status="paid", amount_remaining=0)
    assert read("invoice.finalized", settled).status is Status.IGNORED  # `invoice.paid` tells


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (
            {"collection_method": "send_invoice", "amount_remaining": 100},
            {"amount_remaining": 8900},
        ),
        ({"collection_method": "send_invoice"}, {"collection_method": "charge_automatically"}),
        ({"collection_method": "charge_automatically"}, {"collection_method": "send_invoice"}),
    ],
)
def test_what_changes_of_an_invoice_that_is_sent_is_told(
    now: dict[str, Any], before: dict[str, Any]
) -> None:
    """What is due of it, and that it is sent now, or no more, though nobody has tried to charge it."""
    told = only(read("invoice.updated", with_fields(attempted=False, before=before, **now)))
    assert told.collection_method == now["collection_method"]
    draft = with_fields(attempted=False, status="draft", before=before, **now)
    assert read("invoice.updated", draft).status is Status.IGNORED


def test_stripes_log_is_asked_for_all_in_one_question() -> None:
    """It takes twenty types; what is left out another one tells."""
    assert len(LOGGED) <= MOST_TYPES
    assert {ROUTES.get(one) for one in WANTED} == {ROUTES.get(one) for one in LOGGED}


def test_an_invoice_without_a_subscription_is_fine() -> None:
    """A one-off invoice has no parent; the event says so."""
    one_off = with_fields(parent=None, billing_reason="manual")
    assert only(read("invoice.payment_failed", one_off)).subscription_id is None


def test_expanded_references_are_read() -> None:
    """Where an endpoint's version expands an object, its id is taken."""
    expanded = with_fields(customer={"id": CUSTOMER, "object": "customer", "name": "D"})
    assert only(read("invoice.payment_failed", expanded)).stripe_customer_id == CUSTOMER


# --- whose a customer is -------------------------------------------------------------------------------------


def evidence(name: str, edit: Edit | None = None) -> Any:
    """The evidence that an event tells of; None: of none."""
    found = [
        one.event.data
        for one in read(name, edit).outgoing
        if isinstance(one.event.data, events.CustomerEvidenceChanged)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def metadata(now: dict[str, str], **before: str | None) -> Edit:
    """The customer's metadata as it is now, and the keys that changed as they were before."""
    return with_fields({"metadata": before} if before else {}, metadata=now)


def test_metadata_on_a_new_customer_names_it() -> None:
    """Before that it named nobody."""
    assert only(read("customer.created")) == events.CustomerEvidenceChanged(
        stripe_customer_id=CUSTOMER,
        object_id=CUSTOMER,
        customer_id="q8Zl2Vd0x7mTnKc4RwYb1A",
        evidence="customer.metadata",
    )


def test_metadata_set_later_names_with_its_business() -> None:
    """A host's own id comes with the business that it belongs to."""
    data = only(read("customer.updated.metadata"))
    assert (data.customer_id, data.business_id) == ("ext-1041", "sunrise-cleaning")
    assert (data.previous_customer_id, data.previous_business_id) == (None, None)


@pytest.mark.parametrize(
    ("edit", "now", "before"),
    [
        (metadata({}, customer_id="a"), (None, None), ("a", None)),
        (metadata({"customer_id": "b"}, customer_id="a"), ("b", None), ("a", None)),
        (
            metadata({"customer_id": "a", "business_id": "y"}, business_id="x"),
            ("a", "y"),
            ("a", "x"),
        ),
        (
            metadata({"customer_id": "7", "portico_customer_id": "a"}, portico_customer_id=None),
            ("a", None),
            ("7", None),
        ),
        (metadata({"portico_customer_id": "a"}, order="9"), ("a", None), ("a", None)),
        (
            metadata({"portico_customer_id": "a", "business_id": "x"}, customer_id="8"),
            ("a", None),
            ("a", None),
        ),
    ],
    ids=["removed", "moved", "another business", "our own key", "unchanged", "another tool's key"],
)
def test_what_metadata_names_and_named_before(
    edit: Edit, now: tuple[str | None, str | None], before: tuple[str | None, str | None]
) -> None:
    """Keys with our prefix go before `customer_id`, which other tools write too, and each goes with its own business."""
    data = evidence("customer.updated.metadata", edit)
    assert (data.customer_id, data.business_id) == now
    assert (data.previous_customer_id, data.previous_business_id) == before


def test_metadata_without_a_name_says_nothing() -> None:
    """Neither now nor before: most Stripe customers of most accounts."""
    assert evidence("customer.updated.metadata", metadata({"order": "9"}, order="8")) is None


def test_a_change_is_said_each_time_and_what_is_unchanged_once() -> None:
    """A, then B, then A again are three facts; every later update of the customer carries the same metadata, and is one."""

    def again(edit: Edit, event_id: str) -> list[str]:
        def both(event: dict[str, Any]) -> None:
            edit(event)
            event["id"] = event_id

        return keys("customer.updated.metadata", both)

    change = metadata({"customer_id": "a"}, customer_id="b")
    assert again(change, "evt_1") != again(change, "evt_2")
    unchanged = metadata({"customer_id": "a"})
    assert again(unchanged, "evt_1") == again(unchanged, "evt_2")
    assert set(again(change, "evt_1")).isdisjoint(again(unchanged, "evt_1"))


def test_a_checkout_passes_its_reference_on() -> None:
    """Billing has no link keys: the portal looks whether the reference is signed, by the session's own time. Guests, and
    sessions without a reference, say nothing."""
    assert only(read("checkout.session.completed")) == events.CustomerEvidenceChanged(
        stripe_customer_id=CUSTOMER,
        object_id="cs_test_a1B2c3D4e5F6g7H8",
        evidence="checkout.session",
        reference="ext-1041",
        session_created=dt.datetime.fromtimestamp(1786467745, dt.UTC),
    )
    for missing in ("customer", "client_reference_id"):
        without = with_fields(**{missing: None})
        assert read("checkout.session.completed", without).status is Status.IGNORED


@pytest.mark.parametrize("name", ["customer.subscription.created", "customer.subscription.deleted"])
def test_subscription_metadata_names_too(name: str) -> None:
    """Hosts that tag the subscription instead of the customer are understood; its end withdraws nothing."""
    data = evidence(name)
    assert (data.stripe_customer_id, data.object_id) == (CUSTOMER, SUBSCRIPTION)
    assert (data.customer_id, data.evidence) == ("q8Zl2Vd0x7mTnKc4RwYb1A", "subscription.metadata")


on_behalf = with_fields(on_behalf_of="acct_b")


@pytest.mark.parametrize(
    "name",
    [
        *("invoice.payment_failed", "invoice.paid", "payment_intent.processing"),
        *("customer.subscription.created", "customer.subscription.deleted"),
    ],
)
def test_what_is_charged_on_anothers_behalf_says_so(name: str) -> None:
    """In each event that it becomes; what isn't says nothing."""
    for edit, expected in ((None, {""}), (on_behalf, {"acct_b"})):
        told = [one.event.data for one in read(name, edit).outgoing]
        assert {one.on_behalf_of for one in told} == expected  # type: ignore[attr-defined]


def test_a_subscription_of_another_behalf_names_anew() -> None:
    """Unchanged metadata is said once a behalf; a Stripe customer's speaks on nobody's, whatever it says."""
    keys = {
        one.dedupe_key
        for edit in (None, on_behalf)
        for one in read("customer.subscription.deleted", edit).outgoing
        if isinstance(one.event.data, events.CustomerEvidenceChanged)
    }
    assert len(keys) == 2
    assert evidence("customer.created", on_behalf).on_behalf_of == ""


def test_all_types_that_tell_evidence_are_known() -> None:
    """What is told again after an upgrade is all that may tell it."""
    telling = {stripe_event(name)["type"] for name in NAMES if evidence(name) is not None}
    assert telling == set(EVIDENCE_TYPES)


def test_a_deleted_customer_is_told() -> None:
    """The portal must unlink: the button could only fail."""
    assert only(read("customer.deleted")) == events.CustomerDeleted(stripe_customer_id=CUSTOMER)


@pytest.mark.parametrize("odd", ["", "  ", "x" * 256, "a\nb", "a\x00b"])
def test_metadata_that_can_be_no_id_links_nothing_and_hides_nothing(odd: str) -> None:
    """Somebody's own use of the name does not keep the rest of the event from being understood."""

    def other_use(event: dict[str, Any]) -> None:
        event["data"]["object"]["metadata"]["customer_id"] = odd

    found = told(read("customer.updated.default_payment_method", other_use))
    assert [type(one) for one in found] == [events.PaymentMethodChanged, events.StripeCustomerSeen]


# --- profiles ------------------------------------------------------------------------------------------------

DANA = {"stripe_customer_id": CUSTOMER, "email": "dana@example.com", "name": "Dana Whitfield"}


def test_a_new_customer_is_seen_as_stripe_has_it() -> None:
    """Address, name on one line, first language; nothing of it says that it pays."""
    edit = with_fields(name=" Dana\n Whitfield ", preferred_locales=["pt-BR", "en"])
    assert seen(read("customer.created", edit)) == events.StripeCustomerSeen(**DANA, locale="pt-BR")


@pytest.mark.parametrize(
    ("name", "cut"), [("x" * 300, "x" * 200), ("", None), (7, None), (None, None)]
)
def test_no_name_keeps_a_customer_from_being_seen(name: Any, cut: str | None) -> None:
    """A long one is cut, and what is none is left out."""
    assert seen(read("customer.created", with_fields(name=name))).name == cut


@pytest.mark.parametrize("field", ["email", "name", "preferred_locales"])
def test_a_changed_profile_is_told(field: str) -> None:
    """Of all that may change about a customer, these three are worth an event."""
    edit = with_fields(before={field: None})
    assert seen(read("customer.updated.default_payment_method", edit)).pays is None


def test_another_change_of_a_customer_is_not_told() -> None:
    """A balance, a note or metadata makes no event about the profile."""
    edit = with_fields(before={"description": None, "balance": 3})
    assert not any(
        isinstance(one, events.StripeCustomerSeen)
        for one in told(read("customer.updated.metadata", edit))
    )


def test_what_makes_somebody_pay_by_itself_is_told() -> None:
    """A default that is set, a payment method that is kept, a subscription, an invoice that was paid."""
    assert seen(read("customer.updated.default_payment_method")) == events.StripeCustomerSeen(
        **DANA, pays="saved_method"
    )
    assert seen(read("payment_method.attached")) == events.StripeCustomerSeen(
        stripe_customer_id=CUSTOMER, pays="saved_method"
    )
    assert seen(read("customer.subscription.created")) == events.StripeCustomerSeen(
        stripe_customer_id=CUSTOMER, pays="subscribed"
    )
    assert seen(read("invoice.paid")) == events.StripeCustomerSeen(**DANA, pays="paid")


@pytest.mark.parametrize(
    ("amounts", "pays"),
    [
        ({"amount_paid": 0, "pre_payment_credit_notes_amount": 8900, "amount_due": 0}, False),
        ({"amount_paid": 0, "pre_payment_credit_notes_amount": 4900, "amount_due": 4000}, True),
        ({"amount_paid": 0, "amount_due": 0}, False),
        ({"amount_paid": 4000, "pre_payment_credit_notes_amount": 4900}, True),
        ({"amount_paid": 0, "pre_payment_credit_notes_amount": 0}, True),
    ],
    ids=[
        "credited",
        "credited in part, the rest paid elsewhere",
        "nothing due",
        "credited in part",
        "paid elsewhere",
    ],
)
def test_who_was_forgiven_an_invoice_has_not_paid_it(amounts: dict[str, int], pays: bool) -> None:
    """A credit note for all of it makes Stripe call it paid: nobody becomes a customer by that."""
    translation = read("invoice.paid", with_fields(**amounts))
    found = [one for one in told(translation) if isinstance(one, events.StripeCustomerSeen)]
    assert bool(found) is pays


def test_a_customer_may_bring_a_card_along() -> None:
    """Made with one, it is seen once, and pays by itself."""

    def edit(event: dict[str, Any]) -> None:
        event["data"]["object"]["invoice_settings"]["default_payment_method"] = NEW_CARD

    assert seen(read("customer.created", edit)).pays == "saved_method"


def test_nothing_was_paid_where_nothing_was_asked_for() -> None:
    """A trial begins with a paid invoice of nothing."""
    edit = with_fields(amount_due=0, amount_paid=0)
    assert [one.type for one in told(read("invoice.paid", edit))] == ["invoice.paid"]


def test_a_subscription_that_waits_for_its_first_payment_has_not_begun() -> None:
    """Anybody can leave one so; once it is paid, its invoice tells."""
    edit = with_fields(status="incomplete")
    assert not any(
        isinstance(one, events.StripeCustomerSeen)
        for one in told(read("customer.subscription.created", edit))
    )


def test_a_customer_pays_on_whose_behalf_it_is_charged() -> None:
    """A platform's customer belongs to the business that it pays."""
    for name in ("invoice.paid", "customer.subscription.created"):
        assert seen(read(name, on_behalf)).on_behalf_of == "acct_b"


# --- cards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "customer.updated.default_payment_method",
        "customer.updated.default_payment_method.2020-08-27",
    ],
)
def test_a_new_default_card_is_told_beside_the_link(name: str) -> None:
    """One Stripe event may say several things: whose the customer is, and which card it has now."""
    link, change, _ = told(read(name))
    assert isinstance(link, events.CustomerEvidenceChanged)
    assert change == events.PaymentMethodChanged(
        stripe_customer_id=CUSTOMER, payment_method_id=NEW_CARD, renewed=False
    )


def test_a_new_default_of_a_subscription_is_told() -> None:
    """The subscription's own default is what retries charge first."""
    change = read("customer.subscription.updated.default_payment_method").outgoing[1].event.data
    assert change == events.PaymentMethodChanged(
        stripe_customer_id=CUSTOMER,
        payment_method_id=NEW_CARD,
        subscription_id=SUBSCRIPTION,
        renewed=False,
    )


SOURCE = "card_1QxGoldenOldApi00"


def with_source(event: dict[str, Any]) -> None:
    """Nothing but a default source, which is a new one."""
    found, changed = event["data"]["object"], event["data"]["previous_attributes"]
    found["default_source"] = SOURCE
    changed.clear()
    changed["default_source"] = "card_1QxGoldenBefore00"


def changes_of_methods(name: str, edit: Edit) -> list[Any]:
    return [
        one.event.data
        for one in read(name, edit).outgoing
        if isinstance(one.event.data, events.PaymentMethodChanged)
    ]


def test_a_new_default_source_of_a_customer_is_told_where_it_is_charged() -> None:
    """It is what Stripe charges while there is no default payment method, and is nothing while there is one."""
    name = "customer.updated.default_payment_method"

    def alone(event: dict[str, Any]) -> None:
        with_source(event)
        event["data"]["object"]["invoice_settings"]["default_payment_method"] = None

    (change,) = changes_of_methods(name, alone)
    assert change == events.PaymentMethodChanged(
        stripe_customer_id=CUSTOMER, payment_method_id=SOURCE, renewed=False
    )
    assert changes_of_methods(name, with_source) == []


def test_a_new_default_source_of_a_subscription_is_told_where_it_is_charged() -> None:
    """The same for the subscription's own."""
    name = "customer.subscription.updated.default_payment_method"

    def alone(event: dict[str, Any]) -> None:
        with_source(event)
        event["data"]["object"]["default_payment_method"] = None

    (change,) = changes_of_methods(name, alone)
    assert (change.payment_method_id, change.subscription_id) == (SOURCE, SUBSCRIPTION)
    assert changes_of_methods(name, with_source) == []


@pytest.mark.parametrize(
    ("field", "method"), [("default_payment_method", NEW_CARD), ("default_source", SOURCE)]
)
@pytest.mark.parametrize("name", ["invoice.updated", "invoice.updated.2020-08-27"])
def test_what_one_invoice_is_to_be_charged_to_is_told(name: str, field: str, method: str) -> None:
    """For that invoice alone, with its subscription for those who know no more; a draft is none of it."""
    change: dict[str, Any] = {"before": {field: None}, field: method}
    (found,) = read(name, with_fields(**change)).outgoing
    data: Any = found.event.data
    assert (data.payment_method_id, data.subscription_id) == (method, SUBSCRIPTION)
    assert found.dedupe_key == f"{data.type}:{data.invoice_id}:{found.event.correlation_id}"
    untried = with_fields(**change, attempted=False)
    assert read(name, untried).status is Status.IGNORED


def test_our_own_pointing_of_a_subscription_is_no_news() -> None:
    """When Portico itself points a subscription at the new card, the echo starts nothing."""

    def ours(event: dict[str, Any]) -> None:
        event["request"]["idempotency_key"] = f"point:{SUBSCRIPTION}:{NEW_CARD}:0a1b"

    found = read("customer.subscription.updated.default_payment_method", ours).outgoing
    assert [type(outgoing.event.data) for outgoing in found] == [events.CustomerEvidenceChanged]


# --- subscriptions -------------------------------------------------------------------------------------------

PERIOD_END = dt.datetime(2026, 12, 23, 21, 4, 5, tzinfo=dt.UTC)
CANCELLED = "customer.subscription.updated.cancel_at_period_end"


def subscription_news(name: str, edit: Edit | None = None) -> Any:
    (data,) = (
        outgoing.event.data
        for outgoing in read(name, edit).outgoing
        if isinstance(outgoing.event.data, events.SubscriptionData)
    )
    return data


def test_a_cancelled_subscription_says_when_it_ends() -> None:
    """Cancelling on Stripe's page plans the end of the period; amount and interval come along."""
    assert subscription_news(CANCELLED) == events.SubscriptionCancellationScheduled(
        subscription_id=SUBSCRIPTION,
        stripe_customer_id=CUSTOMER,
        status="active",
        cancel_at_period_end=True,
        ends_at=PERIOD_END,
        end_reason="cancellation_requested",
        current_period_end=PERIOD_END,
        pricing="fixed",
        discounted=False,
        amount=8900,
        currency="usd",
        interval="month",
        end_changed=True,
        collection_paused=False,
    )


@pytest.mark.parametrize("field", ["cancel_at_period_end", "cancel_at"])
def test_an_end_that_was_withdrawn_is_a_change_of_it(field: str) -> None:
    """Not cancelled after all: nothing is planned, and the event says that something was."""
    before = {"cancel_at_period_end": True, "cancel_at": 1798060000}
    withdrawn = with_fields(
        before={field: before[field]},
        cancel_at=None,
        cancel_at_period_end=False,
        cancellation_details={"reason": None},
    )
    data = subscription_news(CANCELLED, withdrawn)
    assert type(data) is events.SubscriptionUpdated
    assert (data.ends_at, data.end_changed) == (None, True)


def test_an_end_that_portico_planned_says_so() -> None:
    """The echo of an approved request is told apart, so that the business is not told of its own decision."""

    def ours(event: dict[str, Any]) -> None:
        event["request"]["idempotency_key"] = "cancel:AAAAAAAAAAAAAAAAAAAAAA"

    assert subscription_news(CANCELLED, ours).requested is True


def test_the_older_shape_tells_the_end_from_the_period() -> None:
    """Before 2025-03-31.basil the period stood on the subscription, and `cancel_at` stayed empty."""

    def older(event: dict[str, Any]) -> None:
        subscription = event["data"]["object"]
        subscription["cancel_at"] = None
        subscription["current_period_end"] = subscription["items"]["data"][0].pop(
            "current_period_end"
        )

    assert subscription_news(CANCELLED, older).ends_at == PERIOD_END


def test_a_deleted_subscription_has_ended_once() -> None:
    """`customer.subscription.deleted` is the end; two Stripe events for it are one fact."""
    name = "customer.subscription.deleted"
    found = subscription_news(name)
    assert type(found) is events.SubscriptionEnded
    assert (found.status, found.ends_at) == ("canceled", PERIOD_END)
    assert keys(name) == keys(name, lambda event: event.update(id="evt_again"))


def test_what_nobody_sees_of_a_subscription_is_no_news() -> None:
    """A change of metadata or of the card says nothing about the subscription itself."""
    found = read("customer.subscription.updated.default_payment_method").outgoing
    assert not any(isinstance(one.event.data, events.SubscriptionData) for one in found)


@pytest.mark.parametrize("place", ["price", "plan"])
def test_a_prices_nickname_is_never_the_name_of_a_subscription(place: str) -> None:
    """Stripe hides it from customers: it is the business's own note. What the business calls the subscription is its description."""

    def noted(event: dict[str, Any]) -> None:
        subscription = event["data"]["object"]
        (item,) = subscription["items"]["data"]
        sold = item.pop("price")
        item[place] = sold | {"nickname": "Cheap, never again", "amount": sold["unit_amount"]}

    def named(event: dict[str, Any]) -> None:
        noted(event)
        event["data"]["object"]["description"] = "Weekly cleaning"

    assert subscription_news(CANCELLED, noted).description is None
    assert subscription_news(CANCELLED, named).description == "Weekly cleaning"


@pytest.mark.parametrize("amounts", [(None,), (8900, None), ()])
def test_an_amount_that_can_not_be_told_is_none(amounts: tuple[int | None, ...]) -> None:
    """Prices by usage have no amount: nothing is shown rather than a part of it."""

    def priced(event: dict[str, Any]) -> None:
        (item,) = event["data"]["object"]["items"]["data"]
        event["data"]["object"]["items"]["data"] = [
            {**item, "price": {**item["price"], "unit_amount": amount}} for amount in amounts
        ]

    found = subscription_news(CANCELLED, priced)
    assert (found.amount, found.currency, found.interval) == (None, None, None)


def test_items_of_one_interval_add_up() -> None:
    """Two items a month are one amount a month, each times its quantity."""

    def two(event: dict[str, Any]) -> None:
        (item,) = event["data"]["object"]["items"]["data"]
        event["data"]["object"]["items"]["data"] = [item, {**item, "quantity": 2}]

    assert subscription_news(CANCELLED, two).amount == 3 * 8900


def test_a_card_that_the_bank_replaced_is_told() -> None:
    """`payment_method.automatically_updated` is a new chance to be paid, without the customer."""
    data = only(read("payment_method.automatically_updated"))
    assert (data.stripe_customer_id, data.payment_method_id) == (CUSTOMER, NEW_CARD)


def test_a_card_saved_before_payment_methods_that_was_renewed_is_told() -> None:
    """A new date behind the same id is a new chance, as with a payment method; a name or a note says nothing to a bank."""
    assert only(read("customer.source.updated")) == events.PaymentMethodChanged(
        stripe_customer_id=CUSTOMER,
        payment_method_id="card_1SLb902eZvKYlo2CoLdCaRd1",
        renewed=True,
    )
    nested = with_fields(before={"card": {"exp_year": 2026}})  # a `src_…` keeps its card deeper
    assert only(read("customer.source.updated", nested)).renewed
    other = with_fields(before={"metadata": {}, "name": None})
    assert read("customer.source.updated", other).status is Status.IGNORED


@pytest.mark.parametrize(
    "name", ["payment_intent.processing", "payment_intent.processing.2020-08-27"]
)
def test_a_debit_that_began_is_told_of_its_invoice(name: str) -> None:
    """Whoever began it: only the payment says so, and names its invoice in a shape of each time."""
    assert only(read(name)) == events.InvoiceUpdated(
        invoice_id=INVOICE,
        stripe_customer_id=CUSTOMER,
        status="open",
        currency="usd",
        amount_due=8900,
        amount_remaining=8900,
        attempted=True,
        processing=True,
    )
    assert subject_of(parse_event(payload(name))).object_id == INVOICE


@pytest.mark.parametrize(
    "reference", [None, "cs_test_a1", "order 4711", {"id": "in_1"}, "in_" + 300 * "x"]
)
def test_a_payment_of_no_invoice_is_nobodys_debt(reference: Any) -> None:
    """Others may use the order's reference for references of their own, and most payments are of no invoice."""
    for details in ({"order_reference": reference}, None):
        edit = with_fields(payment_details=details)
        assert read("payment_intent.processing", edit).status is Status.IGNORED


def test_each_debit_is_said_and_the_retry_of_ours_is_known() -> None:
    """Two debits of one invoice are two events of ours; one that we asked for says so."""

    def ours(event: dict[str, Any]) -> None:
        event.update(id="evt_2", request={"id": "req_1", "idempotency_key": "pay:in_1:pm_1:evt_1"})

    (first,) = read("payment_intent.processing").outgoing
    (second,) = read("payment_intent.processing", ours).outgoing
    assert first.dedupe_key != second.dedupe_key
    assert (first.event.data.own_retry, second.event.data.own_retry) == (False, True)  # type: ignore[attr-defined]


def test_a_default_that_was_only_taken_away_is_no_news() -> None:
    """Without a new card there is nothing to pay with."""

    def removed(event: dict[str, Any]) -> None:
        event["data"]["object"]["invoice_settings"]["default_payment_method"] = None

    found = read("customer.updated.default_payment_method", removed).outgoing
    assert [type(outgoing.event.data) for outgoing in found] == [events.CustomerEvidenceChanged]


# --- what is not ours, or not readable -----------------------------------------------------------------------


def test_other_types_are_ignored_whatever_their_shape() -> None:
    """A type without a route is acknowledged and left alone, even without the usual fields."""
    assert read("product.updated").status is Status.IGNORED
    thin = b'{"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.no", "created": "2026"}'
    assert translate(parse_event(thin), directory=OWN_ALONE).status is Status.IGNORED


def test_the_other_mode_is_quarantined() -> None:
    """A live event at an endpoint with a test key, or the reverse, is kept and never acted on."""
    found = read("invoice.payment_failed", livemode=True)
    assert (found.status, found.outgoing) == (Status.QUARANTINED, ())
    assert found.reason is not None
    assert found.reason.startswith("wrong mode")


@pytest.mark.parametrize("livemode", [False, True])
def test_a_connected_accounts_event_is_told_apart(livemode: bool) -> None:
    """It is about somebody else's customers: no trouble, whatever its mode, for live endpoints hear of test accounts too."""
    found = read(
        "invoice.payment_failed", lambda event: event.update(account="acct_1"), livemode=livemode
    )
    assert (found.status, found.outgoing) == (Status.CONNECTED, ())
    assert found.reason is not None
    assert "acct_1" in found.reason


def thin(**changes: Any) -> StripeEvent:
    """A thin event, as Stripe delivers it."""
    event = {
        "id": "evt_test_65SWqI5",
        "object": "v2.core.event",
        "type": "v1.invoice.payment_failed",
        "created": "2026-11-23T21:04:05.000Z",
        "livemode": False,
        "context": None,
        "related_object": {"id": INVOICE, "type": "invoice", "url": f"/v1/invoices/{INVOICE}"},
        **changes,
    }
    return parse_event(json.dumps(event))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.THIN),
        ({"type": "v1.billing_portal.configuration.updated"}, Status.THIN),
        ({"related_object": None, "created": 5}, Status.THIN),
        ({"type": "v2.core.account.updated"}, Status.IGNORED),
        ({"type": "v1.product.updated"}, Status.IGNORED),
        ({"type": "invoice.payment_failed"}, Status.THIN),
        ({"context": "acct_1"}, Status.CONNECTED),
        ({"livemode": True}, Status.QUARANTINED),
    ],
)
def test_a_thin_event_is_known_by_its_kind(changes: dict[str, Any], status: Status) -> None:
    """It names an object and holds none of it: of a type that concerns us it says that there is something to read."""
    found = translate(thin(**changes), directory=OWN_ALONE)
    assert (found.status, found.outgoing) == (status, ())


def test_a_thin_event_is_found_by_what_it_is_about() -> None:
    """Its time is written in ISO 8601, and `explain` finds it by the invoice."""
    event = thin()
    assert event.occurred_at() == dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
    assert subject_of(event).object_id == INVOICE


def test_a_portal_configuration_is_read_from_its_event() -> None:
    """What customers may do, whether the dashboard edits it, and when it changed; a shape that can't be read is set aside."""
    found = read("billing_portal.configuration.updated")
    assert found.status is Status.TRANSLATED
    assert found.configuration is not None
    assert found.configuration.allows("subscription_cancel")
    assert not found.configuration.allows("subscription_pause")
    assert (found.configuration.is_default, found.configuration.updated) == (True, 1795467845)
    odd = read("billing_portal.configuration.updated", with_fields(features=[]))
    assert odd.status is Status.QUARANTINED


@pytest.mark.parametrize("name", ["invoice.payment_failed", "customer.subscription.deleted"])
def test_what_is_an_accounts_is_ignored(name: str) -> None:
    """Accounts v2 may have an Account in a customer's place: nothing is wrong with that, and no alarm is due. Where Stripe names a Customer
    besides, it is theirs as ever; where it names neither, something is wrong."""
    found = read(name, with_fields(customer=None, customer_account="acct_2"))
    assert (found.status, found.outgoing) == (Status.IGNORED, ())
    assert found.reason is not None
    assert "Account" in found.reason
    assert read(name, with_fields(customer_account="acct_2")).status is Status.TRANSLATED
    nobodys = with_fields(customer=None, customer_account=None)
    assert read(name, nobodys).status is Status.QUARANTINED


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (lambda event: event["data"]["object"].pop("customer"), "customer"),
        (with_fields(amount_remaining="89"), "amount_remaining"),
        (with_fields(customer=None), "customer"),
        (with_fields(next_payment_attempt=10**17), "moment"),
        (lambda event: event["data"].pop("object"), "object"),
        (lambda event: event.pop("data"), "data"),
        (lambda event: event.pop("created"), "created"),
        (lambda event: event.update(created=10**40), "created"),
        (lambda event: event.pop("livemode"), "livemode"),
        (with_fields(id="in_\x00"), "id"),
        (lambda event: event["data"].update(previous_attributes=[]), "previous_attributes"),
    ],
)
def test_a_shape_that_we_cannot_read_is_quarantined_with_the_field(edit: Edit, names: str) -> None:
    """A well-signed event of a type that we handle is kept, and the reason names what is wrong with it."""
    found = read("invoice.payment_failed", edit)
    assert (found.status, found.outgoing) == (Status.QUARANTINED, ())
    assert found.reason is not None
    assert names in found.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b"\xef\xbb\xbf{}",
        b'{"id": "evt_1"}',
        b'{"type": "invoice.paid"}',
        b'{"id": 1, "type": "invoice.paid"}',
        b'{"id": "", "type": "invoice.paid"}',
        b'{"id": "evt\\u0000", "type": "invoice.paid"}',
        b'{"id": "\\ud800", "type": "invoice.paid"}',
        b'{"id": "evt_1", "type": "invoice.paid", "data": ' + b"[" * 100_000,
        b'{"id": "evt_1", "type": "' + b"x" * 300 + b'"}',
    ],
)
def test_what_is_no_event_is_told_apart(body: bytes) -> None:
    """Without an id and a type there is no event to store."""
    with pytest.raises(NotAnEvent):
        parse_event(body)


def test_an_event_of_an_account_that_is_not_served_waits_until_it_is() -> None:
    """What stands beside it in the inbox says why, and that nothing is lost."""
    elsewhere = "acct_elsewhere"
    found = read("invoice.payment_failed", lambda event: event.update(account=elsewhere))
    assert found.status is Status.CONNECTED
    assert found.reason == (
        "of the account acct_elsewhere, which is not connected here; translated again once it is served"
    )
