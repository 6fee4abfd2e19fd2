"""The notifier on a database in memory, with its neighbours played by fakes."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from scripts import mails_page
from services.notifier.domain.addresses import AddressHasher
from services.notifier.handlers import delivery as posting
from services.notifier.handlers import events
from services.notifier.handlers.results import Result
from services.notifier.models import Base, Notification
from services.notifier.workflows import sending
from shared import events as contract
from shared.database import Transactions
from tests.fixtures.unpublished import ADDRESS_KEY
from tests.unit import tables
from tests.unit.notifier.fakes import Clock, FakeBilling, FakeMailer, FakePortal, a_contact

_numbers = itertools.count(1)


RENDERER = mails_page.RENDERER
"""One for all, those of the pages among them: it compiles each template once, in each language."""


@dataclass
class House:
    """The notifier and everything around it."""

    db: Transactions
    clock: Clock = field(default_factory=Clock)
    mailer: FakeMailer = field(default_factory=FakeMailer)
    portal: FakePortal = field(default_factory=lambda: FakePortal({"cus_1": a_contact()}))
    billing: FakeBilling = field(default_factory=FakeBilling)
    observes: bool = False
    """Whether the installation does."""
    hasher: AddressHasher = field(default_factory=lambda: AddressHasher([ADDRESS_KEY]))

    @property
    def desk(self) -> sending.SendContext:
        return sending.SendContext(
            db=self.db,
            contacts=self.portal,
            invoices=self.billing,
            mailer=self.mailer,
            renderer=RENDERER,
            hasher=self.hasher,
            begin=self.begin,
            record=self.record,
            now=self.clock,
            jitter=lambda: 0.5,
            pause=lambda seconds: None,
            run_concurrently=lambda ask: ask,
            observes=self.observes,
        )

    def begin(self, one: posting.SendRequest) -> Result | None:
        """Mark one email in a transaction of its own."""
        with self.db.transaction() as session:
            return posting.begin_posts(session, [one], self.clock())[0]

    def record(self, one: posting.Answered) -> Result:
        """Record one answer in a transaction of its own."""
        with self.db.transaction() as session:
            return posting.record_answers(session, [one], self.clock(), lambda: 0.5)[0]

    def hear(self, event: contract.Event) -> str:
        """Handle one event as the entrypoint does: one transaction."""
        with self.db.transaction() as session:
            return events.handle(session, event, self.clock())

    def work(self) -> list[str]:
        """One round of the sender: send what is due, and say what came of each."""
        results = [sending.send_one(self.desk, one) for one in sending.lease(self.desk, 16)]
        return [result.outcome for result in results]

    def mailed_to(self, address: str) -> list[str]:
        """The kinds of the emails that an address has got, in order."""
        return [mail.kind.value for mail in self.mailer.inbox if mail.to == address]

    def rows(self) -> list[Notification]:
        """All notifications, oldest first."""
        with self.db.reading() as session:
            statement = select(Notification).order_by(
                Notification.created_at, Notification.dedupe_key
            )
            return list(session.scalars(statement))

    def row(self) -> Notification:
        """The only notification."""
        (row,) = self.rows()
        return row

    def table(self, model: type[Base]) -> list[Any]:
        """All rows of a table."""
        with self.db.reading() as session:
            return list(session.scalars(select(model)))


@pytest.fixture
def house() -> House:
    return House(tables.empty(Base.metadata))


def event(kind: type[contract.Data], event_id: str | None = None, **changes: Any) -> contract.Event:
    """An event about invoice in_1 of cus_1: $149.00, first attempt, on autopay."""
    invoice: dict[str, Any] = {
        "invoice_id": "in_1",
        "stripe_customer_id": "cus_1",
        "status": "open",
        "currency": "usd",
        "amount_due": 14900,
        "amount_remaining": 14900,
        "attempt_count": 1,
        "attempted": True,
        "billing_reason": "subscription_cycle",
        "number": "SUN-0042",
        "subscription_id": "sub_1",
    }
    if kind is contract.InvoicePaid:
        invoice |= {"status": "paid", "amount_remaining": 0, "amount_paid": 14900}
    if kind is contract.InvoiceVoided:
        invoice |= {"status": "void"}
    if kind is contract.InvoiceMarkedUncollectible:
        invoice |= {"status": "uncollectible"}
    if kind is contract.CustomerDeleted:
        invoice = {"stripe_customer_id": "cus_1"}
    return contract.Event(
        id=event_id or f"evt_{next(_numbers)}",
        occurred_at=changes.pop("occurred_at", dt.datetime(2026, 11, 23, 11, 59, tzinfo=dt.UTC)),
        correlation_id="evt_thread",
        data=kind(**(invoice | changes)),
    )


def failed(event_id: str | None = None, **changes: Any) -> contract.Event:
    return event(contract.InvoicePaymentFailed, event_id, **changes)


def paid(event_id: str | None = None, **changes: Any) -> contract.Event:
    return event(contract.InvoicePaid, event_id, **changes)
