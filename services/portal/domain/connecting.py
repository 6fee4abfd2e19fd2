"""How a business connects its Stripe account: the secrets that it takes, and what can come of it.

The link is for whoever may speak for the business. What goes to Stripe and comes back, `state`, is bound to the link's business and to
the browser that was sent there, by a cookie: else whoever can make somebody open an address could tie a stranger's account to a
business (https://docs.stripe.com/connect/oauth-reference; RFC 6749, 10.12).
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import re
from typing import Final

LINK_LASTS: Final = dt.timedelta(days=3)
"""It goes by mail to somebody who has Stripe's password, and may not be at work today."""
STATE_LASTS: Final = dt.timedelta(minutes=10)
CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
"""What Stripe's codes are made of."""


class Outcome(enum.StrEnum):
    """What came of an answer that Stripe sent back."""

    DONE = "done"
    DENIED = "denied"
    """Whoever was asked at Stripe said no."""
    EXPIRED = "expired"
    """More than ten minutes at Stripe."""
    REPLAYED = "replayed"
    """The answer came before."""
    STRANGE = "strange"
    """Nobody was sent to Stripe with this state from this browser."""
    REFUSED = "refused"
    """Stripe takes the code from nobody any more."""
    UNAVAILABLE = "unavailable"
    """Stripe, or billing, did not answer: it is not known whether the account is connected."""
    NOT_READY = "not_ready"
    """The installation can't connect accounts: its settings, or its schema."""
    OTHER_MODE = "other_mode"
    TAKEN = "taken"
    """Another business has the account."""
    LINKED = "linked"
    """Customers of the business are linked with Stripe customers of the account before."""


def digest(secret: str) -> str:
    """What is stored of a secret. One of 128 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
