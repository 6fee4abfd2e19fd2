"""Leaving Stripe alone for those who only observe (docs/adr/0032-observe-then-live.md)."""

from __future__ import annotations

from services.billing.ports import Businesses
from shared.contracts.accounts import StripeCustomer
from shared.contracts.rpc.errors import BusinessObserves


def refuse_observed(businesses: Businesses, customer: StripeCustomer) -> None:
    """Before something is written to Stripe that a person has asked for by name: raise BusinessObserves where the customer's business
    observes, PortalUnavailable while that can't be told. The line does not matter: they ask now."""
    (mode,) = businesses.modes([customer])
    if mode.observes:
        raise BusinessObserves
