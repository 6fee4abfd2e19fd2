"""The errors that RPC methods answer with. A class's name is what crosses the wire, with the text, and is never changed; its
docstring is the text where the one who raises it has none.

Services raise these classes, or subclasses of their own for what only their logs and metrics tell apart: such a one crosses
the wire as the class here that it is of (`wire_error`).
"""

from __future__ import annotations

import inspect
from typing import Final


class RpcError(Exception):
    """Base of the errors that a caller may see."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or " ".join(inspect.cleandoc(self.__doc__ or "").split()))


# --- of every service ------------------------------------------------------------------------------------------------


class InvalidArgument(RpcError):
    """An argument is missing, unknown or wrong; the text names it and says what was expected."""


class NotFound(RpcError):
    """What the caller asked for does not exist."""


class TemporarilyUnavailable(RpcError):
    """The called service can't read or write its database at this moment, or reach another service that it has to ask first. The
    same call may be made again."""


class InternalError(RpcError):
    """Something failed inside the called service; its log tells more, the caller learns no details."""


# --- of the portal ---------------------------------------------------------------------------------------------------


class LinkInvalid(RpcError):
    """The link is not one of ours, or its customer is gone; which of them is not told."""


class LinkReplaced(RpcError):
    """The link is of an old generation: a newer one took its place."""


class UnknownCustomer(RpcError):
    """No customer belongs to this Stripe customer."""


class StripeCustomerConflict(RpcError):
    """The host has given the Stripe customer to another customer, and not taken it back. Nothing was written."""


class RequestClosed(RpcError):
    """The request is answered, or the subscription ends anyway: there is nothing left to decide."""


# --- of billing ------------------------------------------------------------------------------------------------------


class BillingError(RpcError):
    """Base of what can go wrong about Stripe."""


class StripeUnavailable(BillingError):
    """Stripe does not answer, or not in time, or not now. Trying again later may help."""


class StripeRefused(BillingError):
    """Stripe refused the request for good: our key, our arguments, or the object's state is wrong."""


class UnknownStripeCustomer(BillingError):
    """Stripe has no such customer in the mode of our key (or it was deleted)."""


class UnknownInvoice(BillingError):
    """Stripe has no such invoice in the mode of our key."""


class InvoiceClosed(BillingError):
    """The invoice is not open: paid, void or given up, so there is nothing to confirm or to pay."""


class NotCollectable(BillingError):
    """The customer pays the invoice by hand: nobody has agreed to have it charged."""


class BusinessObserves(BillingError):
    """The business only observes, or the whole installation does: nothing is changed or charged at Stripe from here before it goes
    live. What is wanted at once can be done in Stripe's dashboard."""


class PaymentUnderWay(BillingError):
    """A payment of the invoice is under way already; its outcome takes days."""


class UnknownSubscription(BillingError):
    """Stripe has no such subscription of this customer in the mode of our key."""


class PortalConfigurationMissing(BillingError):
    """The portal configuration that should be used does not exist in the mode of our key."""


class ConnectNotSetUp(BillingError):
    """This installation connects no accounts: STRIPE_CLIENT_ID is not set."""


class CodeRefused(BillingError):
    """Stripe refuses the code that the business brought back: it is older than five minutes, was used already, or is another
    platform's. Nothing is connected by it: begin again."""


class AccountOfOtherMode(BillingError):
    """The account was to be connected in the other mode than our key's, test or live: it is not connected."""


class AccountNotConnected(BillingError):
    """The account is not connected to this platform, or Stripe knows none of this id."""


class AccountControlled(BillingError):
    """The platform controls the account, so Stripe does not let it be disconnected: close or reject it in Stripe's dashboard."""


class UnknownInboxEvent(BillingError):
    """No Stripe event of this id was ever stored."""


class NotQuarantined(BillingError):
    """The Stripe event is not quarantined: there is nothing to close."""


class ReconciliationRunning(BillingError):
    """Another reconciliation is under way; it will find the same."""


class ImportRunning(BillingError):
    """Another import of this account is under way."""


class NotRepublished(BillingError):
    """The broker did not take all events; those that it took do no harm when they come again. Try again."""


# --- of the notifier -------------------------------------------------------------------------------------------------


class TooLate(RpcError):
    """The email is on its way, sent, or was never to be sent: there is nothing to cancel."""


class StillObserved(RpcError):
    """A business of these emails still observes: let it go live first (`portal.set_mode`). Nothing was accepted."""


BASES: Final = frozenset({RpcError, BillingError})
"""They are raised by nobody."""
ERRORS: Final[dict[str, type[RpcError]]] = {
    name: kind
    for name, kind in list(vars().items())
    if isinstance(kind, type) and issubclass(kind, RpcError) and kind not in BASES
}
"""Every error, by its name on the wire."""


def wire_error(error: RpcError) -> RpcError:
    """The error as it crosses the wire: by the nearest class of this module."""
    known = (kind for kind in ERRORS.values() if kind in type(error).__mro__)
    kind = min(known, key=type(error).__mro__.index, default=InternalError)
    if type(error) is kind:
        return error
    return InternalError() if kind is InternalError else kind(str(error))


class RemoteFault(Exception):
    """The called service answered with an error. `error` is its name, such as `NotFound`, `message` its text."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message

    def means(self, *kinds: type[RpcError]) -> bool:
        """Whether it is one of these."""
        return self.error in {kind.__name__ for kind in kinds}
