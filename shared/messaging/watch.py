"""Is a listener listening, and if not, is it the listener's own fault? Rules over what it is told; no broker in here.

A listener that has lost its broker is degraded, and goes on trying. One that can't get back to a broker to which a fresh
connection works is beyond help from inside: after `HOPELESS_SECONDS` of that its process had better begin anew. A broker that is
away is no reason to, however long, and neither is waiting for what another service declares.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SILENCE_SECONDS: Final = 4.0
"""The broker is asked every two seconds; a listener whose last answer is older is not known to be listening."""
HOPELESS_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 5.0
"""One that listens for less, and is lost again, has not healed."""
PROBE_SECONDS: Final = 5.0
"""How often a fresh connection is tried meanwhile."""
BLIND_SECONDS: Final = 20.0
"""After a longer pause between two looks the process itself stood still, and what was seen before counts for nothing."""


class Watch:
    """What is known of one listener."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._problem = "not connected to the broker"
        self._consumes = False
        self._waits = False
        now = clock()
        self._heard = self._looked = self._steady_since = now
        self._probed = now - PROBE_SECONDS
        self._ailing_since: float | None = None

    # -- what the listener tells -------------------------------------------------------------------------

    def listening(self) -> None:
        """Its consumers stand, and the broker has just confirmed that what they need is there."""
        self._hear("")
        if self._clock() - self._steady_since >= STEADY_SECONDS:
            self._ailing_since = None

    def incomplete(self, problem: str) -> None:
        """Its consumers stand, but something that brings them messages is missing, and is not theirs to make."""
        self._hear(problem)

    def _hear(self, problem: str) -> None:
        self._heard = self._clock()
        if not self._consumes:
            self._steady_since = self._heard
        self._problem, self._consumes, self._waits = problem, True, False

    def lost(self, problem: str, *, waits: bool = False) -> None:
        """It does not consume. `waits`: because something is missing that another service declares."""
        self._problem, self._consumes, self._waits = problem, False, waits

    # -- what others want to know ------------------------------------------------------------------------

    @property
    def is_consuming(self) -> bool:
        """Whether it takes messages, as far as the broker has said lately."""
        return self._consumes and self._silent <= SILENCE_SECONDS

    @property
    def problem(self) -> str:
        """Why it does not listen as it should; empty when it does."""
        if self._consumes and self._silent > SILENCE_SECONDS:
            return f"the broker has not answered for {self._silent:.0f} s"
        return self._problem

    @property
    def _silent(self) -> float:
        return self._clock() - self._heard

    # -- whether it can still be helped ------------------------------------------------------------------

    def wants_probe(self) -> bool:
        """Asked every second or so: whether a fresh connection is to be tried now."""
        now = self._clock()
        if now - self._looked > BLIND_SECONDS:
            self._ailing_since = None
        self._looked = now
        return self._ails and now - self._probed >= PROBE_SECONDS

    def probed(self, works: bool) -> None:
        """What came of it."""
        self._probed = self._clock()
        if not works:
            self._ailing_since = None
        elif self._ailing_since is None:
            self._ailing_since = self._probed

    @property
    def is_hopeless(self) -> bool:
        """Whether it has not got back for a minute to a broker that was there all the time."""
        return (
            self._ails
            and self._ailing_since is not None
            and self._clock() - self._ailing_since >= HOPELESS_SECONDS
        )

    @property
    def _ails(self) -> bool:
        return not self.is_consuming and not self._waits
