"""What may be said of a price."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from shared.contracts.prices import (
    UNKNOWN_TERMS,
    Lasts,
    NextInvoice,
    Price,
    Pricing,
    Terms,
    asks_stripe,
    next_amount,
    price,
    pricing_of,
)

LATER = dt.datetime(2027, 3, 3, tzinfo=dt.UTC)
PLAIN = Terms(
    pricing=Pricing.FIXED, amount=14900, currency="usd", interval="month", discounted=False
)
SAID = Price(amount=14900, currency="usd", interval="month")
HALF = NextInvoice(amount=7450, recurring=7450, discount=Lasts.FOREVER)


def with_(terms: Terms = PLAIN, **changes: object) -> Terms:
    return dataclasses.replace(terms, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terms", "said", "coming"),
    [
        (PLAIN, SAID, None),
        (with_(next_invoice=NextInvoice(amount=14900, recurring=14900)), SAID, 14900),
        (UNKNOWN_TERMS, None, None),
        (with_(pricing=None), None, None),
        (with_(discounted=None), None, None),
        (with_(discounted=True), None, None),
        (with_(amount=None), None, None),
        (with_(pricing=Pricing.OTHER), None, None),
        (with_(pricing=Pricing.OTHER, next_invoice=HALF), None, 7450),
        (with_(pricing=None, next_invoice=HALF), None, 7450),
        (
            with_(pricing=Pricing.FIXED_AND_USAGE, next_invoice=HALF),
            dataclasses.replace(SAID, amount=7450, usage=True, discount=Lasts.FOREVER),
            None,
        ),
        (with_(pricing=Pricing.FIXED_AND_USAGE), dataclasses.replace(SAID, usage=True), None),
        (Terms(pricing=Pricing.USAGE), Price(amount=None, usage=True), None),
        (
            with_(discounted=True, next_invoice=HALF),
            dataclasses.replace(SAID, amount=7450, discount=Lasts.FOREVER),
            7450,
        ),
        (
            with_(next_invoice=dataclasses.replace(HALF, discount=Lasts.ONCE)),
            SAID,
            7450,
        ),
        (
            with_(next_invoice=dataclasses.replace(HALF, discount=Lasts.REPEATING, until=LATER)),
            dataclasses.replace(
                SAID, amount=7450, discount=Lasts.REPEATING, until=LATER, afterwards=14900
            ),
            7450,
        ),
        (with_(next_invoice=dataclasses.replace(HALF, discount=Lasts.MIXED)), None, 7450),
        (with_(next_invoice=NextInvoice(amount=16100, recurring=None)), None, 16100),
    ],
)
def test_only_what_is_so_is_said(terms: Terms, said: Price | None, coming: int | None) -> None:
    """A price where one sentence is true, the next payment where Stripe told it, else nothing."""
    assert price(terms) == said
    assert next_amount(terms) == coming


def test_stripe_is_asked_about_all_but_usage() -> None:
    """Usage has no amount ahead; a plain price may have a discount of the customer's."""
    assert asks_stripe(PLAIN)
    assert asks_stripe(UNKNOWN_TERMS)
    assert not asks_stripe(Terms(pricing=Pricing.USAGE))


def test_a_word_of_a_later_release_is_not_known() -> None:
    """Neither an error nor a guess."""
    assert pricing_of("by_moon_phase") is None
    assert pricing_of(None) is None
    assert pricing_of("usage") is Pricing.USAGE
