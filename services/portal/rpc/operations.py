"""The portal's RPC methods for those who operate it; mixed into the service."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.portal.handlers import importing, resolved_links, timeline
from services.portal.queries import activity
from services.portal.retention import RULES
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.base import ONE_BY_ONE
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import (
    CustomerErasure,
    CustomerExport,
    CustomerLine,
    FoundCustomer,
    ImportResult,
    Timeline,
)
from shared.nameko_ext.loops import loop
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.retention import prune_round


class Operations(PortalEntrypoints):
    """Import, export, erasure, the story of a customer, and what customers do on the page."""

    @audited_rpc("business_id", "rows")
    def import_customers(
        self,
        business_id: str,
        rows: Annotated[list[CustomerLine], msgspec.Meta(extra={ONE_BY_ONE: True})],
    ) -> ImportResult:
        """Make or change up to 5,000 customers by the host's own ids, with a handful of statements.

        A row that is wrong, or can't be read, is left out and named by its place. Idempotent. NotFound: the business.
        """
        done = self._write(
            lambda session: importing.import_customers(
                session, business_id=business_id, lines=rows, now=utc_now()
            )
        )
        return done.answer()

    @audited_rpc("business_id", "after")
    def export_customers(
        self, business_id: str, after: int = 0, limit: int = 1000
    ) -> CustomerExport:
        """A page of a business's customers; go on with `after=next` until null. `limit` is 1 to 5000. NotFound: the
        business."""
        with self.db.reading() as session:
            return importing.export_customers(
                session, business_id=business_id, after=after, limit=limit
            )

    @rpc
    def find_customer(
        self, reference: str, business_id: str | None = None, account: str = OWN
    ) -> FoundCustomer:
        """A customer by Portico's id, Stripe's id (with its business or account, where it isn't the own one), or the host's own id
        (with its business, where there are several)."""
        with self.db.reading() as session:
            return importing.find(session, Account(account), reference, business_id)

    @audited_rpc("customer_id", "stripe_customer_id", "account")
    def erase_customer(
        self,
        customer_id: str | None = None,
        stripe_customer_id: str | None = None,
        account: str = OWN,
    ) -> CustomerErasure:
        """Forget a customer with all that is kept of them. Safe to repeat; the other services have their own."""
        if not customer_id and not stripe_customer_id:
            raise InvalidArgument("expected customer_id, stripe_customer_id, or both")
        with self.db.transaction() as session:
            return importing.erase(
                session,
                Account(account),
                customer_id=customer_id,
                stripe_customer_id=stripe_customer_id,
                now=utc_now(),
            )

    @rpc
    def story(
        self,
        invoice_id: str | None = None,
        stripe_customer_id: str | None = None,
        customer_id: str | None = None,
        account: str = OWN,
    ) -> Timeline:
        """What the portal knows, as steps of a time line, whose they are, and where their invoices stand: by one of the
        three ids."""
        if sum(one is not None for one in (invoice_id, stripe_customer_id, customer_id)) != 1:
            raise InvalidArgument(
                "expected exactly one of invoice_id, stripe_customer_id, customer_id"
            )
        with self.db.reading() as session:
            return timeline.story(
                session,
                Account(account),
                invoice_id=invoice_id,
                stripe_customer_id=stripe_customer_id,
                customer_id=customer_id,
                now=utc_now(),
            )

    @loop(poll=2.0)
    def note_visits(self) -> bool:
        """Write down the looks of the last moments, all in one statement."""
        waiting = self.looks.take()
        if waiting:
            with self.db.transaction() as session:
                activity.note(session, waiting)
        return False

    @loop(poll=3600)
    def forget_old_events(self) -> bool:
        """Forget what only proves that something was done long ago."""
        now = utc_now()
        with self.db.transaction() as session:
            more = resolved_links.forget_old(session, now)
        return prune_round(self.db, RULES, now) or more
