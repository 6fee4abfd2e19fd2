"""The pure rules of billing."""

from __future__ import annotations

import pytest
from hypothesis import given

from services.billing.adapters.stripe.objects import to_invoice
from services.billing.adapters.stripe.payment_objects import to_payment_problem
from services.billing.domain.declines import PaymentProblem, decline_reason
from services.billing.domain.errors import InvalidRequest
from services.billing.domain.paying import Subscription, is_live_key, pay_key
from services.billing.domain.portal import PORTAL_LOCALES, check_return_url, portal_locale
from services.billing.stripe_events.portal_configurations import to_configuration
from shared.contracts.payments import Decline
from tests.unit.any_text import any_text
from tests.unit.billing.fakes import charged_to


@pytest.mark.parametrize(
    ("code", "decline_code", "reason"),
    [
        ("expired_card", "expired_card", Decline.EXPIRED_CARD),
        ("expired_card", None, Decline.EXPIRED_CARD),
        ("card_declined", "insufficient_funds", Decline.INSUFFICIENT_FUNDS),
        ("card_declined", "lost_card", Decline.LOST_OR_STOLEN),
        ("card_declined", "stolen_card", Decline.LOST_OR_STOLEN),
        ("card_declined", "generic_decline", Decline.DECLINED),
        ("card_declined", "a_code_of_next_year", Decline.DECLINED),
        ("incorrect_cvc", "incorrect_cvc", Decline.INCORRECT_DETAILS),
        ("incorrect_number", None, Decline.INCORRECT_DETAILS),
        ("processing_error", None, Decline.PROCESSING_ERROR),
        ("authentication_required", "authentication_required", Decline.AUTHENTICATION_REQUIRED),
        ("invoice_payment_intent_requires_action", None, Decline.AUTHENTICATION_REQUIRED),
        (None, None, None),
    ],
)
def test_the_kind_of_a_decline(
    code: str | None, decline_code: str | None, reason: Decline | None
) -> None:
    """The bank's reason goes before Stripe's code; an unknown one is `declined`, none is None."""
    assert decline_reason(code, decline_code) == reason


@pytest.mark.parametrize(
    "decline_code",
    [
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "transaction_not_allowed",
    ],
)
def test_after_what_stripe_calls_a_hard_decline_no_date_is_promised(decline_code: str) -> None:
    """The nine of Stripe's list: dates go on, and nothing is charged until there is a new payment method.
    https://docs.stripe.com/billing/revenue-recovery/smart-retries"""
    assert PaymentProblem(code="card_declined", decline_code=decline_code).needs_new_method


def test_a_payment_that_waits_for_the_customer_needs_authentication() -> None:
    """Without an error but with an action required, the reason is the confirmation."""
    assert PaymentProblem(needs_customer=True).reason is Decline.AUTHENTICATION_REQUIRED
    assert PaymentProblem().reason is None


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("pt_BR", "pt-BR"),
        ("PT-br", "pt-BR"),
        ("es-MX", "es"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("zh-Hant-TW", "zh"),
        ("tlh", "auto"),
        ("", "auto"),
        (None, "auto"),
    ],
)
def test_the_closest_language_of_stripes_page(locale: str | None, expected: str) -> None:
    """A tag becomes the closest language that Stripe's page speaks, else Stripe chooses."""
    assert portal_locale(locale) == expected


@given(any_text(max_size=40))
def test_any_locale_is_one_that_stripe_takes(locale: str) -> None:
    """Whatever a customer's record says, Stripe never refuses the session for its language."""
    assert portal_locale(locale) in PORTAL_LOCALES | {"auto"}


@given(any_text(max_size=60))
def test_no_text_opens_a_way_to_elsewhere(tail: str) -> None:
    """Whatever stands in a return URL, it is refused or leads to our own host."""
    from urllib.parse import urlsplit

    url = "https://me.example.com" + tail
    try:
        check_return_url(url, "https://me.example.com")
    except InvalidRequest:
        return
    assert urlsplit(url).hostname == "me.example.com"


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("rk_test_live", False)],
)
def test_the_mode_of_a_key(key: str, live: bool) -> None:
    """The mode stands in the key's second part, wherever else `live` appears."""
    assert is_live_key(key) is live


def test_the_key_of_a_payment_tells_card_and_change_apart() -> None:
    """Stripe replays a decline for a known key: another card, or the same one set again, must be another key."""
    keys = {
        pay_key("in_1", card, change, number)
        for card in ("pm_1", "pm_2")
        for change in ("evt_1", "evt_2")
        for number in (1, 2)
    }
    assert len(keys) == 8
    assert all(key.startswith("pay:") for key in keys)
    assert pay_key("in_1", "pm_1", "evt_1") == "pay:in_1:pm_1:evt_1"


@pytest.mark.parametrize(
    ("subscription", "differs"),
    [
        (Subscription("sub", "cus", "active"), False),
        (Subscription("sub", "cus", "active", charged_to("pm_new")), False),
        (Subscription("sub", "cus", "past_due", charged_to("pm_old")), True),
        (Subscription("sub", "cus", "active", charged_to(None, source="card_old")), True),
        (Subscription("sub", "cus", "active", charged_to("pm_new", source="card_old")), False),
        (Subscription("sub", "cus", "canceled", charged_to("pm_old")), False),
    ],
)
def test_which_subscriptions_must_learn_of_the_new_card(
    subscription: Subscription, differs: bool
) -> None:
    """Those that would charge something of their own; the others follow the customer."""
    assert subscription.has_another_default("pm_new") is differs


class Bag:
    """An object that has only what it was given, as a StripeObject does."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


def test_an_invoice_of_the_api_is_read_in_both_shapes() -> None:
    """The subscription is found at its old and at its new place."""
    common = {"id": "in_1", "customer": "cus_1", "currency": "usd", "amount_remaining": 1}
    details = Bag(subscription=Bag(id="sub_1"))
    new = to_invoice(Bag(**common, parent=Bag(subscription_details=details)))
    old = to_invoice(Bag(**common, subscription="sub_1"))
    assert new == old
    assert new.subscription_id == "sub_1"


def test_texts_and_times_of_stripes_answers_are_ones_that_can_be_kept() -> None:
    """Whatever Stripe's API answers: a text is cleaned like a webhook's, a number that is no moment is not known."""
    common = {"id": "in_1", "currency": "usd", "amount_remaining": 1}
    read = to_invoice(
        Bag(**common, customer="cus\x00", number="A\x1b1", next_payment_attempt=1 << 60)
    )
    assert (read.number, read.stripe_customer_id) == ("A\ufffd1", "cus\ufffd")
    assert read.next_payment_attempt is None


def test_the_last_error_is_that_of_the_default_payment() -> None:
    """Of several payments the default one counts, then the newest with an error; without any there is none."""

    def payment(code: str | None, *, default: bool, created: int) -> Bag:
        error = Bag(code=code, decline_code=None) if code else None
        intent = Bag(last_payment_error=error, status="requires_payment_method")
        return Bag(is_default=default, created=created, payment=Bag(payment_intent=intent))

    older = payment("expired_card", default=False, created=1)
    newer = payment("incorrect_cvc", default=False, created=2)
    default = payment("processing_error", default=True, created=0)
    for payments, code in (
        ([older, newer, default], "processing_error"),
        ([older, newer], "incorrect_cvc"),
    ):
        problem = to_payment_problem(payments)
        assert problem is not None
        assert problem.code == code
    assert to_payment_problem([payment(None, default=True, created=3)]) is None
    assert to_payment_problem([Bag(payment=Bag(payment_intent="pi_not_expanded"))]) is None


def test_a_configuration_without_a_feature_does_not_allow_it() -> None:
    """What Stripe does not send counts as off."""
    found = to_configuration(Bag(id="bpc_1", livemode=False, active=True, features=Bag()))
    assert not any(allowed for _, allowed in found.may)
    assert found.key is None
