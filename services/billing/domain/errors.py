"""What can go wrong about Stripe, as facts."""

from __future__ import annotations


class BillingError(Exception):
    """Something about Stripe that a caller has to know; its name, or that of the kind it is of, is what crosses the wire."""


class StripeUnavailable(BillingError):
    """Stripe does not answer, or not in time, or not now. Trying again later may help."""


class KeySpent(StripeUnavailable):
    """Stripe stored a server error under the idempotency key and replays it: asking again with this key does nothing."""


class StripeBusy(StripeUnavailable):
    """Another request works on the same object, or with the same idempotency key, at this moment. Stripe itself is well."""


class StripeRateLimited(StripeUnavailable):
    """Stripe asks us to slow down: our account's requests are too many. Stripe itself is well."""


class StripeRefused(BillingError):
    """Stripe refused the request for good: our key, our arguments, or the object's state is wrong."""


class StripeKeyRefused(StripeRefused):
    """Stripe refuses our API key: it is wrong, expired or revoked, or the account is out of its reach. Nothing was done, and the
    request itself may be right, so it is worth asking again once a person has set another key."""


class StripePermissionMissing(StripeKeyRefused):
    """Our API key is good, and may not do this: a restricted key lacks a right."""


class UnknownStripeCustomer(BillingError):
    """Stripe has no such customer in the mode of our key (or it was deleted)."""


class UnknownInvoice(BillingError):
    """Stripe has no such invoice in the mode of our key."""


class InvoiceClosed(BillingError):
    """The invoice is not open: paid, void or given up, so there is nothing to confirm or to pay."""


class NotCollectable(BillingError):
    """The customer pays the invoice by hand: nobody has agreed to have it charged."""


class PaymentUnderWay(BillingError):
    """A payment of the invoice is under way already; its outcome takes days."""


class UnknownSubscription(BillingError):
    """Stripe has no such subscription of this customer in the mode of our key."""


class PortalConfigurationMissing(BillingError):
    """The portal configuration that should be used does not exist in the mode of our key."""


class NoDefaultConfiguration(BillingError):
    """Nobody has saved portal settings in Stripe's dashboard, so there is no default for a session."""


class PortalFlowRefused(BillingError):
    """Stripe refused a session that leads straight to one of its forms: the configuration forbids that, most likely."""


class UnknownInboxEvent(BillingError):
    """No Stripe event of this id was ever stored."""


class ReconciliationRunning(BillingError):
    """Another reconciliation is under way; it will find the same."""


class InvalidRequest(BillingError):
    """An argument that no customer and no service of ours would send: `field: what is wrong with it`."""
