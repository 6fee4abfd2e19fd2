"""What a change of card is to do: which card Stripe would charge now, and for what. Reads Stripe, changes nothing."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from services.billing.domain.changes import ANOTHERS_FAILURE, OBSERVED, Change, is_invoice
from services.billing.domain.paying import Invoice, Subscription
from services.billing.ports import PaymentGateway
from shared.contracts.payments import SAYS_NOTHING, ChargeDefaults, SavedMethod, charged_method
from shared.contracts.rpc.errors import UnknownInvoice, UnknownStripeCustomer


class Run(enum.StrEnum):
    """Why a run did what it did."""

    DONE = "done"
    KNOWN = "known"
    """The change that the event tells of was carried out before."""
    POSTPONED = "postponed"
    """A bank was asked about this card within the hour: somebody goes on at the hour's end. Or another method's debit is under
    way: somebody goes on when it comes back, or looks a day later."""
    NO_CARD = "no_card"
    """The card of the change is not, or no longer, the one that would be charged."""
    GONE = "gone"
    """The customer or the subscription does not exist any more."""
    OBSERVED = OBSERVED
    """The business observes: nothing was written to Stripe, and what would have been charged is on record."""


@dataclass(frozen=True)
class Plan:
    """For what the card is, and which subscriptions must learn of it."""

    scope: str
    """Empty: everything the customer owes; else the id of one subscription, or of one invoice."""
    point: tuple[str, ...] = ()

    @property
    def subscription_id(self) -> str | None:
        """The subscription that it is for alone, if any."""
        return None if is_invoice(self.scope) else self.scope or None

    def is_for(self, invoice: Invoice) -> bool:
        """Whether this open invoice is meant."""
        return not is_invoice(self.scope) or invoice.id == self.scope


class ChangePlanner:
    """What one change of card is to do, from what Stripe says now."""

    def __init__(self, gateway: PaymentGateway, change: Change) -> None:
        self._gateway = gateway
        self._change = change
        self._saved = SavedMethod(change.payment_method)
        self.methods: dict[str, ChargeDefaults] = {}
        """What subscriptions are charged to, as far as they were seen."""
        self.subscriptions: dict[str, Subscription] = {}
        """Those of the customer, where all were looked at."""

    def plans(self) -> list[Plan] | Run:
        """What to do, from what Stripe says now: the events are only hints, and may be old."""
        found: dict[str, Plan] = {}
        gone = True
        for scope in sorted(self._change.scopes):
            if is_invoice(scope):
                plans = self._invoices_plans(scope)
            else:
                plans = self._subscriptions_plans(scope) if scope else self._customers_plans()
            gone = gone and plans is None
            found |= {plan.scope: plan for plan in plans or ()}
        if "" in found:
            return [found[""]]
        return list(found.values()) or (Run.GONE if gone else Run.NO_CARD)

    def _subscriptions_plans(self, subscription_id: str) -> list[Plan] | None:
        subscription = self._gateway.subscription(subscription_id)
        if (
            subscription is None
            or subscription.stripe_customer_id != self._change.stripe_customer_id
        ):
            return None
        self.methods[subscription.id] = subscription.defaults
        charged = subscription.own_default == self._change.payment_method
        return [Plan(subscription.id)] if charged else []

    def _invoices_plans(self, invoice_id: str) -> list[Plan] | None:
        try:
            invoice = self._gateway.invoice(invoice_id)
        except UnknownInvoice:
            return None
        if invoice.stripe_customer_id != self._change.stripe_customer_id:
            return None
        own = charged_method(SAYS_NOTHING, invoice=invoice.defaults)
        if own is not None:
            return [Plan(invoice_id)] if own.id == self._change.payment_method else []
        if (ANOTHERS_FAILURE, invoice_id) in self._change.told:
            return self._anothers_turn(invoice_id)
        return []

    def _anothers_turn(self, invoice_id: str) -> list[Plan] | None:
        """The card that could not be set on a subscription, after the one that is set there failed: still the customer's?"""
        try:
            customer = self._gateway.customer(self._change.stripe_customer_id)
        except UnknownStripeCustomer:
            return None
        return [Plan(invoice_id)] if customer.default == self._change.payment_method else []

    def _customers_plans(self) -> list[Plan] | None:
        card = self._change.payment_method
        try:
            customer = self._gateway.customer(self._change.stripe_customer_id)
        except UnknownStripeCustomer:
            return None
        subscriptions = self._gateway.subscriptions(customer.id)
        self.methods |= {one.id: one.defaults for one in subscriptions}
        self.subscriptions = {one.id: one for one in subscriptions}
        if customer.default == card:
            point = tuple(
                one.id
                for one in subscriptions
                if one.has_another_default(card) and self.takes(one.defaults)
            )
            return [Plan("", point)]
        # A card that the bank replaced may be the own default of a subscription instead of the customer's.
        return [Plan(one.id) for one in subscriptions if one.own_default == card]

    def takes(self, *billed: ChargeDefaults | None) -> bool:
        """Whether invoice and subscription take a method of the new one's type: Stripe passes over what they don't."""
        restricted = [one for one in billed if one is not None and one.types]
        if restricted and self._saved.type is None:
            kind = self._gateway.method_type(self._saved.id)
            self._saved = SavedMethod(self._saved.id, kind)
        return all(one.takes(self._saved) for one in restricted)
