"""The words of notifications: statuses and reasons. Their kinds: `kinds.py`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    OBSERVED = "observed"
    """All spoke for it, but its business observes, or has drawn its line since (`observing.py`): final, until a person accepts it."""
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
    WAITS_FOR_MORNING = "waits: quiet hours in the customer's time zone"
    WAITS_AFTER_FAILURE = "waits: an email to this customer asked for a payment a short time ago"
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
    NEWER_ACCEPTED = "a newer email about this invoice was accepted: it tells of this failure, too"
    UNDER_WAY = "an earlier email about this invoice is still on its way"
    ACCOUNT_DISCONNECTED = "the Stripe account of the business is connected no more"
    CUSTOMER_DELETED = "the customer was deleted in Stripe"
    SUBSCRIPTION_ENDED = "the subscription has ended"
    COLLECTION_STOPPED = "automatic collection was turned off: nobody charges this invoice any more"
    NO_SUCH_CUSTOMER = "no such customer: the portal knows nobody with this Stripe customer"
    ADDRESS_BOUNCED = "address bounced"
    ADDRESS_COMPLAINED = "the address reported our email as spam"
    CANCELLED = "cancelled by hand"
    OBSERVING = "observed: nothing goes out by itself until the business is live"
    BEFORE_THE_LINE = "observed: it happened before the business went live"
    NO_ADDRESS = "the customer has no email address"
    NO_BUSINESS_ADDRESS = "the business has no email address"
    WELCOMED_BEFORE = (
        "the customer has had this email under another id, which was merged into theirs"
    )
    WELCOMING_STOPPED = "taken back: welcoming was stopped before this one was begun"
    APPROVED_HERE = "the business approved this itself"
    REQUEST_CLOSED = "the request to cancel is no longer open"
    GAVE_UP = "gave up: SendGrid or the portal stayed unavailable"
    UNCONFIRMED_TWICE = "SendGrid took the message twice without an answer; not tried a third time"


PASSING: Final = (
    Reason.ACCOUNT_DISCONNECTED,
    Reason.NO_ADDRESS,
    Reason.NO_SUCH_CUSTOMER,
    Reason.ADDRESS_BOUNCED,
    Reason.ADDRESS_COMPLAINED,
    Reason.WELCOMING_STOPPED,
)
"""Reasons that another account, another address, or another wish may have taken away since."""
