"""Plays Stripe's API at `/v1/…`: the objects, the money, the clock, the webhooks.

`StripeApi` holds everything and can be called in process; `blueprint` puts it on HTTP.
"""

from sandbox.stripe_api.api import AccountApi, StripeApi
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.http import blueprint, keep_answer, present_place
from sandbox.stripe_api.oauth import OAuthError
from sandbox.stripe_api.oauth import Request as OAuthRequest
from sandbox.stripe_api.places import Place

__all__ = [
    "AccountApi",
    "OAuthError",
    "OAuthRequest",
    "Place",
    "StripeApi",
    "StripeError",
    "blueprint",
    "keep_answer",
    "present_place",
]
