"""The keys that make everything happen once."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain.kinds import Kind
from shared.contracts.accounts import StripeId, in_account
from shared.contracts.observations import Observation


def failure_key(invoice: StripeId, seen: Observation, event_id: str = "") -> str:
    """The row of a failure that an event reports: of an invoice, attempt and kind of event; of this very event too, where
    `event_id` is given, since a second event of an attempt may tell of another charge.

    Made from the event's kind, not the email's: the same failure told twice must meet its own row even when the
    second telling would by now be a reminder. A failure of our own retry has a row of its own, since Stripe
    gives it the attempt number of the failure that it follows.
    """
    kind = Kind.PAYMENT_ACTION_REQUIRED if seen.action_required else Kind.PAYMENT_FAILED
    suffix = "/own-retry" if seen.own_retry else ""
    event = f"/{event_id}" if event_id else ""
    return in_account(invoice.account, f"{invoice.id}/{seen.attempt_count}/{kind}{suffix}{event}")


def attempt_key(invoice: StripeId, attempt: int) -> str:
    """Held by the first email of an attempt: payment_failed and payment_action_required share it."""
    return in_account(invoice.account, f"{invoice.id}/{attempt}")


def recovered_key(invoice: StripeId) -> str:
    """An invoice is paid once, so it is announced once."""
    return in_account(invoice.account, f"{invoice.id}/{Kind.PAYMENT_RECOVERED}")


def business_recovered_key(invoice: StripeId) -> str:
    """The business hears of it once, too."""
    return in_account(invoice.account, f"{invoice.id}/{Kind.CUSTOMER_RECOVERED}")


def unreachable_key(address_sha256: str) -> str:
    """The business hears once of each address that takes no mail. By the plain hash, as such mails of earlier releases have
    it, so that none is told anew; it changes when the plain hash goes."""
    return f"{Kind.CUSTOMER_UNREACHABLE}/{address_sha256}"


def collection_ended_key(invoice: StripeId) -> str:
    """However collecting an invoice ended, the business hears of it once."""
    return in_account(invoice.account, f"{invoice.id}/{Kind.COLLECTION_ENDED}")


def kept_method_key(subscription: StripeId, payment_method_id: str) -> str:
    """The business hears once of a new payment method that a subscription is not charged to."""
    key = f"{subscription.id}/{Kind.PAYMENT_METHOD_BY_HAND}/{payment_method_id}"
    return in_account(subscription.account, key)


def webhooks_stopped_key(endpoint_id: str, at: dt.datetime) -> str:
    """Once each time that an endpoint is switched off."""
    return f"{endpoint_id}/{int(at.timestamp())}/{Kind.WEBHOOKS_STOPPED}"


def request_key(kind: Kind, request_id: str) -> str:
    """What another service asks for under an id of its own is sent once a kind."""
    return f"{kind}/{request_id}"


def fresh_link_key(customer_id: str, now: dt.datetime) -> str:
    """One fresh link per customer and hour: the form that asks for it is open to anybody with an old link."""
    return f"{Kind.FRESH_LINK}/{customer_id}/{now.astimezone(dt.UTC):%Y%m%d%H}"


def welcome_key(customer_id: str) -> str:
    """A customer is welcomed once, ever."""
    return f"{Kind.WELCOME}/{customer_id}"


_RESEND: Final = "resend/"


def resend_key(notification_id: str, number: int) -> str:
    """The `number`-th time that a person had this notification sent again."""
    return f"{_RESEND}{notification_id}/{number}"


def is_manual_resend(dedupe_key: str) -> bool:
    """A person wants this email out now: intervals and quiet hours don't hold it, everything else does."""
    return dedupe_key.startswith(_RESEND)


def resent_id(dedupe_key: str) -> str | None:
    """Which notification such an email is once more; None: it is no such email."""
    if not is_manual_resend(dedupe_key):
        return None
    return dedupe_key.removeprefix(_RESEND).rpartition("/")[0]
