"""Stand-ins for the notifier's neighbours. They keep what came of a call, not the calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.sending import Accepted, MaybeSent, Outcome
from services.notifier.ports import (
    Business,
    CancellationLinks,
    Contact,
    InvoiceReport,
    Mail,
    PortalUnavailable,
    RequestClosed,
    UnknownCustomer,
)
from shared.contracts.accounts import StripeCustomer, StripeId

START = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


@dataclass
class Clock:
    """A clock that moves only when told to."""

    moment: dt.datetime = START

    def __call__(self) -> dt.datetime:
        return self.moment

    def forward(self, **span: float) -> None:
        self.moment += dt.timedelta(**span)


@dataclass
class FakeMailer:
    """A mailbox. `answers` are given first, in turn; afterwards every message is accepted.

    A message that was accepted, or whose fate is hidden by MaybeSent while `hidden_arrive` is true, is in `inbox`.
    """

    inbox: list[Mail] = field(default_factory=list)
    answers: list[Outcome] = field(default_factory=list)
    hidden_arrive: bool = True

    def send(self, mail: Mail) -> Outcome:
        outcome = (
            self.answers.pop(0) if self.answers else Accepted(f"message-{len(self.inbox) + 1}")
        )
        if isinstance(outcome, Accepted) or (isinstance(outcome, MaybeSent) and self.hidden_arrive):
            self.inbox.append(mail)
        return outcome

    def sender_of(self, own: str | None) -> str:
        return own or "billing@portico.example"


@dataclass
class FakePortal:
    """The portal's people: by Portico's id, by Stripe's, or, on whose behalf anything is charged, as `(Stripe's id, on_behalf_of)`."""

    people: dict[str | tuple[str, str], Contact] = field(default_factory=dict)
    requests: dict[str, CancellationLinks] = field(default_factory=dict)
    down: bool = False

    def ask(self, stripe_customer: StripeCustomer) -> Callable[[], Contact]:
        key: str | tuple[str, str] = stripe_customer.id
        if stripe_customer.on_behalf_of:
            key = (stripe_customer.id, stripe_customer.on_behalf_of)
        return partial(self._told, key)

    def contact(self, customer_id: str) -> Contact:
        return self._told(customer_id)

    def business(self, business_id: str) -> Contact:
        return self._told(business_id)

    def _told(self, key: str | tuple[str, str]) -> Contact:
        if self.down:
            raise PortalUnavailable("the portal does not answer")
        try:
            return self.people[key]
        except KeyError:
            raise UnknownCustomer from None

    def cancellation_links(self, request_id: str) -> CancellationLinks:
        if self.down:
            raise PortalUnavailable("the portal does not answer")
        try:
            return self.requests[request_id]
        except KeyError:
            raise RequestClosed from None


@dataclass
class FakeBilling:
    """Billing's view of invoices; None: it can't say."""

    reports: dict[str, InvoiceReport] = field(default_factory=dict)

    def report(self, invoice: StripeId) -> InvoiceReport | None:
        return self.reports.get(invoice.id)

    def say(self, invoice_id: str, now: InvoiceNow) -> None:
        self.reports[invoice_id] = InvoiceReport(now=now)


def a_contact(**changes: object) -> Contact:
    """Dana, a customer of Sunrise Home Cleaning."""
    values: dict[str, object] = {
        "customer_id": "kd83Jf02LmQ9xVb7TzR4wA",
        "name": "Dana Reyes",
        "email": "dana@example.com",
        "locale": "en",
        "timezone": "America/New_York",
        "link": "https://portal.example/me/SECRET.TOKEN",
        "business": Business(name="Sunrise Home Cleaning", email="hello@sunrise.example"),
    }
    return Contact(**{**values, **changes})  # type: ignore[arg-type]
