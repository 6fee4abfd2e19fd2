"""Plays Stripe's API at `/v1/…`: the objects, the money, the clock, the webhooks.

`World` holds everything and can be called in process; `blueprint` puts it on HTTP.
"""

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.http import blueprint, keep_answer
from sandbox.stripe_api.world import World

__all__ = ["StripeError", "World", "blueprint", "keep_answer"]
