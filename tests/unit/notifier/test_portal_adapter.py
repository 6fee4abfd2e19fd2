"""Asking the portal about Stripe customers."""

from __future__ import annotations

from typing import Any

import eventlet
from eventlet.event import Event

from services.notifier.adapters.portal import fetch_contacts
from shared.contracts.accounts import Account, StripeCustomer


def test_customers_of_many_accounts_are_asked_about_at_the_same_time() -> None:
    """A call names one account: one after another they would take as long as there are accounts."""
    asked: list[tuple[str, list[str]]] = []
    both = Event()

    class Portal:
        def contacts(self, stripe_customer_ids: list[str], account: str = "") -> dict[str, Any]:
            asked.append((account, stripe_customer_ids))
            if len(asked) == 2:
                both.send()
            both.wait()
            return {}

    wanted = [
        StripeCustomer(Account("acct_1"), "cus_2"),
        StripeCustomer(Account("acct_2"), "cus_1"),
        StripeCustomer(Account("acct_1"), "cus_1"),
    ]
    with eventlet.Timeout(5):
        assert fetch_contacts(Portal(), wanted) == [None] * 3
    assert sorted(asked) == [("acct_1", ["cus_1", "cus_2"]), ("acct_2", ["cus_1"])]
