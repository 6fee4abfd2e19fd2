"""What time it is, and how well others know it."""

from __future__ import annotations

import datetime as dt
from typing import Final

CLOCKS_APART: Final = dt.timedelta(minutes=5)
"""By how much Stripe's clock and ours may differ. A webhook that is signed further off is refused, so where they differ by more nothing works
at all; where they differ by less everything has to."""


def utc_now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(dt.UTC)
