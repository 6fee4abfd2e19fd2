"""Which payment method Stripe charges: one rule, in Stripe's order, here and in the sandbox that plays Stripe."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.stripe_api import method_choice
from shared.contracts.payments import ChargeDefaults, SavedMethod, charged_method, is_source

CARD, BANK = "card", "us_bank_account"
INVOICES, ITS_SOURCE, SUBSCRIPTIONS, ITS_OLD, CUSTOMERS, OLDEST = (
    SavedMethod("pm_invoice", CARD),
    SavedMethod("card_invoice", CARD),
    SavedMethod("pm_subscription", BANK),
    SavedMethod("card_subscription", CARD),
    SavedMethod("pm_customer", BANK),
    SavedMethod("card_customer", CARD),
)
IN_ORDER = (INVOICES, ITS_SOURCE, SUBSCRIPTIONS, ITS_OLD, CUSTOMERS, OLDEST)


def charged(*present: SavedMethod, types: frozenset[str] = frozenset()) -> SavedMethod | None:
    def default(one: SavedMethod) -> SavedMethod | None:
        return one if one in present else None

    return charged_method(
        ChargeDefaults(default(CUSTOMERS), default(OLDEST)),
        ChargeDefaults(default(SUBSCRIPTIONS), default(ITS_OLD), types),
        ChargeDefaults(default(INVOICES), default(ITS_SOURCE)),
    )


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_first_that_is_there_is_charged(first: int) -> None:
    """The invoice's own, the subscription's, the customer's; at each a payment method before a source."""
    assert charged(*IN_ORDER[first:]) == IN_ORDER[first]


def test_without_any_nothing_is_charged() -> None:
    """Nothing is there, or nothing of a type that is taken."""
    assert charged() is None
    assert charged(SUBSCRIPTIONS, CUSTOMERS, types=frozenset({CARD})) is None


def test_a_type_that_is_not_taken_is_passed_over() -> None:
    """At whichever of the three it stands; a method whose type is not known counts as taken."""
    assert charged(SUBSCRIPTIONS, ITS_OLD, types=frozenset({CARD})) == ITS_OLD
    assert charged(INVOICES, CUSTOMERS, OLDEST, types=frozenset({BANK})) == CUSTOMERS
    unknown = ChargeDefaults(SavedMethod("pm_unknown"))
    assert charged_method(unknown, ChargeDefaults(types=frozenset({CARD}))) == SavedMethod(
        "pm_unknown"
    )


@pytest.mark.parametrize(
    ("method_id", "old"),
    [("pm_1", False), ("card_1", True), ("ba_1", True), ("src_1", True), ("", False)],
)
def test_the_id_says_of_which_api_a_method_is(method_id: str, old: bool) -> None:
    """Stripe takes the older ones as a `source`."""
    assert is_source(method_id) is old


@pytest.mark.parametrize("types", [frozenset(), frozenset({CARD}), frozenset({BANK})])
def test_the_sandbox_chooses_alike(types: frozenset[str]) -> None:
    """In all 64 combinations of what is there: the stand-in for Stripe and our rule don't drift apart."""
    methods = {one.id: {"id": one.id, "type": one.type, "customer": "cus_1"} for one in IN_ORDER}
    world: Any = SimpleNamespace(store=methods)
    settings = {"payment_method_types": sorted(types) or None}
    for there in itertools.product((True, False), repeat=len(IN_ORDER)):
        present = [one for one, is_there in zip(IN_ORDER, there, strict=True) if is_there]

        def named(one: SavedMethod, present: list[SavedMethod] = present) -> str | None:
            return one.id if one in present else None

        found = method_choice.charged_method(
            world,
            {
                "id": "cus_1",
                "invoice_settings": {"default_payment_method": named(CUSTOMERS)},
                "default_source": named(OLDEST),
            },
            subscription={
                "default_payment_method": named(SUBSCRIPTIONS),
                "default_source": named(ITS_OLD),
                "payment_settings": settings,
            },
            invoice={
                "default_payment_method": named(INVOICES),
                "default_source": named(ITS_SOURCE),
                "payment_settings": {"payment_method_types": None},
            },
        )
        ours = charged(*present, types=types)
        assert (found and found["id"]) == (ours and ours.id)
