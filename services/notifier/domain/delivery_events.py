"""What a mail provider reports about an email that it has taken, in nobody's words but ours: adapters make it, handlers act on it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class Delivery(StrEnum):
    """What happened to an email. Each proves that the provider took it."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    """The reader's mail server asked for patience; the provider tries again by itself."""
    BOUNCED = "bounced"
    """The reader's mail server refused it."""
    DROPPED = "dropped"
    """The provider did not even try."""
    COMPLAINED = "complained"
    """The reader reported it as spam."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DeliveryEvent:
    """One report about one email. Reports come late, in any order, and more than once with the same id."""

    event_id: str
    notification_id: str = ""
    """Empty where the provider names the message alone: then `message_id` tells which it was."""
    message_id: str | None = None
    """The provider's name for the message, as it was told when it took it."""
    what: Delivery
    occurred_at: dt.datetime
    address: str = ""
    """Whom the email went to. It is hashed, never stored."""
    permanent: bool = False
    """The address takes no further email either; False: it may take the next one."""
    complaint: bool = False
    """Permanent since its owner reported an email as spam, not since there is no such mailbox."""
    reason: str = ""
    """A mail server's or the provider's own sentence. It may quote the address."""
    provider_word: str
    """The provider's own name for it, which records, the time line and metrics keep. No rule reads it."""
