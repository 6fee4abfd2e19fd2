"""What Stripe's errors become here, and how they are counted."""

from __future__ import annotations

import pytest
import stripe  # noqa: TID251  (the library makes the errors)
from prometheus_client import REGISTRY

from services.billing.adapters.stripe.errors import stripe_errors
from services.billing.domain.errors import StripeRateLimited
from shared.contracts.rpc.errors import StripeRefused


@pytest.mark.parametrize(
    ("code", "counted"),
    [
        ("rate_limit", "rate_limit"),
        ("made_up_yesterday", "other"),
        ("No code", "none"),
        (None, "none"),
    ],
)
def test_the_metric_tells_apart_the_codes_that_we_know(code: str | None, counted: str) -> None:
    """Stripe adds to them: a new one must not become a new series."""
    errors = ("portico_stripe_errors_total", {"error": "StripeRefused", "code": counted})
    calls = ("portico_stripe_calls_total", {"outcome": "StripeRefused"})
    before = [REGISTRY.get_sample_value(*one) or 0 for one in (errors, calls)]
    with pytest.raises(StripeRefused), stripe_errors():
        raise stripe.InvalidRequestError("words", None, code=code, http_status=400)
    assert [REGISTRY.get_sample_value(*one) for one in (errors, calls)] == [n + 1 for n in before]


def test_what_stripe_grants_is_counted_too() -> None:
    """So that errors are a share of something."""
    calls = ("portico_stripe_calls_total", {"outcome": "ok"})
    before = REGISTRY.get_sample_value(*calls) or 0
    with stripe_errors():
        pass
    assert REGISTRY.get_sample_value(*calls) == before + 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("0", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", 60.0), ("soon", None)],
)
def test_a_wait_that_stripe_names_is_one_that_can_be_waited(
    header: str, wait: float | None
) -> None:
    """Whatever stands in the header: a number of seconds that a clock takes, and no more than a minute."""
    with pytest.raises(StripeRateLimited) as limited, stripe_errors():
        raise stripe.RateLimitError("slow", http_status=429, headers={"Retry-After": header})
    assert limited.value.retry_after == wait
