"""The portal's RPC methods around who observes and who is live; mixed into the service."""

from __future__ import annotations

from services.portal.handlers import modes
from services.portal.models import BusinessRow
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.accounts import Account, StripeCustomer
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.modes import (
    MOST_ASKED,
    BusinessMode,
    ModeArgument,
    Observed,
    StripeCustomerArgument,
)
from shared.mode import OBSERVE
from shared.nameko_ext.rpc import audited_rpc, rpc

MOST_BUSINESSES = 1000


class Modes(PortalEntrypoints):
    """Observing, and going live."""

    @audited_rpc("business_id", "mode")
    def set_mode(self, business_id: str, mode: ModeArgument) -> BusinessMode:
        """Let a business observe, or go live. The answer says how it works from now on.

        `live` draws the line: `live_since` is this moment, and no mail that nobody asked for is sent of what happened before. Of a
        business that is live already the line stays, unless the whole installation observes. `observe` keeps the line. NotFound: the
        business.
        """
        observes = self.wiring.observes
        with self.db.transaction() as session:
            return self._mode(modes.set_mode(session, business_id, mode, observes, utc_now()))

    @rpc
    def businesses_modes(
        self, business_id: str | None = None, after: str | None = None, limit: int = MOST_BUSINESSES
    ) -> list[BusinessMode]:
        """How businesses work, in the order of the host's ids: all, or the one with `business_id`. At most `limit` (1 to 1000); go on
        with `after`, the last one's `business_id`. NotFound: the business."""
        check_limit(limit, MOST_BUSINESSES)
        with self.db.reading() as session:
            rows = modes.businesses(session, business_id, after, limit)
            return [self._mode(row) for row in rows]

    @rpc
    def observed(self, stripe_customers: list[StripeCustomerArgument]) -> Observed:
        """Which Stripe customers are customers of a business that observes, in the order of the question, at most 500: nothing is
        written to Stripe for them. And the lines of the businesses.

        One whom nobody knows counts by the installation, and as observed where all businesses on the account do observe; the latest of
        their lines is theirs.
        """
        if len(stripe_customers) > MOST_ASKED:
            raise InvalidArgument(f"stripe_customers: expected at most {MOST_ASKED}")
        asked = [
            StripeCustomer(Account(one.account), one.stripe_customer_id, one.on_behalf_of)
            for one in stripe_customers
        ]
        if self.wiring.observes:
            return Observed(observed=[True] * len(asked), live_since=[None] * len(asked))
        with self.db.reading() as session:
            told = modes.observed(session, asked)
        return Observed(
            observed=[one.observes for one in told], live_since=[one.live_since for one in told]
        )

    def _mode(self, row: BusinessRow) -> BusinessMode:
        return BusinessMode.of(
            row,
            observed=self.wiring.observes or row.mode == OBSERVE,
            installation_observes=self.wiring.observes,
        )
