"""A time limit on one message, whatever the HTTP client makes of an answer that trickles in."""

from __future__ import annotations

from typing import Final

import eventlet

from services.notifier.domain.sending import MaybeSent, Outcome
from services.notifier.ports import Mail, Mailer

POST_SECONDS: Final = 20
"""Longest time that one message may take in all. The HTTP client's own limits are per read, and an answer that
trickles in byte by byte never meets them."""


class TimeLimitedMailer:
    """A `Mailer` with an end: whatever happens, one message takes no longer than `POST_SECONDS`."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    def send(self, mail: Mail) -> Outcome:
        """See `Mailer.send`."""
        with eventlet.Timeout(POST_SECONDS, False):
            return self._mailer.send(mail)
        return MaybeSent("no whole answer from SendGrid in time")
