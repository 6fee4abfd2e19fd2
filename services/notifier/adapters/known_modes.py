"""Which businesses observe, as the portal has said in the last seconds: webhooks to hosts come in thousands, of few businesses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from services.notifier.adapters.portal import PortalContacts
from services.notifier.ports import UnknownCustomer

GOOD_FOR: Final = 10.0
"""Seconds that an answer is good for."""
MOST_KNOWN: Final = 10_000


class KnownModes:
    """The answers of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}

    def observes(self, business_id: str, ask: Callable[[str], bool]) -> bool:
        """What is known of a business, or what `ask` says of it now."""
        now = self._clock()
        at, observes = self._known.get(business_id, (now - GOOD_FOR, False))
        if now - at < GOOD_FOR:
            return observes
        observes = ask(business_id)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[business_id] = (now, observes)
        return observes


class PortalModes:
    """`Modes` over RPC to the portal, with what this process knows."""

    def __init__(self, portal: Any, known: KnownModes) -> None:
        self._contacts = PortalContacts(portal, lambda one: None)
        self._known = known

    def observes(self, business_id: str) -> bool:
        """See `Modes.observes`."""
        return self._known.observes(business_id, self._ask)

    def _ask(self, business_id: str) -> bool:
        try:
            return self._contacts.business(business_id).business.observed
        except UnknownCustomer:  # gone, and with it whoever could go live
            return False
