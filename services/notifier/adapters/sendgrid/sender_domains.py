"""Which addresses of businesses emails may come from: those of domains that SendGrid has authenticated, so that the mail
really is the business's to whoever checks (SPF, DKIM, DMARC). All others are sent from the installation's address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from shared.telemetry import get_logger

log = get_logger(__name__)

GOOD_FOR: Final = 600.0
"""Seconds that SendGrid's list of domains is believed."""
ASK_AGAIN: Final = 60.0
"""Seconds before SendGrid is asked once more that did not answer. What it said before goes on counting."""


class Unreadable(Exception):
    """The list of domains can't be had now; the text says why."""


def is_of(address: str, domains: Collection[str]) -> bool:
    """Whether an address is of one of these domains (in lower case), or of a part of one."""
    labels = address.rpartition("@")[2].lower().split(".")
    return any(".".join(labels[at:]) in domains for at in range(len(labels)))


class SenderDomains:
    """The authenticated domains as they were lately; asked for when an address of a business is to be used, and not
    before. Safe to share between green threads: one asks, the others wait for it."""

    def __init__(
        self, read: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` gives the domains in lower case, over the network; it may raise Unreadable."""
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._ask_at = clock()

    def allow(self, address: str | None) -> bool:
        """Whether emails may come from this address."""
        if not address:
            return False
        with self._lock:
            if self._clock() >= self._ask_at:
                # Before the look: one that is cut off is not repeated for each email.
                self._ask_at = self._clock() + ASK_AGAIN
                self._look()
        return is_of(address, self._known)

    def _look(self) -> None:
        try:
            self._known = frozenset(self._read())
        except Unreadable as error:
            log.warning("authenticated domains not read", why=str(error))
            return
        self._ask_at = self._clock() + GOOD_FOR

    def refused(self, address: str) -> None:
        """SendGrid did not take this address: its domain counts no more until the next look."""
        self._known = frozenset(one for one in self._known if not is_of(address, {one}))
        log.warning("sender address refused by SendGrid", domain=address.rpartition("@")[2])
