"""`DELETE /api/v1/customers/<customer_id>`: a person forgotten in all three services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.orm import Session

from services.portal.adapters.erasing import Forgotten, Person, RpcErasure
from services.portal.handlers import existing, importing
from services.portal.queries import aliases
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.accounts import Account
from shared.contracts.deadlines import PORTAL_WAITS_FOR_ERASURE
from shared.contracts.host_api import ErasedCustomer, ErasureArguments
from shared.contracts.rpc.portal import CustomerErasure
from shared.nameko_ext.rpc import RpcClient

UNFINISHED: Final = 202


class ApiErasing(ApiEntrypoints):
    """The route that forgets."""

    erasing_billing = RpcClient("billing", timeout=PORTAL_WAITS_FOR_ERASURE)
    erasing_notifier = RpcClient("notifier", timeout=PORTAL_WAITS_FOR_ERASURE)

    @route(
        "DELETE",
        "/customers/<customer_id>",
        "customers:erase",
        query=ErasureArguments,
        answer=ErasedCustomer,
        asks="_forget_elsewhere",
        unfinished=True,
        audited=("after",),
    )
    def api_erase_customer(self, session: Session, call: Call) -> Reply:
        """Forget a customer for good, in all that Portico keeps. Delete them at Stripe first, or its next event brings the name back. Safe
        to repeat: 404 says that they are gone. 202: there is more than one request has time for; send it again with the answer's
        `after`."""
        done: Forgotten = call.told
        gone = CustomerErasure(customer=False, rows=0)
        if done.after is None:
            row = existing.customer(session, call.customer_id)
            gone = importing.erase(
                session,
                Account(row.account),
                customer_id=call.customer_id,
                stripe_customer_id=row.platform_stripe_customer_id,
                now=call.now,
                alone=call.alone,
            )
        told = ErasedCustomer(
            customer_id=call.customer_id,
            erased=done.after is None,
            portal_rows=gone.rows,
            notifier_rows=done.emails,
            billing_rows=done.events,
            webhook_bodies=done.webhooks,
            after=done.after,
            same_email=gone.same_email,
        )
        return Reply(told, 200 if told.erased else UNFINISHED)

    def _forget_elsewhere(self, session: Session, call: Call) -> Callable[[], Forgotten]:
        """The portal comes last: it alone knows which ids belong together, should this be stopped half-way."""
        row = existing.customer(session, call.customer_id)
        person = Person(
            on_behalf_of=importing.only_on_behalf_of(session, row),
            account=Account(row.account),
            customer_id=row.public_id,
            stripe_customer_id=row.platform_stripe_customer_id,
            # Another business's customer may have the same address, and a business can give any to a customer of its own.
            email=None if call.alone else row.email,
            merged_ids=aliases.of_customer(session, row),
        )
        others = RpcErasure(self.erasing_billing, self.erasing_notifier)
        return lambda: others.forget(person, call.given.after)
