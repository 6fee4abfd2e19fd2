"""The story of one invoice, as the notifier tells it."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain.vocabulary import Reason
from shared.contracts.accounts import OWN, Account, StripeCustomer, StripeId
from shared.contracts.invoices import Invoice, InvoiceStatus
from shared.contracts.observations import Observation
from shared.contracts.observations import merge as merge_invoice

CLOSED_BECAUSE: Final[dict[str, Reason]] = {
    InvoiceStatus.PAID: Reason.PAID,
    InvoiceStatus.VOID: Reason.VOIDED,
    InvoiceStatus.UNCOLLECTIBLE: Reason.UNCOLLECTIBLE,
}


class Incident(Invoice, frozen=True, kw_only=True, gc=False):
    """The story of one invoice as far as it is known, and what its customer was told."""

    account: Account = OWN
    invoice_id: str
    stripe_customer_id: str
    opened_at: dt.datetime | None = None
    """When a charge first failed that was not our own retry."""
    last_mailed_at: dt.datetime | None = None
    """When the customer was last asked for it by email, on the invoice's own time line (`reminders.effective_time`)."""
    asked_at: dt.datetime | None = None
    """When the last such email was begun, on our clock."""
    failure_heard_at: dt.datetime | None = None
    """When the last failure was heard of, on our clock; None: by a release before this one."""
    end_noted: bool = False
    """An email to the business about how collecting ended exists."""

    @property
    def name(self) -> StripeId:
        """The whole name of the invoice."""
        return StripeId(self.account, self.invoice_id)

    @property
    def customer(self) -> StripeCustomer:
        """The whole name of its Stripe customer."""
        return StripeCustomer(self.account, self.stripe_customer_id, self.on_behalf_of)

    @property
    def closed_because(self) -> Reason | None:
        """Why no more money is asked for this invoice; None while it is open."""
        return CLOSED_BECAUSE.get(self.status)

    def waited(self, now: dt.datetime) -> dt.timedelta:
        """How long nothing has failed any more, on our clock; nothing where that isn't known."""
        return now - self.failure_heard_at if self.failure_heard_at else dt.timedelta(0)


def merge(incident: Incident, seen: Observation, now: dt.datetime) -> Incident:
    """The incident with one more event in it, heard of `now`; the same result in whatever order the events arrive."""
    if not seen.failed:
        return merge_invoice(incident, seen)
    opened = incident.opened_at
    if not seen.own_retry:
        opened = min(seen.at, opened or seen.at)
    return merge_invoice(incident, seen, opened_at=opened, failure_heard_at=now)
