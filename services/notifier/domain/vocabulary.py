"""The words of notifications: kinds, statuses, reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What an email says. The value is its template's folder and SendGrid's category."""

    PAYMENT_FAILED = "payment_failed"
    PAYMENT_REMINDER = "payment_reminder"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    PAYMENT_RECOVERED = "payment_recovered"
    FRESH_LINK = "fresh_link"


DUNNING: Final = frozenset(
    {Kind.PAYMENT_FAILED, Kind.PAYMENT_REMINDER, Kind.PAYMENT_ACTION_REQUIRED}
)
"""The kinds that ask for money: pointless, and rude, once nothing is owed."""


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
    OVERTAKEN = "a later attempt is known already"
    REMINDED_RECENTLY = "reminded recently"
    UNDER_WAY = "an earlier email about this invoice is still on its way"
    CUSTOMER_DELETED = "the customer was deleted in Stripe"
    SUBSCRIPTION_ENDED = "the subscription has ended"
    NO_SUCH_CUSTOMER = "no such customer: the portal knows nobody with this Stripe customer"
    ADDRESS_BOUNCED = "address bounced"
    ADDRESS_COMPLAINED = "the address reported our email as spam"
    NO_ADDRESS = "the customer has no email address"
    GAVE_UP = "gave up: SendGrid or the portal stayed unavailable"
    UNCONFIRMED_TWICE = "SendGrid took the message twice without an answer; not tried a third time"
