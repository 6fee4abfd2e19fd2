"""What one look at the database tells about a customer: frozen, whole, and enough to draw the page from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.portal.domain.invoices import Invoice
from services.portal.domain.people import CustomerProfile
from shared.contracts import invoices as contracts
from shared.contracts.accounts import OWN, Account, StripeCustomer, StripeId, stripe_customer
from shared.contracts.invoices import RetryPlan, SubscriptionState
from shared.contracts.next_steps import NextStep, next_step, wants_confirmation
from shared.contracts.payments import other_name
from shared.contracts.prices import UNKNOWN_TERMS, Terms
from shared.mode import LIVE, OBSERVE

MOST_UPCOMING: Final = 20
MOST_PAST: Final = 10
"""How many appointments of each kind a look brings."""
MOST_SUBSCRIPTIONS: Final = 5
"""How many the page shows; a look brings one more, if there is one."""
TAKEN_TO_LAST: Final = dt.timedelta(hours=1)
"""How long an appointment is taken to last when its end isn't known."""
LONGEST_NOTE: Final = 200
LONGEST_STATEMENT: Final = 80
"""How much a business may say about the service while something is owed, in characters: a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A business as its customers see it."""

    business_id: str
    name: str
    email: str | None = None
    phone: str | None = None
    website: str | None = None
    logo_url: str | None = None
    color: str | None = None
    locale: str = "en"
    timezone: str = "UTC"
    service_note: str | None = None
    """What it says of the service while something is owed, in its own words; None: nothing."""
    charged_as: str | None = None
    """What the customer's statement calls its charges; None: not said."""
    may_cancel: bool | None = None
    """Whether Stripe's page lets customers cancel by themselves; None: not known yet."""
    mode: str = LIVE
    """`live` or `observe`, by itself; the installation may observe as a whole."""
    live_since: dt.datetime | None = None
    """Its line; None: it has drawn none."""

    @property
    def observed(self) -> bool:
        """Whether nothing is written to Stripe for it, so that its pages promise none of that."""
        return self.mode == OBSERVE

    @property
    def statement(self) -> str | None:
        """Who charges, where the customer's statement says another name than the business's."""
        return other_name(self.name, self.charged_as)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """One visit. Times in UTC; `status` is `scheduled`, `cancelled` or `completed`."""

    ref: int
    """Ours, for addresses under the customer's link; meaningless without it."""
    external_id: str
    title: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None = None
    location: str | None = None
    status: str = "scheduled"

    def past(self, now: dt.datetime) -> bool:
        """Whether its time has passed."""
        return self.starts_at < now - TAKEN_TO_LAST if self.ends_at is None else self.ends_at < now

    def over(self, now: dt.datetime) -> bool:
        """Whether it belongs to the past: done, or its time has passed."""
        return self.status == "completed" or self.past(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedInvoice:
    """An invoice with Stripe's id of it, and how its subscription stands."""

    invoice_id: str
    invoice: Invoice
    subscription: SubscriptionState | None = None
    """What it is for, where that is a subscription that is known."""

    @property
    def owed(self) -> bool:
        """Whether the customer is asked for it."""
        return contracts.owed(self.invoice, self.subscription)

    def retry_plan(self, now: dt.datetime) -> RetryPlan:
        """Whether and when Stripe will charge it again by itself."""
        return self.invoice.retry_plan(self.subscription, now)

    def next_step(self, now: dt.datetime, *, observed: bool = False) -> NextStep:
        """What comes next of it, while it is owed; `observed`: its new payment method is left alone (`Invoice.left_alone`)."""
        invoice = self.invoice
        return next_step(
            self.retry_plan(now),
            invoice.decline,
            ended_unpaid=self.subscription is not None and self.subscription.ended_unpaid,
            confirm=wants_confirmation(invoice.needs_confirmation, invoice.decline),
            under_way=invoice.under_way(now, observed=observed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The customer's last request to end a subscription."""

    request_id: str
    status: str
    """`open`, `approved`, `declined` or `overtaken`."""
    asked_at: dt.datetime
    decided_at: dt.datetime | None = None
    carried_out_at: dt.datetime | None = None
    """When the end was planned at Stripe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription that goes on, or ended lately. Amounts in minor units."""

    ref: int
    """Ours, for addresses under the customer's link; meaningless without it."""
    subscription_id: str
    account: Account = OWN
    status: str
    ends_at: dt.datetime | None = None
    """When it will end, or has ended."""
    current_period_end: dt.datetime | None = None
    as_of: dt.datetime | None = None
    """When this was true at Stripe."""
    description: str | None = None
    terms: Terms = UNKNOWN_TERMS
    """What is known of its price."""
    collection_paused: bool | None = None
    """No payment is collected for now; None: its invoices are sent, or it is not known."""
    collection_resumes_at: dt.datetime | None = None
    trial_ends_at: dt.datetime | None = None
    previewed_at: dt.datetime | None = None
    """When Stripe was last asked about its price."""
    nothing_due: bool = False
    """The next invoice asked for nothing when Stripe was last asked, however long ago: a discount or the customer's credit left nothing to
    pay, and no event tells when that is over."""
    method_kept: bool = False
    """It is charged to another payment method than the customer's new one, until the business sets that at Stripe."""
    asked: Asked | None = None

    @property
    def name(self) -> StripeId:
        """Its whole name at Stripe."""
        return StripeId(self.account, self.subscription_id)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status == "canceled"

    @property
    def behind(self) -> bool:
        """Whether Stripe says that something of it is unpaid."""
        return self.status in ("past_due", "unpaid")

    @property
    def sends_overdue(self) -> bool:
        """Whether an invoice that was sent for it is past its day. Stripe tells of that by the subscription's status alone; of one that is
        charged it tells whether collecting is paused."""
        return self.behind and self.collection_paused is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(CustomerProfile):
    """A customer with all that the page shows."""

    customer_id: str
    """The public id."""
    external_id: str
    link_generation: int
    platform_stripe_customer_id: str | None
    billing_opened_at: dt.datetime | None
    method_changed_at: dt.datetime | None
    business: Business
    account: Account = OWN
    """Of all Stripe ids here."""
    on_behalf_of: str = ""
    """Where that is a platform's: on whose behalf it charges for this business."""
    disconnected: bool = False
    """That account is connected no more: nothing is known of what is owed, and nothing can be paid from here."""
    appointments: tuple[Appointment, ...] = ()
    """Upcoming ones by time, then past ones, latest first."""
    invoices: tuple[OwnedInvoice, ...] = ()
    """Open ones and lately paid ones."""
    subscriptions: tuple[Subscription, ...] = ()
    """Those that go on, and those that ended lately."""

    @property
    def shown_subscriptions(self) -> tuple[Subscription, ...]:
        """As many as the page shows."""
        return self.subscriptions[:MOST_SUBSCRIPTIONS]

    @property
    def stripe_customer(self) -> StripeCustomer | None:
        """The whole name of their Stripe customer, as this business's."""
        return stripe_customer(self.account, self.platform_stripe_customer_id, self.on_behalf_of)

    @property
    def can_manage_billing(self) -> bool:
        """Whether Stripe knows the customer, on an account that lets us in: without that, Stripe's page can't be opened."""
        return self.platform_stripe_customer_id is not None and not self.disconnected

    @property
    def zone(self) -> str:
        """The IANA time zone that the customer's times are shown in."""
        return self.timezone or self.business.timezone
