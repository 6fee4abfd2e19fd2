"""A circuit breaker in front of Stripe at the click.

While Stripe hangs, each click would hold a worker and a customer for the whole time-out. After some failures in a row the
breaker opens: clicks are answered at once with "not right now" and nothing is asked of Stripe. After a pause one click
at a time tries again; when one succeeds the breaker closes.

Written here (forty lines) rather than taken from a library: pybreaker and its kin lock with threads, count in a store,
and know no "one probe at a time" across green threads that yield inside the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.billing.domain.errors import StripeBusy, StripeRateLimited
from shared.contracts.rpc.errors import StripeUnavailable

FAILURES: Final = 5
"""In a row, before it opens. One is normal."""
OPEN_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 10.0
"""A probe that says nothing for so long does not keep the next one waiting."""


class Breaker:
    """Counts failures of one process; calls run inside `guard()`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_from: float | None = None
        """Set while open: when the next probe may go."""

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for a probe now and then."""
        return self._closed_from is not None

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run the body, or raise StripeUnavailable at once while Stripe is known to be away.

        StripeUnavailable from the body is a failure; anything else proves that Stripe answers: refusals of the request or of
        our key, an object that is busy, a rate limit.
        """
        if self._closed_from is not None:
            now = self._clock()
            if now < self._closed_from:
                raise StripeUnavailable("Stripe did not answer lately, so it was not asked")
            self._closed_from = (
                now + PROBE_SECONDS
            )  # this call is the probe; others wait for what it finds
        try:
            yield
        except (StripeBusy, StripeRateLimited):
            self._closed()  # answered at once: nobody was held up
            raise
        except StripeUnavailable:
            self._failures += 1
            if self._failures >= FAILURES:
                self._closed_from = self._clock() + OPEN_SECONDS
            raise
        except Exception:
            self._closed()
            raise
        self._closed()

    def _closed(self) -> None:
        self._failures = 0
        self._closed_from = None
