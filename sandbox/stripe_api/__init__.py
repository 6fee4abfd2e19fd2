"""Plays Stripe's API at `/v1/…`: the objects, the money, the clock, the webhooks.

`StripeApi` holds everything and can be called in process; `blueprint` puts it on HTTP.
"""

from sandbox.stripe_api.api import StripeApi
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.http import blueprint, keep_answer, present_place

__all__ = ["StripeApi", "StripeError", "blueprint", "keep_answer", "present_place"]
