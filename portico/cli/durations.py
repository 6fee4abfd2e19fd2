"""What people may write on the command line, as values."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

import typer

AGO: Final = re.compile(r"(\d{1,5})([mhdw])")
CLOCKS_DIFFER: Final = dt.timedelta(minutes=5)
LONGEST_SHOWN: Final = 40
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str, now: dt.datetime, name: str = "--since") -> dt.datetime:
    """`3d`, `12h`, `90m`, `2w` before now, or an ISO time, in UTC unless it has a zone; of the option `name`. Raises
    typer.BadParameter, also for a time that is still to come."""
    ago = AGO.fullmatch(text)
    try:
        if ago:
            return now - dt.timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
        raise typer.BadParameter(
            f"{shown!r} is neither 3d, 12h, 90m, 2w nor an ISO time", param_hint=name
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    if moment > now + CLOCKS_DIFFER:
        raise typer.BadParameter(f"{text!r} is still to come", param_hint=name)
    return moment
