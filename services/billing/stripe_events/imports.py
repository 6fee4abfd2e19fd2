"""What a page of one of Stripe's lists becomes: events of ours, and what is worth telling of the customers on it.

Pure. The same object read twice in one run becomes the same events with the same ids, whoever reads it.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.billing.stripe_events import payloads
from services.billing.stripe_events.customers import metadata_evidence
from services.billing.stripe_events.drafts import EventDraft
from services.billing.stripe_events.invoices import invoice_data
from services.billing.stripe_events.payloads import (
    StripeEvent,
    Unreadable,
    decode_object,
    ref_id,
)
from services.billing.stripe_events.seen import (
    BEGUN,
    LONGEST_NAME,
    SAVED_METHOD,
    SUBSCRIBED,
    first_locale,
    kept_default,
    profile_of,
)
from services.billing.stripe_events.subscription_payload import Subscription
from services.billing.stripe_events.subscriptions import subscription_data
from shared import events
from shared.contracts.accounts import Account, in_account, our_event_id
from shared.outbox import Outgoing


class Listed(enum.StrEnum):
    """What is imported, in this order: a customer is known before what it subscribed to and owes."""

    CUSTOMERS = "customers"
    SUBSCRIPTIONS = "subscriptions"
    INVOICES = "invoices"


DONE: Final = "done"


class Finding(enum.StrEnum):
    """What is worth telling of a customer."""

    NO_EMAIL = "no_email"
    SAME_EMAIL = "same_email"
    """Another customer has the same address. Found when all were met."""
    DELETED = "deleted"
    LONG_NAME = "long_name"
    """It is cut."""
    UNKNOWN_LOCALE = "unknown_locale"
    """Nothing is written in that language, or there is no such."""
    UNREADABLE = "unreadable"
    """Something of it has a shape that Portico does not know: it is left out."""


@dataclass(frozen=True)
class Met:
    """A customer of a page."""

    stripe_customer_id: str
    email_digest: str | None = None
    findings: tuple[Finding, ...] = ()


@dataclass
class Page:
    """What a page becomes."""

    outgoing: list[Outgoing] = field(default_factory=list)
    met: list[Met] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """Whose import it is, and when a page of it was read."""

    account: Account
    livemode: bool
    name: str
    read_at: dt.datetime


def read_page(run: Run, what: Listed, objects: Sequence[bytes]) -> Page:
    """Translate the objects of a page. What can't be read of one keeps no other from being read."""
    page = Page()
    for body in objects:
        event = StripeEvent(
            id=run.name,
            type=f"import.{what.value}",
            api_version=None,
            livemode=run.livemode,
            account=run.account,
            created=int(run.read_at.timestamp()),
            idempotency_key=None,
            data=msgspec.Raw(b'{"object":' + body + b"}"),
        )
        try:
            drafts = list(_READERS[what](run, event, page))
        except Unreadable:
            whose = payloads.subject_of(event).stripe_customer_id or ""
            page.met.append(Met(whose, findings=(Finding.UNREADABLE,)))
            continue
        page.outgoing += [_outgoing(run, draft) for draft in drafts]
    return page


def _customer(run: Run, event: StripeEvent, page: Page) -> Iterator[EventDraft]:
    customer = decode_object(event.content().object, payloads.Customer)
    yield _seen(run, customer)
    page.met.append(_met(run, customer))
    if not customer.deleted:
        yield from metadata_evidence(
            event,
            customer.id,
            customer.id,
            customer.metadata,
            "customer.metadata",
            {},
            imported=True,
        )


def _seen(run: Run, customer: payloads.Customer) -> EventDraft:
    pays = SAVED_METHOD if kept_default(customer) else None
    data = profile_of(customer, pays, account=run.account, livemode=run.livemode, imported=True)
    return EventDraft(data, "")


def _subscription(run: Run, event: StripeEvent, page: Page) -> Iterator[EventDraft]:
    subscription = decode_object(event.content().object, Subscription)
    if subscription.status not in BEGUN:
        return
    stripe_customer_id = ref_id(subscription.customer) or ""
    on_behalf_of = ref_id(subscription.on_behalf_of) or ""
    yield EventDraft(subscription_data(event, subscription, events.SubscriptionImported), "")
    seen = events.StripeCustomerSeen(
        stripe_customer_id=stripe_customer_id,
        pays=SUBSCRIBED,
        on_behalf_of=on_behalf_of,
        imported=True,
        account=run.account,
        livemode=run.livemode,
    )
    yield EventDraft(seen, "")
    yield from metadata_evidence(
        event,
        subscription.id,
        stripe_customer_id,
        subscription.metadata,
        "subscription.metadata",
        {},
        on_behalf_of=on_behalf_of,
        imported=True,
    )


class _SubscriptionDetails(msgspec.Struct, frozen=True):
    subscription: Subscription | str | None = None


class _Parent(msgspec.Struct, frozen=True):
    subscription_details: _SubscriptionDetails | None = None


class _Whose(msgspec.Struct, frozen=True):
    customer: payloads.Customer | str | None = None
    parent: _Parent | None = None

    @property
    def ended(self) -> Subscription | None:
        """Its subscription, where that is over."""
        details = self.parent.subscription_details if self.parent else None
        found = details.subscription if details else None
        return found if isinstance(found, Subscription) and found.status == "canceled" else None


def _invoice(run: Run, event: StripeEvent, page: Page) -> Iterator[EventDraft]:
    whose = decode_object(event.content().object, _Whose)
    if isinstance(whose.customer, payloads.Customer) and whose.customer.deleted:
        # The list of customers leaves them out, and what they owed stays open.
        yield _seen(run, whose.customer)
        page.met.append(_met(run, whose.customer))
        return
    invoice = decode_object(event.content().object, payloads.Invoice)
    if invoice.status == "open" and invoice.attempted:
        if whose.ended is not None:
            yield EventDraft(subscription_data(event, whose.ended, events.SubscriptionImported), "")
        yield EventDraft(invoice_data(event, invoice, events.InvoiceImported), "")


_READERS: Final = {
    Listed.CUSTOMERS: _customer,
    Listed.SUBSCRIPTIONS: _subscription,
    Listed.INVOICES: _invoice,
}


def _met(run: Run, customer: payloads.Customer) -> Met:
    # With babel, which a billing that imports nothing never needs.
    from shared.l10n.locales import parse_locale, speaks

    if customer.deleted:
        return Met(customer.id, findings=(Finding.DELETED,))
    email, name, tag = customer.email, customer.name, first_locale(customer)
    locale = parse_locale(tag) if isinstance(tag, str) else None
    worth_telling = {
        Finding.NO_EMAIL: not _text(email),
        Finding.LONG_NAME: len(_text(name)) > LONGEST_NAME,
        Finding.UNKNOWN_LOCALE: tag is not None and (locale is None or not speaks(locale)),
    }
    return Met(
        customer.id,
        _digest(run, _text(email)) if _text(email) else None,
        tuple(finding for finding, so in worth_telling.items() if so),
    )


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _digest(run: Run, email: str) -> str:
    """Tells equal addresses of one run, and nothing else."""
    return hashlib.sha256(f"{run.name}:{email.casefold()}".encode()).hexdigest()[:32]


def _outgoing(run: Run, draft: EventDraft) -> Outgoing:
    """Under a key of the run, the object and its content; evidence under its own, by which it is said once whoever finds it."""
    data = draft.data
    content = hashlib.sha256(msgspec.json.encode(data)).hexdigest()[:16]
    name = f"import/{run.name}/{_subject(data)}/{content}"
    event = events.Event(
        id=our_event_id(run.account, name, data.type),
        occurred_at=run.read_at,
        correlation_id=f"import/{run.name}",
        data=data,
    )
    return Outgoing(event, draft.dedupe_key or in_account(run.account, f"{data.type}:{name}"))


def _subject(data: events.Data) -> str:
    for name in ("invoice_id", "subscription_id", "object_id", "stripe_customer_id"):
        if found := getattr(data, name, None):
            return str(found)
    raise AssertionError(data.type)
