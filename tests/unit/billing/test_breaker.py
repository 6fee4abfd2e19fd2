"""The breaker: fails fast while Stripe is away, asks again carefully, closes when it is back."""

from __future__ import annotations

import pytest

from services.billing.adapters.stripe.breaker import FAILURES, OPEN_SECONDS, Breaker
from services.billing.domain.errors import (
    StripeBusy,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from shared.contracts.rpc.errors import BillingError, StripeUnavailable, UnknownStripeCustomer


class Stripe:
    """Stripe, up or down, and how often it was asked."""

    def __init__(self) -> None:
        self.now, self.down, self.asked = 0.0, True, 0
        self.breaker = Breaker(lambda: self.now)

    def click(self) -> bool:
        """Whether the click got an answer of Stripe's."""
        try:
            with self.breaker.guard():
                self.asked += 1
                if self.down:
                    raise StripeUnavailable("down")
        except StripeUnavailable:
            return False
        return True


def test_after_failures_in_a_row_nobody_waits_any_more() -> None:
    """The fifth failure opens it; a hundred clicks later Stripe was asked no more."""
    stripe = Stripe()
    for _ in range(FAILURES + 100):
        stripe.click()
    assert (stripe.asked, stripe.breaker.open) == (FAILURES, True)


def test_one_probe_goes_through_and_its_success_closes_it() -> None:
    """After the pause a single click tries; failed it stays open for another pause, successful everybody may."""
    stripe = Stripe()
    for _ in range(FAILURES):
        stripe.click()
    stripe.now += OPEN_SECONDS
    assert not stripe.click()
    assert not stripe.click()
    assert stripe.asked == FAILURES + 1
    stripe.now += OPEN_SECONDS
    stripe.down = False
    assert stripe.click()
    assert stripe.click()
    assert not stripe.breaker.open


def test_while_a_probe_is_out_the_others_fail_fast() -> None:
    """A probe that hangs takes one click with it, not all."""
    stripe = Stripe()
    for _ in range(FAILURES):
        stripe.click()
    stripe.now += OPEN_SECONDS
    stripe.down = False
    with stripe.breaker.guard():
        assert not stripe.click()
    assert stripe.click()


@pytest.mark.parametrize(
    "answer",
    [
        UnknownStripeCustomer,
        StripeKeyRefused,
        StripePermissionMissing,
        StripeBusy,
        StripeRateLimited,
    ],
)
def test_a_refusal_is_an_answer(answer: type[BillingError]) -> None:
    """An unknown customer, a revoked key, a busy object or a limit says nothing against Stripe, and ends a row of
    failures."""
    stripe = Stripe()
    for _ in range(FAILURES - 1):
        stripe.click()
    for _ in range(FAILURES):
        with pytest.raises(answer), stripe.breaker.guard():
            raise answer("no")
    stripe.click()
    assert not stripe.breaker.open
