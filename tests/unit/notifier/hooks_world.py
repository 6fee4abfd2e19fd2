"""The notifier's webhooks with hosts and a portal that are played, and a clock."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hook_signing import Signer
from services.notifier.domain.hooks import Answered, answered
from services.notifier.handlers import events, hooks
from services.notifier.handlers.hooks import HookRules
from services.notifier.models import (
    Base,
    HookEndpoint,
)
from services.notifier.ports import Mode, Owner, PortalUnavailable
from services.notifier.workflows import hooks as sending
from shared import events as contract
from shared.contracts.accounts import OWN, StripeCustomer, StripeId
from shared.database import Transactions
from tests.unit.notifier.fakes import Clock

KEY = "h" * 20 + "0123456789ab"
CUSTOMER = StripeId(OWN, "cus_1")


@dataclass
class FakePortal:
    """Knows whose customers are, unless it is away."""

    known: dict[StripeCustomer, Owner] = field(
        default_factory=lambda: {StripeCustomer(*CUSTOMER): Owner("sunrise", "1001")}
    )
    away: bool = False
    observing: set[str] = field(default_factory=set)
    """The businesses that observe."""
    lines: dict[str, dt.datetime] = field(default_factory=dict)
    """The lines that businesses have drawn."""
    nobodys: Mode = field(default_factory=Mode)
    """How it counts for a customer whom nobody knows."""

    def owners(
        self, stripe_customers: Collection[StripeCustomer], customer_ids: Collection[str]
    ) -> tuple[Mapping[StripeCustomer, Owner], Mapping[str, Owner]]:
        if self.away:
            raise PortalUnavailable("away")
        return {one: self.known[one] for one in stripe_customers if one in self.known}, {}

    def of_business(self, business_id: str) -> Mode:
        if self.away:
            raise PortalUnavailable("away")
        return Mode(business_id in self.observing, self.lines.get(business_id))

    def of_customer(self, stripe_customer: StripeCustomer) -> Mode:
        if self.away:
            raise PortalUnavailable("away")
        owner = self.known.get(stripe_customer)
        return self.of_business(owner.business_id) if owner else self.nobodys


@dataclass
class FakeHosts:
    """Hosts: each got what it answered 2xx to, or what it had taken before its answer was lost."""

    answer: Callable[[Target], Answered] = lambda target: answered(200, 3)
    got: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answered:
        self.headers.append(headers)
        self.bodies.append(body)
        answer = self.answer(target)
        if answer.status is None or answer.delivered:  # a time-out may hide that it was taken
            self.got[target.host].append(json.loads(body))
        return answer


@dataclass
class World:
    """The notifier's webhooks, their hosts, and a clock."""

    db: Transactions
    clock: Clock = field(default_factory=Clock)
    portal: FakePortal = field(default_factory=FakePortal)
    hosts: FakeHosts = field(default_factory=FakeHosts)
    signer: Signer = field(default_factory=lambda: Signer([KEY]))
    jitter: Callable[[], float] = lambda: 0.5
    observes: bool = False

    @property
    def desk(self) -> sending.HookContext:
        return sending.HookContext(
            db=self.db,
            owners=self.portal,
            modes=self.portal,
            observes=self.observes,
            hosts=self.hosts,
            signer=self.signer,
            now=self.clock,
            jitter=self.jitter,
        )

    @property
    def rules(self) -> HookRules:
        return HookRules(self.signer)

    def endpoint(self, host: str = "a", business: str | None = None, *types: str) -> str:
        with self.db.transaction() as session:
            made = hooks.create(
                session,
                self.rules,
                url=f"https://{host}.example.com/in",
                business_id=business,
                event_types=types,
                now=self.clock(),
            )
        return made.about.endpoint_id

    def hear(self, *batch: contract.Event) -> None:
        with self.db.transaction() as session:
            for one in batch:
                events.handle(session, one, self.clock(), tell_hosts=True)

    def tell(self) -> None:
        while sending.tell_round(self.desk):
            pass

    def work(self, limit: int = 8) -> list[str]:
        """One round of the senders."""
        leased = sending.lease(self.desk, limit, {})
        return [sending.send_one(self.desk, one)[0] for one in leased]

    def row(self, model: type[Base]) -> Any:
        (found,) = self.rows(model)
        return found

    def rows(self, model: type[Base]) -> list[Any]:
        with self.db.reading() as session:
            return list(session.scalars(select(model)))

    def on(self, endpoint_id: str, use: Callable[[Any, HookEndpoint], Any]) -> Any:
        with self.db.transaction() as session:
            return use(session, hooks.find(session, endpoint_id, None, lock=True))


def replay(session: Any, row: HookEndpoint, world: World, **options: Any) -> Any:
    given = {"event_id": None, "since": world.clock() - dt.timedelta(days=20), "until": None}
    return hooks.replay(
        session, row, **(given | {"failed_only": False} | options), now=world.clock()
    )


def enable(world: World, endpoint: str, on: bool = True) -> None:
    world.on(
        endpoint,
        lambda session, row: hooks.change(
            session, world.rules, row, url=None, event_types=None, enabled=on, now=world.clock()
        ),
    )
