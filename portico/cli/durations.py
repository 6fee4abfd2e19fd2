"""What people may write on the command line, as values."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

import typer

SPAN: Final = re.compile(r"(\d{1,5})([mhdw])")
CLOCKS_DIFFER: Final = dt.timedelta(minutes=5)
LONGEST_SHOWN: Final = 40
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str, now: dt.datetime, name: str = "--since") -> dt.datetime:
    """`3d`, `12h`, `90m`, `2w` before now, or an ISO time, in UTC unless it has a zone; of the option `name`. Raises
    typer.BadParameter, also for a time that is still to come."""
    moment = _moment(text, now, -1, name)
    if moment > now + CLOCKS_DIFFER:
        raise typer.BadParameter(f"{text!r} is still to come", param_hint=name)
    return moment


def from_now(text: str, now: dt.datetime, name: str) -> dt.datetime:
    """`90d` from now, or an ISO time; the portal refuses one that is over."""
    return _moment(text, now, 1, name)


def _moment(text: str, now: dt.datetime, sign: int, name: str) -> dt.datetime:
    span = SPAN.fullmatch(text)
    try:
        if span:
            return now + sign * dt.timedelta(**{UNITS[span[2]]: int(span[1])})
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
        raise typer.BadParameter(
            f"{shown!r} is neither 3d, 12h, 90m, 2w nor an ISO time", param_hint=name
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
