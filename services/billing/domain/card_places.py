"""Whose new cards are tried as their events come in: so that an account whose Stripe is slow keeps nobody else's card waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contracts.accounts import Account


class CardPlaces:
    """So many places for cards that are tried at a time in this process.

    No account has more of them than it leaves to others: the first one up to half, the next one half of the rest, and so on.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: Counter[Account] = Counter()

    @contextmanager
    def place(self, account: Account, *, alone: bool) -> Iterator[bool]:
        """A place while the block lasts; False: the account has its share already. `alone`: there is no other account to leave any to."""
        if not alone and self._taken[account] >= self._places - self._taken.total():
            yield False
            return
        self._taken[account] += 1
        try:
            yield True
        finally:
            self._taken[account] -= 1
            if not self._taken[account]:
                del self._taken[account]
