"""How many new cards an account may have tried at a time."""

from __future__ import annotations

from contextlib import ExitStack

from services.billing.domain.card_places import CardPlaces
from shared.contracts.accounts import Account

FIRST, SECOND, THIRD = Account("acct_1"), Account("acct_2"), Account("acct_3")


def taken(places: CardPlaces, stack: ExitStack, account: Account, *, alone: bool = False) -> int:
    """How many places the account gets, one after another."""
    count = 0
    while count < 100 and stack.enter_context(places.place(account, alone=alone)):
        count += 1
    return count


def test_no_account_takes_more_than_it_leaves_to_others() -> None:
    """The first one half, the next one half of the rest; and so the places never run out by one account alone."""
    places = CardPlaces(12)
    with ExitStack() as stack:
        assert [taken(places, stack, one) for one in (FIRST, SECOND, THIRD)] == [6, 3, 2]
        assert taken(places, stack, FIRST) == 0
    with ExitStack() as stack:
        assert taken(places, stack, SECOND) == 6, "all were given back"


def test_an_account_that_is_alone_takes_what_it_needs() -> None:
    """There is nobody to leave a place to."""
    with ExitStack() as stack:
        assert taken(CardPlaces(2), stack, FIRST, alone=True) == 100
