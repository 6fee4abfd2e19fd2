"""What a caller gets: handlers answer structs, and tests that are about the wire look at their JSON."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any

from shared.contracts.rpc.base import plain


def on_the_wire(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, with its answer as it has become on the other side."""

    @functools.wraps(handler)
    def call(*args: Any, **arguments: Any) -> Any:
        return plain(handler(*args, **arguments))

    return call


def moment(at: dt.datetime) -> str:
    """A time as the portal's and the notifier's answers write it."""
    return at.isoformat().replace("+00:00", "Z")
