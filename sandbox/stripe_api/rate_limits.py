"""How many requests a second Stripe takes: of a platform in all, on one account, at one endpoint.

https://docs.stripe.com/rate-limits: 100 a second in live mode, 25 in a sandbox, 25 an endpoint. None is set at the start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.places import Place

REASONS: Final = {"platform": "global-rate", "account": "global-rate", "endpoint": "endpoint-rate"}
"""By what is limited, what `Stripe-Rate-Limited-Reason` says."""


class RateLimited(StripeError):
    """Too many requests; `reason` goes into the header."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "Request rate limit exceeded. Learn more about rate limits at https://stripe.com/docs/rate-limits.",
            status=429,
            code="rate_limit",
            keep=False,
        )
        self.reason = reason


@dataclass
class _Bucket:
    left: float
    at: float


class RateLimits:
    """Requests a second, by `platform`, `account` and `endpoint` (of an account); None: as many as come.

    A request with the header `Stripe-Account` fills the bucket of the account and the platform's own. Whose bucket Stripe
    fills could not be verified: this is the strict reading. `of` has limits of single accounts.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, ...], _Bucket] = {}
        self.limits: dict[str, float | None] = dict.fromkeys(REASONS)
        self.of: dict[str, float] = {}

    def take(self, home: Place, place: Place, endpoint: str) -> None:
        """Count a request on a place with a key of `home`; raises RateLimited."""
        if not self.of and not any(self.limits.values()):
            return
        where = (place.account, place.mode)
        self._take("account", where, self.of.get(place.account, self.limits["account"]))
        self._take("endpoint", (*where, endpoint), self.limits["endpoint"])
        if home.is_platform:
            self._take("platform", (home.mode,), self.limits["platform"])

    def _take(self, kind: str, whose: tuple[str, ...], rate: float | None) -> None:
        if not rate:
            return
        now = time.monotonic()
        bucket = self._buckets.setdefault((kind, *whose), _Bucket(max(rate, 1.0), now))
        bucket.left = min(max(rate, 1.0), bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.left < 1:
            raise RateLimited(REASONS[kind])
        bucket.left -= 1
