"""The portal over RPC: whose businesses observe. Answers are parsed here, at the edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.billing.domain.errors import PortalUnavailable
from services.billing.ports import BusinessMode
from shared.contracts import rpc as contracts
from shared.contracts.accounts import StripeCustomer
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable

NO_SUCH_METHOD: Final = "MethodNotFound"
"""What a portal of a release without modes answers."""


class PortalBusinesses:
    """`Businesses` over RPC to the portal, which is not asked where the whole installation observes."""

    def __init__(self, portal: Any, *, all_observe: bool) -> None:
        self._portal = portal
        self.all_observe = all_observe

    def modes(self, customers: Sequence[StripeCustomer]) -> list[BusinessMode]:
        """See `Businesses.modes`. A portal that knows no modes is of a release in which all were live: rolled back to it while
        somebody observes, it lets charge (docs/upgrading.md)."""
        if self.all_observe:
            return [BusinessMode(observes=True)] * len(customers)
        asked = [
            {"account": one.account, "stripe_customer_id": one.id, "on_behalf_of": one.on_behalf_of}
            for one in customers
        ]
        try:
            told = contracts.portal.OBSERVED.call(self._portal, stripe_customers=asked)
        except RemoteFault as fault:
            if fault.error == NO_SUCH_METHOD:
                return [BusinessMode()] * len(customers)
            raise PortalUnavailable(f"the portal failed: {fault.error}") from None
        except (RpcTimeout, RpcUnavailable) as error:
            raise PortalUnavailable(f"the portal does not answer: {type(error).__name__}") from None
        except UnreadableAnswer as error:
            raise PortalUnavailable(f"the portal's answer can't be read: {error}") from None
        if not len(customers) == len(told.observed) == len(told.live_since):
            raise PortalUnavailable("the portal's answer is not about all that it was asked for")
        return [
            BusinessMode(observes=observes, live_since=live_since)
            for observes, live_since in zip(told.observed, told.live_since, strict=True)
        ]
