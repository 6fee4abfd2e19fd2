"""Every kind of email, one row each: who reads it, what it asks for, what it shows.

A new email is a row here, a folder of its name in `templates/email/`, and its texts in the catalogues. Whatever else lists
kinds (arguments of RPC, previews, statements, pages of the docs, pictures) reads this table;
`tests/unit/notifier/test_kinds.py` names what a new row still lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from shared.contracts.invoices import Ending, Retry
from shared.contracts.payments import Decline


class Kind(StrEnum):
    """What an email says. The value stands in the database, in events and as SendGrid's category, and is its template's
    folder: it never changes."""

    PAYMENT_FAILED = "payment_failed"
    PAYMENT_REMINDER = "payment_reminder"
    PAYMENT_LAST_ATTEMPT = "payment_last_attempt"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    PAYMENTS_FAILED = "payments_failed"
    """Several invoices of one customer in one email."""
    PAYMENT_RECOVERED = "payment_recovered"
    FRESH_LINK = "fresh_link"
    WELCOME = "welcome"
    """The first that a customer hears of their page, when their business asks for it (docs/adr/0036-the-first-hello.md)."""
    CANCELLATION_APPROVED = "cancellation_approved"
    CANCELLATION_DECLINED = "cancellation_declined"
    CUSTOMER_UNREACHABLE = "customer_unreachable"
    CUSTOMER_RECOVERED = "customer_recovered"
    CANCELLATION_REQUESTED = "cancellation_requested"
    SUBSCRIPTION_ENDING = "subscription_ending"
    CANCELLATION_WITHDRAWN = "cancellation_withdrawn"
    CANCELLATION_BY_HAND = "cancellation_by_hand"
    """An end that the business has approved, and that Stripe lets only the business plan."""
    PAYMENT_METHOD_BY_HAND = "payment_method_by_hand"
    """A new payment method that Stripe lets only the business set for a subscription."""
    COLLECTION_ENDED = "collection_ended"
    """Nothing is charged any more by itself, and something is unpaid."""
    WEBHOOKS_STOPPED = "webhooks_stopped"
    """An endpoint of the business's own was switched off because it does not work."""


class Audience(Enum):
    """Who reads an email."""

    CUSTOMER = auto()
    BUSINESS = auto()
    """Never gets a customer's own link."""


class Topic(Enum):
    """What is looked at again before an email goes out."""

    DEBT = auto()
    """Pointless once nothing is unpaid; until then it waits for a customer whom the portal doesn't know."""
    PAYMENT = auto()
    """Money that came in: the invoice as it was then, not as it stands now."""
    PLAN = auto()
    """The end of a subscription, planned, past or withdrawn: plans change back and forth."""


class Action(Enum):
    """What the buttons of an email do."""

    NONE = auto()
    OPEN_PAGE = auto()
    """Opens the customer's page; the template names the button."""
    OPEN_INVOICE = auto()
    """Opens the invoice in the business's Stripe dashboard."""
    OPEN_SUBSCRIPTION = auto()
    """The same of the subscription."""
    DECIDE = auto()
    """Two answers to a request to cancel, behind links that the portal is asked for when the email is sent."""


class FactName(Enum):
    """A line of the box of facts. What is not known, or is empty, is left out."""

    CUSTOMER = auto()
    ADDRESS = auto()
    """The customer's email address."""
    INVOICES = auto()
    """A line for each of several invoices; none where the email is about one."""
    AMOUNT_DUE = auto()
    UNPAID = auto()
    AMOUNT_PAID = auto()
    PAID_ON = auto()
    PURPOSE = auto()
    """What the one invoice is for; like the three after it, not where there are several."""
    NUMBER = auto()
    METHOD = auto()
    REASON = auto()
    """Why the last charge failed."""
    NUMBER_DUE = auto()
    """The invoice's number, where something of it is due."""
    NEXT_APPOINTMENT = auto()
    SUBSCRIPTION = auto()
    PRICE = auto()
    PERIOD_END = auto()
    """Of the current period, paid or not."""
    ENDS = auto()
    """When the subscription ends, or has ended."""
    ENDPOINT = auto()
    """The webhook endpoint's id."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """In what the sample letter of a kind differs from the plain one (`samples.sample_letter`)."""

    decline: Decline = Decline.INSUFFICIENT_FUNDS
    planned: Retry = Retry.SCHEDULED
    tries: int = 1
    several: bool = False
    """It is about two invoices."""
    note: str | None = None
    ending: Ending | None = None
    mails: int = 0


@dataclass(frozen=True, kw_only=True)
class MailKind:
    """What tells one kind of email from the others."""

    audience: Audience
    occasion: str
    """Why it is sent, one line for a person who looks through them."""
    asks_for_money: bool = False
    """Pointless, and rude, once nothing is owed. Counts as a reminder of its invoice."""
    keeps_quiet_hours: bool = False
    """No telephone rings for it in the quiet hours of its business, on the customer's wall clock."""
    topic: Topic | None = None
    """What is looked at again before it goes out; None: nothing but the address."""
    action: Action = Action.NONE
    facts: tuple[FactName, ...] = ()
    """The box of facts, from top to bottom. The sample letter knows each of them."""
    on_request: bool = False
    """Another service may ask for it, under a request's id."""
    answered_by_customer: bool = True
    """Of an email to the business: an answer to it goes to the customer it is about."""
    sample: Sample = Sample()


_DUE: Final = (
    FactName.INVOICES,
    FactName.AMOUNT_DUE,
    FactName.PURPOSE,
    FactName.NUMBER,
    FactName.METHOD,
)


def _dunning(occasion: str, sample: Sample) -> MailKind:
    """An email that asks a customer for money."""
    return MailKind(
        audience=Audience.CUSTOMER,
        occasion=occasion,
        asks_for_money=True,
        keeps_quiet_hours=True,
        topic=Topic.DEBT,
        action=Action.OPEN_PAGE,
        facts=_DUE,
        sample=sample,
    )


KINDS: Final = {
    Kind.PAYMENT_FAILED: _dunning("A payment failed", Sample(decline=Decline.EXPIRED_CARD)),
    Kind.PAYMENT_REMINDER: _dunning("Reminder: still unpaid", Sample()),
    Kind.PAYMENT_LAST_ATTEMPT: _dunning("The last try failed", Sample(planned=Retry.OVER, tries=4)),
    Kind.PAYMENT_ACTION_REQUIRED: _dunning("The bank wants a confirmation", Sample()),
    Kind.PAYMENTS_FAILED: _dunning("Several payments failed", Sample(several=True)),
    Kind.PAYMENT_RECOVERED: MailKind(
        audience=Audience.CUSTOMER,
        occasion="Paid after it had failed",
        topic=Topic.PAYMENT,
        action=Action.OPEN_PAGE,
        facts=(FactName.AMOUNT_PAID, FactName.PAID_ON, FactName.PURPOSE, FactName.NUMBER),
    ),
    Kind.FRESH_LINK: MailKind(
        audience=Audience.CUSTOMER, occasion="A new link was asked for", action=Action.OPEN_PAGE
    ),
    Kind.WELCOME: MailKind(
        audience=Audience.CUSTOMER,
        occasion="The customer’s page, for the first time",
        keeps_quiet_hours=True,
        action=Action.OPEN_PAGE,
    ),
    Kind.CANCELLATION_APPROVED: MailKind(
        audience=Audience.CUSTOMER,
        occasion="Cancellation approved",
        action=Action.OPEN_PAGE,
        facts=(FactName.SUBSCRIPTION, FactName.ENDS),
        on_request=True,
    ),
    Kind.CANCELLATION_DECLINED: MailKind(
        audience=Audience.CUSTOMER,
        occasion="Cancellation declined",
        action=Action.OPEN_PAGE,
        facts=(FactName.SUBSCRIPTION,),  # it goes on: no end
        on_request=True,
    ),
    Kind.CUSTOMER_UNREACHABLE: MailKind(
        audience=Audience.BUSINESS,
        occasion="Email to the customer bounced",
        facts=(FactName.CUSTOMER, FactName.ADDRESS, FactName.AMOUNT_DUE, FactName.NUMBER_DUE),
        on_request=True,
        answered_by_customer=False,
    ),
    Kind.CUSTOMER_RECOVERED: MailKind(
        audience=Audience.BUSINESS,
        occasion="The customer has paid",
        topic=Topic.PAYMENT,
        facts=(FactName.CUSTOMER, FactName.AMOUNT_PAID, FactName.PAID_ON, FactName.NUMBER),
        on_request=True,
    ),
    Kind.CANCELLATION_REQUESTED: MailKind(
        audience=Audience.BUSINESS,
        occasion="The customer asks to cancel",
        action=Action.DECIDE,
        facts=(
            FactName.CUSTOMER,
            FactName.ADDRESS,
            FactName.SUBSCRIPTION,
            FactName.PERIOD_END,
        ),
        on_request=True,
        sample=Sample(
            note="We are moving to another town at the end of the year.\nThank you for everything!"
        ),
    ),
    Kind.CANCELLATION_BY_HAND: MailKind(
        audience=Audience.BUSINESS,
        occasion="A cancellation to be made by hand",
        action=Action.OPEN_SUBSCRIPTION,
        facts=(
            FactName.CUSTOMER,
            FactName.ADDRESS,
            FactName.SUBSCRIPTION,
            FactName.PERIOD_END,
        ),
        on_request=True,
    ),
    Kind.PAYMENT_METHOD_BY_HAND: MailKind(
        audience=Audience.BUSINESS,
        occasion="A payment method to be set by hand",
        action=Action.OPEN_SUBSCRIPTION,
        facts=(FactName.CUSTOMER, FactName.ADDRESS, FactName.SUBSCRIPTION),
    ),
    Kind.SUBSCRIPTION_ENDING: MailKind(
        audience=Audience.BUSINESS,
        occasion="The subscription will end",
        topic=Topic.PLAN,
        facts=(FactName.CUSTOMER, FactName.SUBSCRIPTION, FactName.PRICE, FactName.ENDS),
        on_request=True,
    ),
    Kind.CANCELLATION_WITHDRAWN: MailKind(
        audience=Audience.BUSINESS,
        occasion="The subscription goes on",
        topic=Topic.PLAN,
        facts=(FactName.CUSTOMER, FactName.SUBSCRIPTION, FactName.PRICE),
    ),
    Kind.COLLECTION_ENDED: MailKind(
        audience=Audience.BUSINESS,
        occasion="Nothing more is tried, and it is unpaid",
        topic=Topic.DEBT,
        action=Action.OPEN_INVOICE,
        facts=(
            FactName.CUSTOMER,
            FactName.ADDRESS,
            FactName.INVOICES,
            FactName.PURPOSE,
            FactName.NUMBER,
            FactName.UNPAID,
            FactName.NEXT_APPOINTMENT,
            FactName.METHOD,
            FactName.REASON,
        ),
        sample=Sample(tries=4, ending=Ending.SUBSCRIPTION_FAILED, mails=4),
    ),
    Kind.WEBHOOKS_STOPPED: MailKind(
        audience=Audience.BUSINESS,
        occasion="Webhooks have stopped",
        facts=(FactName.ENDPOINT,),
        answered_by_customer=False,
    ),
}
"""The table."""


def _about(topic: Topic) -> frozenset[Kind]:
    return frozenset(kind for kind, row in KINDS.items() if row.topic is topic)


DUNNING: Final = frozenset(kind for kind, row in KINDS.items() if row.asks_for_money)
"""The kinds that ask for money."""
KEEP_QUIET_HOURS: Final = frozenset(kind for kind, row in KINDS.items() if row.keeps_quiet_hours)
"""The kinds that wait for the morning."""
TO_BUSINESS: Final = frozenset(
    kind for kind, row in KINDS.items() if row.audience is Audience.BUSINESS
)
ABOUT_DEBT: Final = _about(Topic.DEBT)
ABOUT_PAYMENT: Final = _about(Topic.PAYMENT)
PLANS: Final = _about(Topic.PLAN)


def occasion(kind: str) -> str:
    """Why an email of a kind is sent, one line; of one that this release does not know, its name."""
    known = {each.value: row.occasion for each, row in KINDS.items()}
    return known.get(kind, kind.replace("_", " "))
