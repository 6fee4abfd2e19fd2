"""The portal's RPC method that names customers to those who operate it; mixed into the service."""

from __future__ import annotations

from typing import Final

from services.portal import serializers
from services.portal.handlers import customers as people
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.recipients import Recipient
from shared.nameko_ext.rpc import audited_rpc

MOST_RECIPIENTS: Final = 500


class Recipients(PortalEntrypoints):
    """Who emails were meant for."""

    @audited_rpc("customers", "addresses", "account", "on_behalf_of")
    def recipients(
        self,
        customers: list[str],
        account: str = OWN,
        on_behalf_of: str = "",
        addresses: bool = False,
    ) -> dict[str, Recipient]:
        """Who customers are, by the ids that are given: Stripe's (`cus_…`, of this account and on this behalf) or Portico's. Those that are
        unknown are left out; at most 500. With `addresses` their addresses are whole, else masked."""
        if len(customers) > MOST_RECIPIENTS:
            raise InvalidArgument(f"customers: expected at most {MOST_RECIPIENTS}")
        with self.db.reading() as session:
            found = people.contacts(
                session,
                [
                    people.Asked(StripeCustomer(Account(account), one, on_behalf_of))
                    if one.startswith("cus_")
                    else people.Asked(customer_id=one)
                    for one in customers
                ],
                utc_now(),
            )
        return {
            asked: serializers.recipient(person, addresses=addresses)
            for asked, person in zip(customers, found, strict=True)
            if person is not None
        }
