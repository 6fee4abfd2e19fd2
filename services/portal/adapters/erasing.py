"""What billing and the notifier hold of a customer, forgotten over RPC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from services.portal.adapters.failures import FAILURES, reason
from services.portal.ports import ServiceAway
from shared.contracts.accounts import Account, account_argument
from shared.contracts.deadlines import ERASING
from shared.contracts.rpc import billing, notifier
from shared.contracts.rpc.base import Method, UnreadableAnswer
from shared.contracts.rpc.errors import InvalidArgument, RemoteFault

Shape = TypeVar("Shape")
FROM_THE_BEGINNING: Final = "inbox:"


@dataclass(frozen=True, repr=False)
class Person:
    """Who is forgotten."""

    account: Account
    customer_id: str
    stripe_customer_id: str | None
    on_behalf_of: str | None
    """Set where the Stripe customer, a platform's, stays another business's: on whose behalf this one's invoices are charged (empty:
    nobody's). What names the Stripe customer or the address, which that one has as well, stays then."""
    email: str | None
    """None: what names nothing but the address stays. Others may have the same one."""
    merged_ids: Sequence[str] = ()
    """Ids of customers who were merged into this one."""


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten so far."""

    emails: int = 0
    """Rows of the notifier."""
    webhooks: int = 0
    """Bodies of Stripe's events that were emptied."""
    events: int = 0
    """Rows of billing."""
    after: str | None = None
    """Where the next request goes on; None: all is done."""


class RpcErasure:
    """Forgetting in the other services."""

    def __init__(self, billing: Any, notifier: Any) -> None:
        self._billing, self._notifier = billing, notifier

    def forget(self, person: Person, after: str | None) -> Forgotten:
        """Forget a person, going on after a place in what billing keeps; as much as a request has time for. Raises ServiceAway, and
        InvalidArgument for `after`. Safe to repeat."""
        until, where = time.monotonic() + ERASING, account_argument(person.account)
        done, alone = Forgotten(after=after or FROM_THE_BEGINNING), person.on_behalf_of is None
        if after is None:
            gone = _ask(
                notifier.ERASE_CUSTOMER,
                self._notifier,
                customer_id=person.customer_id,
                stripe_customer_id=person.stripe_customer_id,
                **where,
                **({} if alone else {"on_behalf_of": person.on_behalf_of}),
            )
            rows = gone.deleted
            for merged in person.merged_ids:
                rows += _ask(
                    notifier.ERASE_CUSTOMER, self._notifier, customer_id=merged, **where
                ).deleted
            done = replace(done, emails=rows)
        marks: list[str | None] = [person.customer_id, *person.merged_ids]
        if alone:
            marks = [person.stripe_customer_id, *marks, person.email]
        first, *others = [one for one in marks if one]
        while done.after is not None and time.monotonic() < until:
            step = _ask(
                billing.ERASE_CUSTOMER,
                self._billing,
                stripe_customer_id=first,
                also=others,
                after=done.after,
                **where,
            )
            done = replace(
                done,
                webhooks=done.webhooks + step.emptied,
                events=done.events + step.deleted,
                after=step.next,
            )
        return done


def _ask(method: Method[Shape], proxy: Any, **arguments: Any) -> Shape:
    try:
        return method.call(proxy, **arguments)
    except (*FAILURES, UnreadableAnswer) as error:
        if isinstance(error, RemoteFault) and error.means(InvalidArgument):
            raise InvalidArgument("after: expected the `after` of an answer") from error
        raise ServiceAway(reason(error)) from error
