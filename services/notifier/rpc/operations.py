"""The notifier's RPC methods for those who operate it; mixed into the service."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.adapters.portal import PortalBusinesses
from services.notifier.adapters.sendgrid.time_limit import TimeLimitedMailer
from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import (
    Accepted,
    MaybeSent,
    Outcome,
    RateLimited,
    Refused,
    Unavailable,
)
from services.notifier.handlers import requests as asking
from services.notifier.handlers import stats as counting
from services.notifier.handlers import timeline
from services.notifier.handlers.compose import compose_test
from services.notifier.ports import PortalUnavailable, UnknownCustomer
from services.notifier.queries import erasure, notifications
from services.notifier.rpc.entrypoints import NotifierEntrypoints
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, Merchant, stripe_id
from shared.contracts.rpc.base import Timeline
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    TemporarilyUnavailable,
    TooLate,
)
from shared.contracts.rpc.notifier import (
    EmailKind,
    ErasedRows,
    Notification,
    NotificationStatus,
    RequestedNotification,
    ResentNotifications,
    SentTestMail,
    Stats,
)
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.telemetry import get_logger
from shared.text import can_be_mailed

log = get_logger(__name__)

LONGEST_STATS: Final = dt.timedelta(days=732)
MOST_EVENTS: Final = 300
MOST_INVOICES: Final = 100
OUTCOMES: Final[dict[type[Outcome], str]] = {
    Accepted: "accepted",
    Refused: "refused",
    RateLimited: "rate_limited",
    Unavailable: "unavailable",
    MaybeSent: "unconfirmed",
}
"""SendGrid's answers by the words of `SentTestMail`."""


class Operations(NotifierEntrypoints):
    """Listing, sending again, trying, cancelling, counting, forgetting, and the story of an invoice."""

    @rpc
    def notifications(
        self,
        invoice_id: str | None = None,
        stripe_customer_id: str | None = None,
        limit: int = 50,
        status: NotificationStatus | None = None,
        account: str = OWN,
    ) -> list[Notification]:
        """Emails that were, will be, or deliberately were not sent, newest first (at most 500). `account` is that of the ids; without any
        the emails of all accounts are told."""
        with self.db.reading() as session:
            return asking.notifications(
                session,
                Account(account),
                invoice_id=invoice_id,
                stripe_customer_id=stripe_customer_id,
                limit=limit,
                status=status,
            )

    @rpc
    def emails_of_invoices(self, invoice_ids: list[str], account: str = OWN) -> list[Notification]:
        """Every email about these invoices (at most 100) that was, will be, or deliberately was not sent, newest first: at most
        2,000."""
        if len(invoice_ids) > MOST_INVOICES:
            raise InvalidArgument(f"invoice_ids: expected at most {MOST_INVOICES}")
        with self.db.reading() as session:
            return asking.of_invoices(session, Account(account), invoice_ids)

    @audited_rpc("notification_id")
    def resend(self, notification_id: str) -> RequestedNotification:
        """Send a notification once more, unless there is a reason not to (it is looked at again). Answers the new
        notification, or the one that already waits. A welcome that certainly reached nobody is made due itself."""
        with self.db.transaction() as session:
            requested = asking.resend(session, notification_id, utc_now())
        self.wake()
        return requested

    @audited_rpc("failed_since", "invoice_id", "dry_run", "account")
    def resend_failed(
        self,
        failed_since: dt.datetime | None = None,
        invoice_id: str | None = None,
        limit: int = 200,
        failed_before: dt.datetime | None = None,
        dry_run: bool = False,
        account: str = OWN,
    ) -> ResentNotifications:
        """Send once more what certainly never went out: everything that failed since `failed_since` (after a key that
        was rotated wrongly, say), or of one invoice. What was asked for again already, and what SendGrid may have
        taken, is left out; so are welcomes, which have a rate and quiet hours: `queue_welcomes` takes those that failed again. Call again
        while `more`, with the answer's `failed_before`. `dry_run` answers those that failed.
        `limit` is 1 to 500."""
        if failed_since is None and invoice_id is None:
            raise InvalidArgument("failed_since: expected a time, or give invoice_id")
        with self.db.transaction() as session:
            resent = asking.resend_failed(
                session,
                utc_now(),
                failed_since=failed_since,
                invoice=stripe_id(account, invoice_id),
                limit=max(1, min(limit, 500)),
                failed_before=failed_before,
                dry_run=dry_run,
            )
        self.wake()
        return resent

    @audited_rpc("kind", "business_id")
    def send_test_mail(
        self,
        to: str,
        kind: EmailKind = "payment_failed",
        business_id: str | None = None,
        locale: str = "en",
    ) -> SentTestMail:
        """Send one email with sample data, marked as a test in its subject, to this address, whether anybody observes or not: at once, and
        once. With `business_id` (the host's id) in its name and from its own sender address. Nothing is written down, and what SendGrid
        reports of it later is about nothing of ours. Answers what SendGrid said: within 20 seconds, or 24 where the portal is asked for the
        business. NotFound: `business_id`."""
        if not can_be_mailed(to):
            raise InvalidArgument("to: expected an email address")
        about = None
        if business_id is not None:
            try:
                about = PortalBusinesses(self.portal).business(business_id)
            except UnknownCustomer:
                raise NotFound("business_id: no such business") from None
            except PortalUnavailable as error:
                raise TemporarilyUnavailable(str(error)) from None
        mail = compose_test(self.renderer, Kind(kind), to, locale, about)
        outcome = TimeLimitedMailer(self.sendgrid.mailer).send(mail)
        said = OUTCOMES[type(outcome)]
        log.info("test mail tried", kind=kind, outcome=said, notification_id=mail.notification_id)
        return SentTestMail(
            outcome=said,
            subject=mail.subject,
            sender=self.sendgrid.mailer.sender_of(mail.sender_email),
            business_sender=mail.sender_email,
            message_id=outcome.message_id if isinstance(outcome, Accepted) else None,
            why=getattr(outcome, "why", None),
            retry_at=outcome.until if isinstance(outcome, RateLimited) else None,
        )

    @audited_rpc("notification_id")
    def cancel(self, notification_id: str) -> Notification:
        """Keep a notification that waits from being sent."""
        with self.db.transaction() as session:
            row = notifications.by_id(session, notification_id, lock=True)
            if row is None:
                raise NotFound("notification_id: there is no such notification")
            if not notifications.cancel(row, utc_now()):
                raise TooLate(f"this notification is {row.status}: there is nothing to cancel")
            return Notification.of(row)

    @rpc
    def story(
        self,
        invoice_id: str | None = None,
        stripe_customer_id: str | None = None,
        customer_id: str | None = None,
        event_id: str | None = None,
        notification_id: str | None = None,
        event_ids: list[str] | None = None,
        account: str = OWN,
    ) -> Timeline:
        """What the notifier knows, as steps of a time line, with the ids met on the way: by one of the ids.

        `event_ids` (at most 300) are Stripe events whose outcome is wanted besides.
        """
        keys = (invoice_id, stripe_customer_id, customer_id, event_id, notification_id)
        if all(one is None for one in keys):
            raise InvalidArgument("expected an id")
        with self.db.reading() as session:
            return timeline.story(
                session,
                timeline.About(
                    account=Account(account),
                    invoice_id=invoice_id,
                    stripe_customer_id=stripe_customer_id,
                    customer_id=customer_id,
                    event_id=event_id,
                    notification_id=notification_id,
                ),
                event_ids=(event_ids or [])[:MOST_EVENTS],
                now=utc_now(),
            )

    @rpc
    def stats(
        self, since: dt.datetime, account: str | None = None, on_behalf_of: str = ""
    ) -> Stats:
        """Failed autopay invoices since a moment, within two years, and what became of them: counts, money, days, times. With `account`
        (empty: the installation's own) only what was charged there, on this behalf: so a business that has both to itself sees its own.
        """
        now = utc_now()
        if not now - LONGEST_STATS <= since <= now:
            raise InvalidArgument("since: expected a time of the last two years")
        with self.db.reading() as session:
            whose = None if account is None else Merchant(Account(account), on_behalf_of)
            return counting.stats(session, since.astimezone(dt.UTC), now, whose)

    @audited_rpc("customer_id", "stripe_customer_id", "account", "on_behalf_of")
    def erase_customer(
        self,
        stripe_customer_id: str | None = None,
        customer_id: str | None = None,
        account: str = OWN,
        on_behalf_of: str | None = None,
    ) -> ErasedRows:
        """Forget a customer's emails and invoices. Safe to repeat. `on_behalf_of`: the Stripe customer, a platform's, stays another
        business's; of what names it only what is charged on this behalf (empty: nobody's) goes."""
        if not stripe_customer_id and not customer_id:
            raise InvalidArgument("expected stripe_customer_id, customer_id, or both")
        with self.db.transaction() as session:
            return ErasedRows(
                deleted=erasure.erase_customer(
                    session, stripe_id(account, stripe_customer_id), customer_id, on_behalf_of
                )
            )
