"""A host that gets webhooks while everything dies, and dies itself: what it got, against what billing told of."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from examples.host_app import Portico
from shared.contracts.host_events import TOLD, version_of, webhook_id
from shared.events import Event, decode
from tests.faults.system import System
from tests.fixtures.webhook_host import WebhookHost

FIRST_LOOK_SECONDS = 11.0
"""A process looks every ten seconds whether there is an endpoint at all (ADR 31)."""
ALLOWED = {"HOOKS_ALLOW_LOOPBACK": "true"}


class FailingHost(WebhookHost):
    """A host that answers 500 an eighth of the time, and takes an eighth of what comes without saying so, until it is healed.

    More often it would fail five times in a row again and again, and for each such time be tried with one webhook at a time.
    """

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        super().__init__(lambda: dice.choice((*[200] * 6, 500, 0)))
        self.deaths = 0

    def die(self, seconds: float = 1.0) -> None:
        """Nobody listens for a while."""
        self.close()
        self.deaths += 1
        time.sleep(seconds)
        self.open()

    def heal(self) -> None:
        self.answer = lambda: 200


def listen(system: System, host: WebhookHost) -> float:
    """Give the host an endpoint of the installation; by what `time.monotonic()` every process knows that there is one."""
    with Portico(system.stack.amqp_uri) as portico:
        made = portico.call("notifier", "create_webhook_endpoint", url=host.url)
    host.secrets.append(made["secret"])
    return time.monotonic() + FIRST_LOOK_SECONDS


def let_time_pass(system: System) -> None:
    """What is to be tried again in minutes or hours is tried now. What a dead process had leased stays its own until the lease ends."""
    system.rows("notifier", "UPDATE hook_events SET due_at = now() WHERE due_at > now()")
    system.rows("notifier", "UPDATE hook_endpoints SET paused_until = NULL")
    system.rows(
        "notifier",
        "UPDATE hook_deliveries SET due_at = now() WHERE status = 'pending' AND lease_token IS NULL AND due_at > now()",
    )


def are_half_delivered(system: System) -> bool:
    """half of the events for hosts are delivered, though the host goes on to fail"""
    let_time_pass(system)
    ((delivered, whole),) = system.rows(
        "notifier",
        "SELECT count(*) FILTER (WHERE status = 'delivered'), count(*) FROM hook_deliveries",
    )
    return bool(whole) and 2 * delivered >= whole


def are_delivered(system: System) -> bool:
    """every event for hosts was told and delivered"""
    let_time_pass(system)
    return not system.rows(
        "notifier",
        "SELECT 1 FROM hook_events WHERE due_at IS NOT NULL UNION ALL "
        "SELECT 1 FROM hook_deliveries WHERE status <> 'delivered' LIMIT 1",
    )


@dataclass
class HookBooks:
    """What the host came to. Empty lists are what is hoped for."""

    events: int = 0
    """Which hosts may hear of, by billing's outbox."""
    lost: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    """What the host could not verify."""
    wrong: list[str] = field(default_factory=list)
    """Objects of which the largest version is not what happened last."""
    twice: int = 0
    """Webhooks that came more than once, as they may."""
    out_of_order: int = 0
    """Objects of which an older event came after a newer one, as it may."""
    refused: int = 0
    deaths: int = 0

    def complaints(self) -> list[str]:
        """What is wrong, in sentences."""
        return [
            f"{len(what)} {words}, such as {what[0]}"
            for what, words in (
                (self.lost, "events never reached the host"),
                (self.forged, "webhooks could not be verified"),
                (self.wrong, "objects ended in another state at the host"),
            )
            if what
        ]


def check_hooks(system: System, host: FailingHost) -> HookBooks:
    """Compare what the host has with what billing told since it listens."""
    stored = system.rows("billing", "SELECT body FROM outbox ORDER BY id")
    told = [event for event in (decode(row[0]) for row in stored) if type(event.data) in TOLD]
    got = dict(host.got)
    return HookBooks(
        events=len(told),
        lost=[event.id for event in told if webhook_id(event.id) not in got],
        forged=list(host.forged),
        wrong=list(_wrong(told, host)),
        twice=sum(len(tries) > 1 for tries in got.values()),
        out_of_order=_out_of_order(host),
        refused=host.refused,
        deaths=host.deaths,
    )


def _wrong(told: Iterable[Event], host: WebhookHost) -> Iterable[str]:
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for event in told:
        how = TOLD[type(event.data)]
        said = (version_of(event.occurred_at, how.rank), event.type)
        name = how.about(event.data)
        last[name] = max(last.get(name, said), said)
    return [
        f"{name}: {host.versions.get(name)}, not {said}"
        for name, said in last.items()
        if host.versions.get(name) != said
    ]


def _out_of_order(host: WebhookHost) -> int:
    newest: dict[tuple[str, str], int] = {}
    older: set[tuple[str, str]] = set()
    for one in (tries[0]["object"] for tries in host.got.values()):
        name = (one["type"], one["id"])
        if one["version"] < newest.get(name, 0):
            older.add(name)
        newest[name] = max(newest.get(name, 0), one["version"])
    return len(older)
