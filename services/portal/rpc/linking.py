"""Entrypoints around whose a Stripe customer is: the host's word, what there is to say for a link, and telling of changes."""

from __future__ import annotations

from typing import Final

from services.portal.handlers import customers, link_report
from services.portal.metrics import LINK_CONFLICTS
from services.portal.queries import outbox
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.errors import InvalidArgument, StripeCustomerConflict
from shared.contracts.rpc.portal import (
    CheckoutReference,
    LinkedCustomer,
    LinkEvidence,
    UnknownLinks,
)
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.publisher import EventPublisher
from shared.nameko_ext.rpc import audited_rpc, rpc

MOST_UNKNOWN: Final = 1000


class Linking(PortalEntrypoints):
    """Who is whose."""

    publisher = EventPublisher()
    wake_relay = Waker("relay")

    @audited_rpc("customer_id", "stripe_customer_id")
    def link_customer(self, customer_id: str, stripe_customer_id: str) -> LinkedCustomer:
        """Your word that a customer (Portico's id) is this Stripe customer.

        It replaces your earlier word and overrules metadata and Checkout references. InvalidArgument when it is no id of a
        Stripe customer (`cus_…`) or Stripe has deleted that one, and StripeCustomerConflict, with nothing written, when you have given it to
        another customer: take that back first (`unlink_customer`).
        """
        try:
            done = self._write(
                lambda session: customers.link_customer(
                    session,
                    customer_id=customer_id,
                    stripe_customer_id=stripe_customer_id,
                    now=utc_now(),
                )
            )
        except StripeCustomerConflict:
            LINK_CONFLICTS.labels("rpc").inc()
            raise
        self.wake_relay()
        return done

    @audited_rpc("customer_id", "stripe_customer_id", "withdraw_only")
    def unlink_customer(
        self,
        customer_id: str,
        stripe_customer_id: str | None = None,
        withdraw_only: bool = False,
    ) -> LinkedCustomer:
        """Your word that a customer is *not* this Stripe customer; the one they are linked with, unless you name it.
        The answer is whom they are linked with now.

        No metadata and no reference links the two again, until you do. With `withdraw_only` you take back what you said of
        this customer (of one Stripe customer, if named), such a refusal too, and Stripe's metadata and references decide.
        """
        done = self._write(
            lambda session: customers.unlink_customer(
                session,
                customer_id=customer_id,
                stripe_customer_id=stripe_customer_id,
                withdraw_only=withdraw_only,
                now=utc_now(),
            )
        )
        self.wake_relay()
        return done

    @rpc
    def checkout_reference(self, customer_id: str) -> CheckoutReference:
        """A signed `client_reference_id` for a Checkout session or Payment Link of this customer.

        The Stripe customer of a session with it is linked with this customer, unless something stronger says otherwise. It
        counts in sessions that begin within seven days: make one each time you make the session or the link to it. Give it
        to this customer alone.
        """
        with self.db.reading() as session:
            reference = customers.checkout_reference(
                session, self.wiring.references, customer_id=customer_id, now=utc_now()
            )
        return CheckoutReference(reference=reference)

    @rpc
    def link_evidence(
        self,
        customer_id: str | None = None,
        stripe_customer_id: str | None = None,
        account: str = OWN,
    ) -> LinkEvidence:
        """Everything that speaks for or against a link, by one of the two ids. Other customers and Stripe customers that are
        decided together with the one asked for are in it.
        """
        if (customer_id is None) == (stripe_customer_id is None):
            raise InvalidArgument("give customer_id or stripe_customer_id, and not both")
        with self.db.reading() as session:
            return link_report.evidence(
                session,
                Account(account),
                customer_id=customer_id,
                stripe_customer_id=stripe_customer_id,
            )

    @rpc
    def unknown_links(
        self, business_id: str | None = None, after: int = 0, limit: int = 100
    ) -> UnknownLinks:
        """Customers whose link nobody has spoken for since evidence is kept; go on with `after=next` until null. Confirm them
        with `link_customer`, or by import. `limit` is 1 to 1000. NotFound: the business."""
        check_limit(limit, MOST_UNKNOWN)
        with self.db.reading() as session:
            return link_report.unknown(session, business_id=business_id, after=after, limit=limit)

    @loop(poll=2.0)
    def relay(self) -> bool:
        """Publish the portal's own events: which links have changed, and which were refused."""
        return outbox.OUTBOX.relay_round(self.db, self.publisher, utc_now())
