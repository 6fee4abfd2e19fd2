"""Webhooks to hosts: who hears of what, at least once, whatever fails, and nobody waits for another's endpoint."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks import Webhook

from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hook_events import TYPES, as_told
from services.notifier.domain.hook_shares import HookShares
from services.notifier.domain.hooks import Answered, answered, next_try, pause
from services.notifier.handlers import events
from services.notifier.models import (
    Base,
    HookAttempt,
    HookDelivery,
    HookEndpoint,
    HookEvent,
)
from services.notifier.ports import Owner, PortalUnavailable
from services.notifier.queries import hook_endpoints
from services.notifier.rpc.hooks import Hooks
from services.notifier.workflows import hooks as sending
from shared import events as contract
from shared.contracts.accounts import Account, StripeCustomer
from shared.contracts.host_events import TOLD, version_of, webhook_id
from tests.unit import tables
from tests.unit.notifier.conftest import event, failed, paid
from tests.unit.notifier.hooks_world import (
    World,
    replay,
)


@pytest.fixture
def world() -> World:
    return World(tables.empty(Base.metadata))


def test_a_host_hears_thinly_and_signed(world: World) -> None:
    """Ids and a version, no name, no amount; the package verifies it with the secret that was shown."""
    endpoint = world.endpoint("a", "sunrise")
    world.hear(failed("evt_1/invoice.payment_failed"))
    world.tell()
    assert world.work() == ["delivered"]
    (body,) = world.hosts.got["a.example.com"]
    assert body == {
        "id": webhook_id("evt_1/invoice.payment_failed"),
        "type": "invoice.payment_failed",
        "created": "2026-11-23T11:59:00Z",
        "livemode": False,
        "business_id": "sunrise",
        "customer_id": "1001",
        "account": "",
        "object": {"type": "invoice", "id": "in_1", "version": body["object"]["version"]},
    }
    (headers,) = world.hosts.headers
    assert headers["webhook-id"] == body["id"]
    assert "." not in body["id"]
    real = dict(headers, **_now_signed(world, endpoint, body["id"]))
    Webhook(world.signer.secret(endpoint, 1)).verify(world.hosts.bodies[0], real)
    assert world.work() == []


def _now_signed(world: World, endpoint: str, message_id: str) -> dict[str, str]:
    """The headers of an attempt at this moment: the package takes none that are older than five minutes, as the clock here is."""
    return world.signer.headers(
        endpoint_id=endpoint,
        generation=1,
        rotated_at=None,
        message_id=message_id,
        body=world.hosts.bodies[0],
        now=dt.datetime.now(dt.UTC),
    )


def test_each_hears_its_own_alone(world: World) -> None:
    """A business's endpoint hears that business, the installation's all, and each the types that it wants."""
    world.endpoint("ours", "sunrise")
    world.endpoint("others", "moonlight")
    world.endpoint("all")
    world.endpoint("paid", "sunrise", "invoice.paid")
    world.hear(failed(), paid(occurred_at=dt.datetime(2026, 11, 23, 12, 30, tzinfo=dt.UTC)))
    world.tell()
    world.work()
    heard = {host: [one["type"] for one in got] for host, got in world.hosts.got.items()}
    both = ["invoice.paid", "invoice.payment_failed"]
    assert {host: sorted(types) for host, types in heard.items()} == {
        "ours.example.com": both,
        "all.example.com": both,
        "paid.example.com": ["invoice.paid"],
    }


@pytest.mark.whole
def test_of_one_stripe_customer_each_business_of_a_platform_hears_its_own(world: World) -> None:
    """Charged on behalf of two, by one account: neither hears of the other's invoice, and what is on nobody's behalf neither of them."""
    platform = Account("acct_platform")
    world.portal.known = {
        StripeCustomer(platform, "cus_1", f"acct_{name}"): Owner(name, f"{name}'s") for name in ("alder", "birch")
    }  # fmt: skip
    for name in ("alder", "birch"):
        world.endpoint(name, name)
    world.endpoint("all")
    world.hear(
        failed("a", account=platform, invoice_id="in_a", on_behalf_of="acct_alder"),
        failed("b", account=platform, invoice_id="in_b", on_behalf_of="acct_birch"),
        failed("n", account=platform, invoice_id="in_n"),
    )
    for _ in range(4):  # who is not known is asked for again
        world.tell()
        world.work()
        world.clock.forward(minutes=3)
    heard = {
        host.split(".")[0]: sorted((one["object"]["id"], one["customer_id"]) for one in got)
        for host, got in world.hosts.got.items()
    }
    assert {host: heard[host] for host in ("alder", "birch")} == {
        "alder": [("in_a", "alder's")],
        "birch": [("in_b", "birch's")],
    }
    assert [one for one, _ in heard["all"]] == ["in_a", "in_b", "in_n"]


def test_an_event_that_comes_twice_is_one_webhook(world: World) -> None:
    """Told twice, and told again after a crash."""
    world.endpoint()
    one = failed("evt_1/x")
    world.hear(one)
    world.hear(one)
    world.tell()
    world.tell()
    assert world.work() == ["delivered"]


def test_without_an_endpoint_nothing_is_written(world: World) -> None:
    """What nobody hears costs the mails no statement."""
    with world.db.transaction() as session:
        events.handle(session, failed(), world.clock())
        assert not hook_endpoints.exist(session)
    assert world.rows(HookEvent) == []


def test_a_customer_whom_the_portal_does_not_know_yet_is_waited_for(world: World) -> None:
    """The link often comes moments after the failure; after some minutes the installation hears without."""
    world.endpoint("all")
    world.endpoint("ours", "sunrise")
    known, world.portal.known = world.portal.known, {}
    world.hear(failed())
    world.tell()
    assert world.work() == []
    world.portal.known = known
    world.clock.forward(seconds=5)
    world.tell()
    assert sorted(world.work()) == ["delivered", "delivered"]
    world.portal.known = {}
    world.hear(paid())
    for seconds in (0, 5, 30, 120):
        world.clock.forward(seconds=seconds)
        world.tell()
    assert world.work() == ["delivered"]
    assert world.hosts.got["all.example.com"][-1]["business_id"] is None


def test_while_the_portal_is_away_events_wait(world: World) -> None:
    """None is lost, and none is told without its business."""
    world.endpoint()
    world.hear(failed())
    world.portal.away = True
    with pytest.raises(PortalUnavailable):
        world.tell()
    world.portal.away = False
    world.tell()
    assert world.work() == ["delivered"]


@pytest.mark.whole
def test_tries_go_on_for_three_days_under_one_id(world: World) -> None:
    """Later and later; then it is given up, and can be replayed."""
    endpoint = world.endpoint()
    world.hosts.answer = lambda target: answered(500, 3)
    world.hear(failed())
    world.tell()
    began, outcomes = world.clock(), []
    while (row := world.row(HookDelivery)).status == "pending":
        world.clock.moment = max(world.clock(), row.due_at)
        outcomes += world.work()
        if not outcomes:
            break
        paused = world.row(HookEndpoint).paused_until
        if paused is not None:
            world.clock.moment = max(world.clock(), paused)
    assert outcomes == ["retried"] * 10 + ["gave_up"]
    assert dt.timedelta(days=2.9) < world.clock() - began < dt.timedelta(days=3.2)
    assert len({headers["webhook-id"] for headers in world.hosts.headers}) == 1
    assert len(set(world.hosts.bodies)) == 1
    world.hosts.answer = lambda target: answered(204, 3)
    assert world.on(endpoint, lambda s, row: replay(s, row, world, failed_only=True)).count == 1
    assert world.work() == ["delivered"]
    assert world.row(HookEndpoint).failing_since is None


def test_retry_after_is_heeded_within_bounds() -> None:
    """No host can put us off for ever."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    hour = dt.timedelta(hours=1)
    assert next_try(1, now, 0.5, hour) == now + hour
    assert next_try(1, now, 0.5, 1000 * hour) == now + 12 * hour
    assert pause(1, now, 0.5, hour) == now + hour
    assert pause(1, now, 0.5, None) is None


def test_no_other_failure_shortens_what_a_host_asked_for(world: World) -> None:
    """It says 429 and an hour to one of two requests that are under way, and breaks the other off."""
    hour, said = dt.timedelta(hours=1), []
    world.endpoint()
    world.hear(failed("evt_1/invoice.payment_failed"), paid("evt_2/invoice.paid"))
    world.tell()

    def answer(target: Target) -> Answered:
        said.append(target)
        return answered(429, 3, hour) if len(said) == 1 else Answered(None, "timeout", 15000)

    world.hosts.answer = answer
    began = world.clock()
    assert world.work() == ["retried", "retried"]
    assert world.row(HookEndpoint).paused_until == began + hour
    world.clock.forward(seconds=3599)
    assert world.work() == []
    world.clock.forward(seconds=1)
    assert world.work() == ["retried", "retried"]


@pytest.mark.whole
def test_a_dead_endpoint_delays_no_other(world: World) -> None:
    """With a hundred deliveries due at it, it has one sender at a time and less and less often; a host's own due ones go first round."""
    world.endpoint("dead")
    world.endpoint("good")
    world.hosts.answer = lambda target: (
        Answered(None, "timeout", 15000) if "dead" in target.host else answered(200, 3)
    )
    world.hear(*(failed(invoice_id=f"in_{number}") for number in range(60)))
    world.tell()
    dead = 0
    for _ in range(25):
        leased = sending.lease(world.desk, 8, {})
        mine = [one for one in leased if "dead" in one.url]
        assert len(mine) <= 4
        dead += len(mine)
        for one in leased:
            sending.send_one(world.desk, one)
    assert world.hosts.got["good.example.com"]
    assert len({one["id"] for one in world.hosts.got["good.example.com"]}) == 60
    assert dead <= 5 + 4
    world.clock.forward(minutes=20)
    assert len(sending.lease(world.desk, 8, {})) == 1
    assert sending.lease(world.desk, 8, {}) == []


@pytest.mark.whole
def test_all_that_waits_goes_once_an_endpoint_that_failed_works(world: World) -> None:
    """What found out that it does has the senders run again: they don't wait for the next poll."""
    woken: list[bool] = []
    shares = HookShares(8, 4)
    service: Any = SimpleNamespace(
        _hook_desk=lambda: world.desk,
        hooks=SimpleNamespace(shares=shares),
        wake_hooks=lambda: woken.append(True),
    )

    def work() -> int:
        leased = sending.lease(world.desk, 8, {})
        for one in leased:
            shares.took(one.owner, more=one.more)
        for one in leased:
            Hooks.send_hook(service, one)
        return len(leased)

    world.endpoint()
    world.hear(*(failed(invoice_id=f"in_{number}") for number in range(12)))
    world.tell()
    world.hosts.answer = lambda target: answered(500, 3)
    assert [work(), work()] == [4, 4]
    world.clock.forward(minutes=1)
    assert work() == 1
    world.hosts.answer = lambda target: answered(200, 3)
    world.clock.forward(minutes=1)
    woken.clear()
    assert (work(), woken) == (1, [True])
    assert work() == 4


def test_no_endpoint_has_more_than_its_share_of_senders(world: World) -> None:
    """What is on its way from this process already counts."""
    endpoint = world.endpoint()
    world.hear(*(failed(invoice_id=f"in_{number}") for number in range(9)))
    world.tell()
    assert len(sending.lease(world.desk, 8, {endpoint: 3})) == 1
    assert sending.lease(world.desk, 8, {endpoint: 4}) == []
    assert len(sending.lease(world.desk, 2, {})) == 2


def test_a_lost_lease_records_no_end(world: World) -> None:
    """A sender that was stalled past its lease does not finish what another one sends."""
    world.endpoint()
    world.hear(failed())
    world.tell()
    (slow,) = sending.lease(world.desk, 8, {})
    world.clock.forward(seconds=61)
    (quick,) = sending.lease(world.desk, 8, {})
    assert sending.send_one(world.desk, slow)[0] == "delivered"
    assert world.row(HookDelivery).status == "pending"
    assert sending.send_one(world.desk, quick)[0] == "delivered"
    assert world.row(HookDelivery).status == "delivered"
    assert len(world.rows(HookAttempt)) == 2


@pytest.mark.whole
@pytest.mark.parametrize("seed", range(3))
def test_a_host_that_fails_half_the_time_and_senders_that_die_lose_nothing(
    world: World, seed: int
) -> None:
    """Each event arrives at least once, and whoever keeps the highest version of an object has its newest state."""
    dice = random.Random(seed)
    world.jitter = dice.random
    world.endpoint("a", "sunrise")
    world.endpoint("b")

    def half(target: Target) -> Answered:
        what = dice.random()
        return answered(200 if what < 0.5 else 500, 3) if what < 0.8 else Answered(None, "timeout", 15000)  # fmt: skip

    world.hosts.answer = half
    start = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    happened: list[contract.Event] = []
    for number in range(8):
        for step in range(3):
            at = start + dt.timedelta(minutes=number, seconds=step)
            kind = paid if step == 2 else failed
            happened.append(kind(invoice_id=f"in_{number}", occurred_at=at, attempt_count=step + 1))
    arriving = list(happened)
    dice.shuffle(arriving)
    for first in range(0, len(arriving), 7):
        world.hear(*arriving[first : first + 7])
    world.tell()
    for _ in range(3000):
        for one in sending.lease(world.desk, 8, {}):
            fate = dice.random()
            if fate < 0.1:
                continue  # died with the lease
            if fate < 0.2:
                sending._post(world.desk, one)  # died when the host had it
                continue
            sending.send_one(world.desk, one)
        world.clock.forward(minutes=15)
        states = Counter(one.status for one in world.rows(HookDelivery))
        if states["pending"]:
            continue
        if not states["failed"]:
            break
        for endpoint in world.rows(HookEndpoint):  # one in two thousand is unlucky eleven times
            world.on(endpoint.endpoint_id, lambda s, row: replay(s, row, world, failed_only=True))
    assert Counter(one.status for one in world.rows(HookDelivery)) == {"delivered": 48}
    wanted = {webhook_id(one.id) for one in happened}
    for got in world.hosts.got.values():
        assert {one["id"] for one in got} == wanted
        newest: dict[str, dict[str, Any]] = {}
        for one in got:
            about = one["object"]
            if about["version"] > newest.get(about["id"], {"object": {"version": 0}})["object"]["version"]:  # fmt: skip
                newest[about["id"]] = one
        assert {one["type"] for one in newest.values()} == {"invoice.paid"}


def test_every_public_event_can_be_subscribed_to() -> None:
    """The list in the contract is that of the table."""
    assert {kind.type for kind in TOLD} == set(TYPES)
    assert as_told(event(contract.InvoicePaid)) is not None


def test_a_version_fits_into_a_number_of_javascript() -> None:
    """And the end of an invoice outranks what happened in the same second."""
    at = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    assert version_of(at, 9) < 2**53
    told = [as_told(kind(occurred_at=at)) for kind in (failed, paid)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0].version < told[1].version < version_of(at + dt.timedelta(seconds=1), 0)
