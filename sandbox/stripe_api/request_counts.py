"""Who asked for what: reads and writes of each account, and the calls on a wrong one.

Stripe's allowance of reads is one pool for a platform and all its connected accounts, https://docs.stripe.com/rate-limits.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from sandbox.stripe_api import test_methods
from sandbox.stripe_api.places import Place

KEPT: Final = 50
HARMLESS: Final = ("/v1/billing_portal/", "/v1/invoices/create_preview")
"""Writes that change nothing of what a business sells and charges: what opens the Billing Portal, and a preview."""
_ID = re.compile(r"[a-z]+(?:_test|_live)?_[A-Za-z0-9]{6,}\Z")


@dataclass
class Counts:
    """Of one account: `reads` and `writes` that were carried out or refused on their merits, of the writes those that change more than
    opening the Billing Portal takes (`changes`), `limited` 429s, calls that named an object which is only in another place
    (`wrong_account`), and calls without access (`no_access`)."""

    reads: int = 0
    writes: int = 0
    changes: int = 0
    limited: int = 0
    wrong_account: int = 0
    no_access: int = 0


class RequestCounts:
    """Counts since the start, or since `clear`. They are not kept in the state file."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._of: dict[str, Counts] = {}
        self._wrong: deque[dict[str, str]] = deque(maxlen=KEPT)

    def of(self, account: str) -> Counts:
        """The counts of one account."""
        return self._of.setdefault(account, Counts())

    def note(
        self,
        place: Place,
        method: str,
        path: str,
        params: dict[str, Any],
        strange: Callable[[str], bool],
    ) -> None:
        """A request is about to be carried out on a place; `strange` says of an id that only other places have it."""
        counts = self.of(place.account)
        if method == "GET":
            counts.reads += 1
        else:
            counts.writes += 1
            counts.changes += path.startswith("/v1/") and not path.startswith(HARMLESS)
        stranger = next(filter(strange, _ids(path, params)), None)
        if stranger is not None:
            counts.wrong_account += 1
            call = {"account": place.account, "mode": place.mode}
            self._wrong.append({**call, "request": f"{method} {path}", "id": stranger})

    def shown(self) -> dict[str, Any]:
        """As JSON: each account that was asked for, the sums, and the last calls on a wrong one."""
        totals = {
            name: sum(getattr(one, name) for one in self._of.values())
            for name in Counts.__dataclass_fields__
        }
        accounts = {account: asdict(counts) for account, counts in self._of.items()}
        return {**totals, "accounts": accounts, "wrong_calls": list(self._wrong)}


def _ids(path: str, params: dict[str, Any]) -> Iterator[str]:
    """The ids that a request names."""
    for word in (*path.split("/")[3:], *_named(params)):
        if _ID.match(word) and test_methods.known(word) is None:
            yield word


def _named(value: Any, name: str = "") -> Iterator[str]:
    if name == "metadata":
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
