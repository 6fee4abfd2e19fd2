"""The rules of billing, pure: standard library only, no clock, no network.

Amounts are in the currency's minor unit, moments are aware datetimes in UTC.
"""

from services.billing.domain.declines import (
    Decline,
    PaymentProblem,
    decline_reason,
)
from services.billing.domain.errors import (
    BillingError,
    InvalidRequest,
    InvoiceClosed,
    PortalConfigurationMissing,
    ReconciliationRunning,
    StripeRefused,
    StripeUnavailable,
    UnknownInboxEvent,
    UnknownInvoice,
    UnknownStripeCustomer,
    UnknownSubscription,
)
from services.billing.domain.paying import (
    OWN_CANCELLING_PREFIX,
    OWN_POINTING_PREFIX,
    OWN_RETRY_PREFIX,
    Customer,
    HostedInvoice,
    Invoice,
    InvoiceLook,
    Payment,
    PayOutcome,
    Subscription,
    is_live_key,
    pay_key,
)
from services.billing.domain.portal import (
    FLOWS,
    PORTAL_LOCALES,
    PortalConfiguration,
    PortalPolicy,
    check_return_url,
    configuration_key,
    portal_locale,
)

__all__ = [
    "FLOWS",
    "OWN_CANCELLING_PREFIX",
    "OWN_POINTING_PREFIX",
    "OWN_RETRY_PREFIX",
    "PORTAL_LOCALES",
    "BillingError",
    "Customer",
    "Decline",
    "HostedInvoice",
    "InvalidRequest",
    "Invoice",
    "InvoiceClosed",
    "InvoiceLook",
    "PayOutcome",
    "Payment",
    "PaymentProblem",
    "PortalConfiguration",
    "PortalConfigurationMissing",
    "PortalPolicy",
    "ReconciliationRunning",
    "StripeRefused",
    "StripeUnavailable",
    "Subscription",
    "UnknownInboxEvent",
    "UnknownInvoice",
    "UnknownStripeCustomer",
    "UnknownSubscription",
    "check_return_url",
    "configuration_key",
    "decline_reason",
    "is_live_key",
    "pay_key",
    "portal_locale",
]
