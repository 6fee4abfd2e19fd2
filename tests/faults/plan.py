"""What a run does, as a pure function of its size and seed: which webhooks, in which order, and what dies when."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.contracts.accounts import in_account
from tests.faults.payloads import invoice_event, other_event

CUSTOMERS: Final = 60
"""Those that a system has which plans nothing."""
DUPLICATED: Final = 0.2
"""Share of events that Stripe delivers more than once."""
FORGED: Final = 0.05
"""Forgeries for each genuine event."""
EVENTS_A_STEP: Final = 250
FEWEST_STEPS: Final = 14


class Forgery(enum.StrEnum):
    """Ways to pretend to be Stripe."""

    OTHER_SECRET = "another secret"
    ALTERED = "altered after signing"
    STALE = "an old signature"
    UNSIGNED = "no signature"
    OTHER_ACCOUNT = "the secret of another account"
    """Where there are several."""


@dataclass(frozen=True)
class Person:
    """Somebody who owes an invoice in one of several Stripe accounts."""

    name: str
    """Of what happens to them: the same as that of who has the same ids in another account."""
    account: str
    named: bool
    """Whether events of the account name it."""
    customer_id: str
    invoice_id: str
    email: str


@dataclass(frozen=True)
class Delivery:
    """One POST to the webhook endpoint."""

    event: dict[str, Any]
    forgery: Forgery | None = None
    account: str = ""
    """At whose endpoint."""

    @property
    def event_id(self) -> str:
        """The whole name of the event, as people write it."""
        return in_account(self.account, self.event["id"])


@dataclass(frozen=True)
class Step:
    """One thing that goes wrong, `after` so many seconds of its segment."""

    what: str
    after: float
    seconds: float
    """How long it lasts, where that can be chosen."""


@dataclass
class Plan:
    """A whole run. `segments[n]` is posted while `steps[n]` happens."""

    seed: int
    customers: int = CUSTOMERS
    """One each for every invoice: what fails of one customer within minutes shares an email."""
    segments: list[list[Delivery]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    genuine: set[str] = field(default_factory=set)
    forged: set[str] = field(default_factory=set)
    failures: set[tuple[str, int]] = field(default_factory=set)
    """(name of the invoice, attempt) of every failed charge: each ends in one mail or one recorded reason."""
    people: Sequence[Person] = ()
    """Those of several accounts, whose mails must not be mixed up."""
    must_mail: set[tuple[str, int]] = field(default_factory=set)
    """Those of them that nothing speaks against: no payment, no other failure of the invoice."""


EVERY_KIND: Final = (
    "kill billing 0",
    "kill rabbitmq",
    "kill notifier 0",
    "kill postgres",
    "mail 500",
    "kill portal 0",
    "cut amqp",
    "mail answers lost",
    "cut postgres",
    "kill billing 1",
    "stripe 500",
    "restart notifier 1",
    "close rabbitmq",
    "delete nameko-rpc",
)
"""Once each in the shortest run; a longer one has each of `MORE_KINDS` too, and draws from all for the rest."""

MORE_KINDS: Final = (
    "kill notifier 1",
    "restart billing 0",
    "restart billing 1",
    "restart notifier 0",
    "restart portal 0",
    "freeze amqp",
    "delay amqp",
    "freeze postgres",
    "delay postgres",
    "readonly postgres",
    "end postgres",
    "block rabbitmq",
    "restart rabbitmq",
    "mail 429",
    "mail timeout",
    "mail slow",
    "stripe timeout",
    "kill all billing",
    "kill all notifier",
    "stall portal 0",
    "stall billing 0",
    "stall billing 1",
    "stall notifier 0",
    "stall notifier 1",
    "stall rabbitmq",
    "delete billing.events",
    "delete dead",
)


def make_plan(
    events: int,
    seed: int,
    *,
    steps: int | None = None,
    first: int = 0,
    people: Sequence[Person] = (),
) -> Plan:
    """The plan of this size and seed, always the same. Its customers are numbered from `first` on: whoever had an email in the
    last ten minutes waits for the next. Or it is about `people`, one after the other; as many as events are enough."""
    dice = random.Random(seed)
    plan = Plan(seed, people=people)
    forgeries = [one for one in Forgery if people or one is not Forgery.OTHER_ACCOUNT]
    deliveries: list[Delivery] = []
    made = 0
    for number in range(events):
        if made >= events:
            break
        who = people[number] if people else _numbered(seed, number, first)
        story = list(_story(dice, who))[: events - made]
        plan.customers = max(plan.customers, first + number + 1)
        made += len(story)
        for event in story:
            genuine = Delivery(event, account=who.account)
            plan.genuine.add(genuine.event_id)
            copies = dice.randint(2, 4) if dice.random() < DUPLICATED else 1
            deliveries += [genuine] * copies
            if dice.random() < FORGED:
                fake = invoice_event(
                    "invoice.payment_failed",
                    event_id=f"evt_forged{seed}x{made}x{event['id']}",
                    invoice_id=f"in_forged{seed}x{made}",
                    customer_id=people[0].customer_id if people else "cus_faults0",
                )
                if who.named:
                    fake["account"] = who.account
                forged = Delivery(fake, dice.choice(forgeries), who.account)
                plan.forged.add(forged.event_id)
                deliveries.append(forged)
    _settle_expectations(plan, deliveries)
    count = steps or max(FEWEST_STEPS, made // EVENTS_A_STEP)
    deliveries = _shuffled(dice, deliveries)
    size = -(-len(deliveries) // count)
    plan.segments = [deliveries[start : start + size] for start in range(0, len(deliveries), size)]
    kinds = dice.sample(EVERY_KIND, min(count, len(EVERY_KIND)))
    kinds += dice.sample(MORE_KINDS, min(count - len(kinds), len(MORE_KINDS)))
    kinds += [dice.choice(EVERY_KIND + MORE_KINDS) for _ in range(count - len(kinds))]
    dice.shuffle(kinds)
    plan.steps = [
        Step(what, round(dice.uniform(0.1, 1.5), 2), round(dice.uniform(1, 5), 1))
        for what in kinds[: len(plan.segments)]
    ]
    return plan


def _numbered(seed: int, number: int, first: int) -> Person:
    name, customer = f"{seed}x{number}", f"cus_faults{first + number}"
    return Person(name, "", False, customer, f"in_{name}", f"customer{first + number}@example.com")


def _story(dice: random.Random, who: Person) -> Iterator[dict[str, Any]]:
    """The events of one invoice."""
    for event in _events(dice, who):
        if who.named:
            event["account"] = who.account
        yield event


def _events(dice: random.Random, who: Person) -> Iterator[dict[str, Any]]:
    name = who.name
    about: dict[str, Any] = {"invoice_id": who.invoice_id, "customer_id": who.customer_id}
    kind = dice.choices(
        ["failed", "paid too", "two attempts", "twice said", "confirm", "noise"],
        weights=[60, 15, 5, 5, 5, 10],
    )[0]
    if kind == "noise":
        yield other_event("product.updated", event_id=f"evt_{name}n")
        return
    yield invoice_event("invoice.payment_failed", event_id=f"evt_{name}f", **about)
    if kind == "paid too":
        paid = {"status": "paid", "amount_remaining": 0}
        yield invoice_event("invoice.paid", event_id=f"evt_{name}p", **about, **paid)
    elif kind == "two attempts":
        yield invoice_event("invoice.payment_failed", event_id=f"evt_{name}g", attempt=2, **about)
    elif kind == "twice said":  # two Stripe events for one change, which its documentation warns of
        yield invoice_event("invoice.payment_failed", event_id=f"evt_{name}h", **about)
    elif kind == "confirm":
        yield invoice_event("invoice.payment_action_required", event_id=f"evt_{name}a", **about)


def _settle_expectations(plan: Plan, deliveries: list[Delivery]) -> None:
    """From the events that were really planned (the last story may be cut short)."""
    types: dict[str, set[tuple[str, int]]] = {}
    for delivery in deliveries:
        event = delivery.event
        if delivery.forgery or not event["type"].startswith("invoice."):
            continue
        invoice = event["data"]["object"]
        invoice_id = in_account(delivery.account, invoice["id"])
        types.setdefault(invoice_id, set()).add((event["type"], invoice["attempt_count"]))
        if event["type"] in ("invoice.payment_failed", "invoice.payment_action_required"):
            plan.failures.add((invoice_id, invoice["attempt_count"]))
    for invoice_id, seen in types.items():
        attempts = {attempt for _, attempt in seen}
        if len(attempts) == 1 and "invoice.paid" not in {kind for kind, _ in seen}:
            plan.must_mail.add((invoice_id, *attempts))


def _shuffled(dice: random.Random, deliveries: list[Delivery]) -> list[Delivery]:
    """Out of order by up to some hundred places, as Stripe's deliveries may come."""
    window = min(300, max(20, len(deliveries) // 20))
    keyed = [(place + dice.uniform(0, window), place) for place in range(len(deliveries))]
    return [deliveries[place] for _, place in sorted(keyed)]
