"""A business whose customers are welcomed, on a database in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from services.notifier.handlers import welcomes as handlers
from services.notifier.models import Welcome
from services.notifier.ports import Business, Contact
from services.notifier.workflows import welcomes as welcoming
from shared.contracts.rpc.welcomes import WelcomeRecipient, WelcomeRun
from tests.unit.notifier.conftest import House
from tests.unit.notifier.fakes import a_contact

SUNRISE = "sunrise"


class Welcoming:
    """The notifier's house, with customers `c1`, `c2`, … of one business."""

    def __init__(self, house: House, customers: int = 0) -> None:
        self.house = house
        self.business = Business(
            business_id=SUNRISE, name="Sunrise Home Cleaning", timezone="America/New_York"
        )
        self.change_business()
        for number in range(1, customers + 1):
            self.add(f"c{number}")

    def change_business(self, **changes: Any) -> None:
        """The business, and so the contact of each customer, changes."""
        self.business = replace(self.business, **changes)
        self.house.portal.people[SUNRISE] = a_contact(business=self.business, customer_id="")
        for key, contact in self.house.portal.people.items():
            self.house.portal.people[key] = replace(contact, business=self.business)

    def add(self, customer_id: str, **changes: Any) -> Contact:
        """The portal comes to know a customer, or other things of one."""
        values = {"email": f"{customer_id}@example.com", "timezone": None} | changes
        contact = a_contact(customer_id=customer_id, business=self.business, **values)
        self.house.portal.people[customer_id] = contact
        return contact

    @property
    def desk(self) -> welcoming.WelcomeContext:
        house = self.house
        return welcoming.WelcomeContext(
            db=house.db,
            businesses=house.portal,
            hasher=house.hasher,
            now=house.clock,
            observes=house.observes,
        )

    def recipients(self, ids: Sequence[str]) -> list[WelcomeRecipient]:
        people = [self.house.portal.people[id] for id in ids]
        return [
            WelcomeRecipient(customer_id=id, email=one.email or "", timezone=one.timezone)
            for id, one in zip(ids, people, strict=True)
        ]

    def everybody(self) -> list[str]:
        return [key for key in self.house.portal.people if isinstance(key, str) and key[0] == "c"]

    def ask(self, *ids: str, per_hour: int = 100_000) -> list[str]:
        """Ask for these customers, or for all; what came of each."""
        wanted = ids or [id for id in self.everybody() if id != "cus_1"]
        return welcoming.queue(self.desk, SUNRISE, self.recipients(wanted), per_hour)

    def plan(self, *ids: str) -> list[str]:
        with self.house.db.reading() as session:
            return handlers.plan(session, self.recipients(ids), self.house.hasher)

    def release(self) -> int:
        """One round of the loop."""
        return welcoming.release_round(self.desk).mails

    def send(self) -> list[str]:
        """One round of the senders."""
        from services.notifier.workflows import sending

        desk = self.house.desk
        return [sending.send_one(desk, one).outcome for one in sending.lease_welcomes(desk, 1000)]

    def go_on(self, span: dt.timedelta, step: dt.timedelta = dt.timedelta(seconds=2)) -> int:
        """Let the loops run over a time; how many mails were sent in it."""
        before, end = len(self.house.mailer.inbox), self.house.clock() + span
        while self.house.clock() < end:
            self.house.clock.moment += step
            self.release()
            self.send()
        return len(self.house.mailer.inbox) - before

    def stop(self) -> int:
        with self.house.db.transaction() as session:
            return handlers.stop(session, SUNRISE, self.house.clock()).stopped

    def look(self) -> WelcomeRun:
        with self.house.db.reading() as session:
            return handlers.look(session, SUNRISE, self.house.clock())

    def rows(self) -> list[Welcome]:
        return self.house.table(Welcome)

    def welcomed(self) -> list[str]:
        """The addresses that have been welcomed, in order."""
        return [mail.to for mail in self.house.mailer.inbox if mail.kind.value == "welcome"]
