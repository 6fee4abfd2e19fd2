"""The words of notifications: kinds, statuses, reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What an email says. The value is its template's folder and SendGrid's category."""

    PAYMENT_FAILED = "payment_failed"
    PAYMENT_REMINDER = "payment_reminder"
    PAYMENT_LAST_ATTEMPT = "payment_last_attempt"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    PAYMENTS_FAILED = "payments_failed"
    """Several invoices of one customer in one email."""
    PAYMENT_RECOVERED = "payment_recovered"
    FRESH_LINK = "fresh_link"
    CANCELLATION_APPROVED = "cancellation_approved"
    CANCELLATION_DECLINED = "cancellation_declined"
    # To the business:
    CUSTOMER_UNREACHABLE = "customer_unreachable"
    CUSTOMER_RECOVERED = "customer_recovered"
    CANCELLATION_REQUESTED = "cancellation_requested"
    SUBSCRIPTION_ENDING = "subscription_ending"
    CANCELLATION_WITHDRAWN = "cancellation_withdrawn"
    COLLECTION_ENDED = "collection_ended"
    """Nothing is charged any more by itself, and something is unpaid."""


DUNNING: Final = frozenset(
    {
        Kind.PAYMENT_FAILED,
        Kind.PAYMENT_REMINDER,
        Kind.PAYMENT_LAST_ATTEMPT,
        Kind.PAYMENT_ACTION_REQUIRED,
        Kind.PAYMENTS_FAILED,
    }
)
"""The kinds that ask for money: pointless, and rude, once nothing is owed."""

TO_BUSINESS: Final = frozenset(
    {
        Kind.CUSTOMER_UNREACHABLE,
        Kind.CUSTOMER_RECOVERED,
        Kind.CANCELLATION_REQUESTED,
        Kind.SUBSCRIPTION_ENDING,
        Kind.CANCELLATION_WITHDRAWN,
        Kind.COLLECTION_ENDED,
    }
)
"""The kinds that the business gets. They never hold a customer's own link."""

ABOUT_DEBT: Final = DUNNING | {Kind.COLLECTION_ENDED}
"""The kinds that are pointless once nothing is unpaid; until then they wait for a customer whom the portal doesn't know."""

PLANS: Final = frozenset({Kind.SUBSCRIPTION_ENDING, Kind.CANCELLATION_WITHDRAWN})
"""The kinds about the end of a subscription, planned, past or withdrawn."""


class Status(StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    FAILED = "failed"


ACTIVE: Final = (Status.PENDING, Status.SENDING)


class Reason(StrEnum):
    """Why an email was not sent: written for the person who asks "why did nobody tell this customer?"."""

    NOT_AUTOPAY = "not an autopay invoice: the customer pays it by hand"
    NOT_OPEN = "the invoice was not open"
    NOTHING_OWED = "nothing is owed"
    AT_CHECKOUT = "first payment of a subscription: the customer is still at checkout"
    OWN_RETRY = "our own retry failed: the customer was told about the charge before it"
    PAID = "the invoice is paid"
    VOIDED = "the invoice was voided"
    UNCOLLECTIBLE = "the invoice was marked uncollectible"
    SAME_ATTEMPT = "another email tells about this attempt"
    SAME_CHARGE = "another email told about this charge"
    PAYMENT_UNDER_WAY = "a payment is under way: its outcome is not known yet"
    OVERTAKEN = "a later attempt is known already"
    REMINDED_RECENTLY = "reminded recently"
    WAITS_FOR_INTERVAL = "waits: the last email about this invoice is too recent"
    WAITS_FOR_MORNING = "waits: quiet hours at the customer's place"
    WAITS_FOR_SCHEDULE = "waits: Stripe has not said yet whether it will try again"
    WAITS_FOR_OTHERS = (
        "waits: what fails within ten minutes of an email to this customer is told in one more"
    )
    WAITS_FOR_END = "waits: it is not certain yet that nothing more will be charged"
    PLAN_CHANGED_AGAIN = "the plan for the subscription's end has changed again since"
    END_IS_KNOWN = "the business knows of this end"
    NO_END_WAS_TOLD = "the business was not told of an end that could be withdrawn"
    TOLD_WITH_DEBT = "told in the email about what is unpaid"
    TOLD_TOGETHER = "told in one email with other invoices of this customer"
    UNDER_WAY = "an earlier email about this invoice is still on its way"
    CUSTOMER_DELETED = "the customer was deleted in Stripe"
    SUBSCRIPTION_ENDED = "the subscription has ended"
    COLLECTION_STOPPED = "automatic collection was turned off: nobody charges this invoice any more"
    NO_SUCH_CUSTOMER = "no such customer: the portal knows nobody with this Stripe customer"
    ADDRESS_BOUNCED = "address bounced"
    ADDRESS_COMPLAINED = "the address reported our email as spam"
    CANCELLED = "cancelled by hand"
    NO_ADDRESS = "the customer has no email address"
    NO_BUSINESS_ADDRESS = "the business has no email address"
    APPROVED_HERE = "the business approved this itself"
    REQUEST_CLOSED = "the request to cancel is no longer open"
    GAVE_UP = "gave up: SendGrid or the portal stayed unavailable"
    UNCONFIRMED_TWICE = "SendGrid took the message twice without an answer; not tried a third time"
