"""Whether an installation works live, or observes (docs/adr/0032-observe-then-live.md): read the same way by all services.

While it observes everything is taken in and decided as ever. No mail goes that nobody asked for, no webhook to a host, and nothing is
written to Stripe. A single business can observe on a live installation, too.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from shared.settings import Reader

LIVE: Final = "live"
OBSERVE: Final = "observe"
MODES: Final = (LIVE, OBSERVE)


def counts(at: dt.datetime, live_since: dt.datetime | None) -> bool:
    """Whether what happened at this moment is acted upon by itself, as far as a business's line is concerned: what happened at the very
    line is after it. None: no line is drawn, and everything is."""
    return live_since is None or at >= live_since


def read_observes(read: Reader) -> bool:
    """`MODE`: whether the whole installation observes."""
    mode = read.choice(
        "MODE",
        meaning="`observe`: everything is taken in and decided, but no mail goes that nobody asked for, no webhook to a host, and "
        "nothing is written to Stripe; the same for all three services. `live`: a business can still observe by itself",
        options=MODES,
        default=LIVE,
    )
    return mode == OBSERVE
