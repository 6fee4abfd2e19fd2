"""Who observes, as the portal says, and has said in the last seconds: webhooks to hosts come in thousands, of few businesses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from services.notifier.adapters.portal import PortalBusinesses, ask_modes
from services.notifier.ports import Mode, UnknownCustomer
from shared.contracts.accounts import StripeCustomer

LIVE_FOR: Final = 2.0
"""Seconds that the answer "live" is good for: for so long webhooks may still go after a business was told to observe. The answer "observes"
is never kept: it ends deliveries for good, and whose they are may have gone live since."""
MOST_KNOWN: Final = 10_000

Whose = str | StripeCustomer


class KnownModes:
    """The answers of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._live: dict[Whose, tuple[float, Mode]] = {}

    def mode(self, whose: Whose, ask: Callable[[], Mode]) -> Mode:
        """What is known of a business or a Stripe customer, or what `ask` says of it now."""
        now = self._clock()
        at, known = self._live.get(whose, (now - LIVE_FOR, Mode()))
        if now - at < LIVE_FOR:
            return known
        mode = ask()
        if mode.observes:
            self._live.pop(whose, None)
            return mode
        if len(self._live) >= MOST_KNOWN:
            self._live.clear()
        self._live[whose] = (now, mode)
        return mode


class PortalModes:
    """`Modes` over RPC to the portal, with what this process knows."""

    def __init__(self, portal: Any, known: KnownModes) -> None:
        self._portal = portal
        self._businesses = PortalBusinesses(portal)
        self._known = known

    def of_business(self, business_id: str) -> Mode:
        """See `Modes.of_business`."""
        return self._known.mode(business_id, lambda: self._ask(business_id))

    def of_customer(self, stripe_customer: StripeCustomer) -> Mode:
        """See `Modes.of_customer`."""
        return self._known.mode(
            stripe_customer, lambda: ask_modes(self._portal, [stripe_customer])[0]
        )

    def _ask(self, business_id: str) -> Mode:
        try:
            business = self._businesses.business(business_id).business
        except UnknownCustomer:  # whoever could say that it is live is gone with it
            return Mode(observes=True)
        return Mode(business.observed, business.live_since)
