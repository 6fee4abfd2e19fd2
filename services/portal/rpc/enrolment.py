"""Entrypoints around Stripe's customers: what Stripe tells of them, who becomes a customer by it, and what people decide."""

from __future__ import annotations

from services.portal.handlers import enrolling, proposals
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.rpc.enrolment import DecidedProposals, LinkProposals
from shared.events import Event, StripeCustomerSeen, carries
from shared.nameko_ext.batch_consumer import Outcomes, act, consume_lane
from shared.nameko_ext.consumer import Permanent
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.rpc import audited_rpc, rpc


class Enrolling(PortalEntrypoints):
    """Who is a customer by what Stripe tells."""

    wake_relay = Waker("relay")

    @consume_lane(StripeCustomerSeen.lane)
    def on_profiles(self, batch: list[Event]) -> Outcomes:
        """Stripe's customers as Stripe has them, in a queue of its own: an import brings thousands at once, and no failed charge is
        to wait behind them."""

        def together(events: list[enrolling.Seen]) -> list[str]:
            self._write(lambda session: enrolling.take_in(session, events, utc_now()))
            return ["done"] * len(events)

        def refuse(event: Event) -> str:
            raise Permanent(f"the portal takes no {event.type} for a Stripe customer")

        outcomes = act(batch, lambda event: carries(event, StripeCustomerSeen), together, refuse)
        self.wake_relay()
        return outcomes

    @loop(poll=3600)
    def follow_waiting(self) -> bool:
        """Give enrolled customers the addresses that Stripe told and that were another customer's until now."""
        after: int | None = 0
        while after is not None:
            with self.db.transaction() as session:
                after = enrolling.follow_waiting(session, after, utc_now())
        return False

    @rpc
    def link_proposals(self, business_id: str, after: str = "", limit: int = 100) -> LinkProposals:
        """Stripe customers of a business's account that are nobody's, or could be claimed, and how each stands: whom a person is asked
        about, and who can't be enrolled. Go on with `after=next` until null; a page may be empty. `limit` is 1 to 500. NotFound: the
        business.

        Holds what was told by `customer.seen`: of businesses that enrol from Stripe all, of others whose address an import found at a customer.
        """
        with self.db.reading() as session:
            return proposals.proposals(session, business_id=business_id, after=after, limit=limit)

    @audited_rpc("proposal_ids")
    def accept_proposals(self, proposal_ids: list[str], decided_by: str) -> DecidedProposals:
        """A person's word, for up to 100 proposals, that the two are one: as `link_customer`. Each is looked at again, and left where it
        stands open no more. Safe to repeat. `decided_by` is who says so, 1 to 200 characters."""
        done = self._write(
            lambda session: proposals.accept(
                session, proposal_ids=proposal_ids, decided_by=decided_by, now=utc_now()
            )
        )
        self.wake_relay()
        return done

    @audited_rpc("proposal_ids")
    def refuse_proposals(self, proposal_ids: list[str], decided_by: str) -> DecidedProposals:
        """A person's word, for up to 100 proposals, that an equal address means nothing here: they are proposed no more. It links and
        unlinks nobody. Safe to repeat. `decided_by` as in `accept_proposals`."""
        return self._write(
            lambda session: proposals.refuse(
                session, proposal_ids=proposal_ids, decided_by=decided_by, now=utc_now()
            )
        )
