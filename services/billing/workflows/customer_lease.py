"""One customer at a time, over all replicas: whoever tries a card for a customer has them alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.orm import Session

from services.billing.queries import customer_leases
from shared.contracts.accounts import StripeId
from shared.database import Transactions

LEASE: Final = dt.timedelta(minutes=2)
"""Longer than the longest single call to Stripe with its retries; renewed before each."""


class CustomerBusy(Exception):
    """Another worker is trying a card for this customer; the event comes back later."""


class CustomerLease:
    """A row that says who has the customer, and until when."""

    def __init__(
        self,
        database: Transactions,
        customer: StripeId,
        holder: str,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._database = database
        self._customer = customer
        self._holder = holder
        self._clock = clock

    @contextmanager
    def kept(self) -> Iterator[Session]:
        """A transaction in which the customer is ours until it is committed. Raises CustomerBusy when somebody else has it."""
        now = self._clock()
        with self._database.transaction() as session:
            if not customer_leases.take_lease(
                session, self._customer, self._holder, now, now + LEASE
            ):
                raise CustomerBusy(f"another card is being tried for {self._customer.id}")
            yield session

    def keep(self) -> None:
        """Take it, or stay in it. Raises CustomerBusy."""
        with self.kept():
            pass


@contextmanager
def lease_of(
    database: Transactions,
    customer: StripeId,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Iterator[CustomerLease]:
    lease = CustomerLease(database, customer, holder, clock)
    try:
        yield lease
    finally:
        with database.transaction() as session:
            customer_leases.release_lease(session, customer, holder)
