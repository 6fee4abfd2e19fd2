"""What the notifier's RPC methods take and answer. Times in UTC: `2026-03-03T17:00:00Z`, and in `stats` and `story`
`2026-03-03T17:00:00+00:00`; amounts in the currency's minor unit."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Final, Literal, get_args

import msgspec

from shared.contracts.invoices import InvoiceStatus
from shared.contracts.rpc.base import Answer, Method, SecretAnswer, Timeline, one_of, spelled
from shared.contracts.rpc.errors import NotFound, StillObserved, TooLate
from shared.contracts.rpc.hooks import (
    CHANGE_WEBHOOK_ENDPOINT,
    CREATE_WEBHOOK_ENDPOINT,
    DELETE_WEBHOOK_ENDPOINT,
    REPLAY_WEBHOOKS,
    ROTATE_WEBHOOK_SECRET,
    TEST_WEBHOOK_ENDPOINT,
    WEBHOOK_ATTEMPTS,
    WEBHOOK_ENDPOINT,
    WEBHOOK_ENDPOINTS,
)
from shared.contracts.rpc.welcomes import QUEUE_WELCOMES, STOP_WELCOMES, WELCOMES

EmailKind = Literal[
    "payment_failed",
    "payment_reminder",
    "payment_last_attempt",
    "payment_action_required",
    "payments_failed",
    "payment_recovered",
    "fresh_link",
    "welcome",
    "cancellation_approved",
    "cancellation_declined",
    "customer_unreachable",
    "customer_recovered",
    "cancellation_requested",
    "subscription_ending",
    "cancellation_withdrawn",
    "cancellation_by_hand",
    "payment_method_by_hand",
    "collection_ended",
    "webhooks_stopped",
]
"""Every kind of email (docs/emails.md); each has a preview."""
CustomerKind = Literal["cancellation_approved", "cancellation_declined"]
BusinessKind = Literal[
    "customer_unreachable",
    "customer_recovered",
    "cancellation_requested",
    "cancellation_by_hand",
    "subscription_ending",
]
NotificationKind = Annotated[str, one_of(*get_args(EmailKind))]
NotificationStatus = Literal[
    "pending", "sending", "sent", "delivered", "bounced", "suppressed", "observed", "failed"
]
"""Where a notification stands."""
STATUSES: Final = get_args(NotificationStatus)


# --- arguments -------------------------------------------------------------------------------------------------------


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever asks for an email has to say. Fields that are not known here are ignored, as in events."""

    request_id: Annotated[
        str, spelled("[A-Za-z0-9_.:-]{1,100}", "1 to 100 letters, digits and . : - _")
    ]
    """The request's id with whoever asks: one email a request and kind."""
    description: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    """What it is about, in words: the subscription's name, and its price where that may be said."""
    ends_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None
    """When the subscription ends, or ended."""
    dashboard_url: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    """The subscription in the business's Stripe dashboard: where it does what Stripe lets only it do."""
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    """The customer's own words to the business, or the business's to the customer."""


# --- answers ---------------------------------------------------------------------------------------------------------


class Notification(Answer, frozen=True, kw_only=True):
    """An email that was, will be, or deliberately was not sent: no address and no link, of which none is stored."""

    notification_id: str
    """`ntf_…`."""
    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""
    kind: NotificationKind
    status: Annotated[str, one_of(*STATUSES)]
    """`suppressed`: not sent on purpose, see `reason`. `observed`: it would have been sent, had its business been live."""
    reason: str | None = None
    """Why it was not sent, in words."""
    invoice_id: str | None = None
    """Stripe's id, `in_…`; null: it is about none."""
    attempt: int = 0
    """Which failure of the invoice it is about, from 1."""
    stripe_customer_id: str | None = None
    customer_id: str | None = None
    """Portico's id, where it was asked for by that."""
    correlation_id: str | None = None
    """One thread from webhook to email: Stripe's id of the event, most often."""
    attempts: int = 0
    """Tries to send it."""
    lookups: int = 0
    """Tries to find out whom to write to."""
    last_error: str | None = None
    """What the last try ended with."""
    provider_message_id: str | None = None
    """SendGrid's."""
    created_at: dt.datetime
    due_at: dt.datetime
    """When it is sent, or tried again."""
    unconfirmed_since: dt.datetime | None = None
    """SendGrid may have taken it then: its answer was lost."""
    sent_at: dt.datetime | None = None
    """When SendGrid accepted it."""
    delivered_at: dt.datetime | None = None
    """When the mailbox took it."""


class ObservedInvoice(Answer, frozen=True, kw_only=True):
    """What has become of the invoice of an observed email, as far as Stripe's webhooks have told."""

    status: Annotated[str, one_of(*InvoiceStatus)]
    currency: str
    """ISO 4217, lower case."""
    amount_due: int
    """What it asked for."""
    amount_remaining: int
    """What is still to be paid."""
    amount_paid: int
    """Money that came in."""
    amount_credited: int = 0
    """What credit notes took off before it was paid."""
    number: str | None = None
    """The number printed on it."""
    attempt_count: int = 0
    """Attempts of Stripe's retry schedule."""
    first_failed_at: dt.datetime | None = None
    last_failed_at: dt.datetime | None = None
    next_payment_attempt: dt.datetime | None = None
    """When Stripe tries again, as it last said."""
    closed_at: dt.datetime | None = None
    """Since when it is paid, void or given up."""


class ObservedNotification(Notification, frozen=True, kw_only=True):
    """An email that would have been sent, had its business been live. Whom to is the portal's to say (`contacts`)."""

    business_id: str
    """The host's own id of the business."""
    on_behalf_of: str = ""
    """Where the account is a platform's: on whose behalf it charges."""
    occurred_at: dt.datetime
    """When what it tells of happened."""
    observed_at: dt.datetime
    """When it would have gone out."""
    invoice: ObservedInvoice | None = None
    """null: it is about none."""


class ObservedNotifications(Answer, frozen=True, kw_only=True):
    """Observed emails, in the order in which they would have gone out."""

    notifications: list[ObservedNotification]
    has_more: bool = False
    """There are others after these: go on with `starting_after`, the last one's `notification_id`."""


class AcceptedNotification(Notification, frozen=True, kw_only=True):
    """An email that was observed, and that a person wants sent."""

    accepted: bool
    """Whether this call made it due; false: it stands as it says. It was wanted before, a newer one about its invoice was accepted and tells
    of it, or it is a welcome."""


class RequestedNotification(Notification, frozen=True, kw_only=True):
    """The notification that answers a wish."""

    created: bool
    """Whether this call made it, or made it due; false: it was there."""


class ResentNotifications(Answer, frozen=True, kw_only=True):
    """The notifications that were made, or made due; with `dry_run` those that failed."""

    notifications: list[Notification]
    more: bool = False
    """There are more: call again with `failed_before`."""
    failed_before: dt.datetime
    """To be given to the next call, so that what fails anew is not sent in a circle."""


class EmailPreview(Answer, frozen=True, kw_only=True):
    """An email with sample data."""

    subject: str
    text: str
    """The plain part."""
    html: str
    """The other one."""


class SentTestMail(SecretAnswer, frozen=True, kw_only=True):
    """What SendGrid said to a test mail."""

    outcome: Annotated[
        str, one_of("accepted", "refused", "rate_limited", "unavailable", "unconfirmed")
    ]
    """`accepted`: SendGrid has it, and delivers it or not. `refused`: it takes no such mail; `why`. `rate_limited`, `unavailable`: not now.
    `unconfirmed`: it was posted and no answer came, so that it may have been taken."""
    subject: str
    """By which it is found in the inbox."""
    sender: str
    """The address that it came from, or would have."""
    business_sender: str | None = None
    """The business's own, where it has one; `sender` is another one where SendGrid has not authenticated its domain."""
    message_id: str | None = None
    """SendGrid's name for the message."""
    why: str | None = None
    """SendGrid's own words, or what kept it from answering; null: it took the mail."""
    retry_at: dt.datetime | None = None
    """When SendGrid takes mail again, with `rate_limited`."""


class ErasedRows(Answer, frozen=True, kw_only=True):
    """What was forgotten."""

    deleted: int
    """How many rows."""


class CurrencyStats(Answer, frozen=True, kw_only=True):
    """Failed invoices of one currency: how many, and how much. `recovered`, `forgiven`, `lost` and `open` add up to `failed`."""

    currency: str
    """ISO 4217, lower case."""
    failed: int
    mailed: int
    delivered: int
    recovered: int
    forgiven: int
    lost: int
    open: int
    failed_amount: int
    recovered_amount: int
    """Money that came in."""
    forgiven_amount: int
    """What credit notes let go."""
    lost_amount: int
    open_amount: int


class RecoveryTime(Answer, frozen=True, kw_only=True):
    """How many were recovered within a time; longer than in the row before."""

    within: Annotated[
        str,
        one_of(
            "under an hour",
            "under a day",
            "1 to 3 days",
            "3 to 7 days",
            "7 to 14 days",
            "14 to 30 days",
            "longer",
        ),
    ]
    count: int


class DayStats(Answer, frozen=True, kw_only=True):
    """Invoices that failed on one day, by what became of them."""

    day: str
    """`2026-03-03`, in UTC."""
    failed: int
    recovered: int
    forgiven: int
    lost: int
    open: int


class EmailStats(Answer, frozen=True, kw_only=True):
    """Emails of one kind that came to the same end."""

    kind: NotificationKind
    status: Annotated[str, one_of(*STATUSES)]
    reason: str | None = None
    """Why they were not sent, in words."""
    count: int


class Stats(Answer, frozen=True, kw_only=True):
    """Failed autopay invoices and what became of them. Each counts once, however often it failed."""

    utc: ClassVar[str] = "+00:00"

    since: dt.datetime
    until: dt.datetime
    """Now."""
    failed: int
    """Invoices that failed."""
    mailed: int
    """Those of which an email was sent."""
    delivered: int
    """Those of which one was delivered."""
    recovered: int
    """Those that were paid."""
    forgiven: int
    """Those that a credit note let go."""
    lost: int
    """Void or uncollectible."""
    open: int
    """None of these: still owed, or open and collected by nobody any more."""
    currencies: list[CurrencyStats]
    """Money is not added up over currencies."""
    median_seconds_to_recover: float | None = None
    """null: none was."""
    times_to_recover: list[RecoveryTime]
    days: list[DayStats]
    """Every day of the time."""
    mails: list[EmailStats]
    """The 200 most frequent."""


# --- methods ---------------------------------------------------------------------------------------------------------

ACCEPT_OBSERVED: Final = Method(
    "notifier", "accept_observed", list[AcceptedNotification], (NotFound, StillObserved)
)
CANCEL: Final = Method("notifier", "cancel", Notification, (NotFound, TooLate))
EMAILS_OF_INVOICES: Final = Method("notifier", "emails_of_invoices", list[Notification])
ERASE_CUSTOMER: Final = Method("notifier", "erase_customer", ErasedRows)
NOTIFICATIONS: Final = Method("notifier", "notifications", list[Notification])
OBSERVED: Final = Method("notifier", "observed", ObservedNotifications, (NotFound,))
PREVIEW: Final = Method("notifier", "preview", EmailPreview)
RESEND: Final = Method("notifier", "resend", RequestedNotification, (NotFound,))
RESEND_FAILED: Final = Method("notifier", "resend_failed", ResentNotifications)
SEND_BUSINESS_MAIL: Final = Method("notifier", "send_business_mail", RequestedNotification)
SEND_CUSTOMER_MAIL: Final = Method("notifier", "send_customer_mail", RequestedNotification)
SEND_FRESH_LINK: Final = Method("notifier", "send_fresh_link", RequestedNotification)
SEND_TEST_MAIL: Final = Method("notifier", "send_test_mail", SentTestMail, (NotFound,))
STATS: Final = Method("notifier", "stats", Stats)
STORY: Final = Method("notifier", "story", Timeline)

__all__ = [
    "CHANGE_WEBHOOK_ENDPOINT",
    "CREATE_WEBHOOK_ENDPOINT",
    "DELETE_WEBHOOK_ENDPOINT",
    "QUEUE_WELCOMES",
    "REPLAY_WEBHOOKS",
    "ROTATE_WEBHOOK_SECRET",
    "STOP_WELCOMES",
    "TEST_WEBHOOK_ENDPOINT",
    "WEBHOOK_ATTEMPTS",
    "WEBHOOK_ENDPOINT",
    "WEBHOOK_ENDPOINTS",
    "WELCOMES",
]
