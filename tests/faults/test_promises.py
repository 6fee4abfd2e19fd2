"""What is promised for each kind of trouble, one trouble at a time, on real servers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import kombu
import pytest

from examples.host_app import Portico
from shared.messaging import topology
from tests.contract.payment_worlds import StripeWorld
from tests.faults.books import accepted_mails
from tests.faults.payloads import invoice_event
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.run import is_quiet
from tests.faults.system import System, answers

BURST = 1000
POSTED_A_SECOND = 50
OWN_SERVERS = True
CUSTOMERS = 1400
"""For the fixture `system`: what all failures of this module use up."""


def failed(system: System, name: str, **fields: Any) -> Delivery:
    """A declined charge of a customer of its own: failures of the same one within minutes share an email."""
    return Delivery(
        invoice_event(
            "invoice.payment_failed",
            event_id=f"evt_{name}",
            invoice_id=f"in_{name}",
            customer_id=next(system.customers),
            **fields,
        )
    )


def settle(system: System, within: float = 240) -> None:
    """Wait for quiet."""
    forced: set[str] = set()
    system.wait(lambda: is_quiet(system, forced, grace=3), within)


def mails(system: System, prefix: str) -> list[int]:
    """How many mails each notification about the invoices `in_<prefix>…` has got."""
    found = accepted_mails(system)
    rows = system.rows(
        "notifier",
        "SELECT notification_id FROM notifications WHERE invoice_id LIKE %(like)s AND status <> 'suppressed'",
        like=f"in_{prefix}%",
    )
    return [len(found.get(notification_id, ())) for (notification_id,) in rows]


def ready(system: System, service: str) -> bool:
    return answers(f"{system.stack.processes(service)[0].url}/readyz")


def alive(system: System, service: str) -> bool:
    return answers(f"{system.stack.processes(service)[0].url}/healthz")


def listening(system: System, queue: str, source: str) -> kombu.Queue:
    """A queue of the host's own, bound to everything that `source` says."""
    bound = kombu.Queue(queue, exchange=topology.exchange(source), routing_key="#", durable=True)
    with kombu.Connection(system.rabbitmq.uri_of(system.stack.vhost)) as connection:
        bound(connection).declare()
    return bound


def heard(system: System, queue: str) -> list[dict[str, Any]]:
    """Everything in the queue, which is removed."""
    found: list[dict[str, Any]] = []
    with kombu.Connection(system.rabbitmq.uri_of(system.stack.vhost)) as connection:
        bound = kombu.Queue(queue)(connection.channel())
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message.decode())
        bound.delete()
    return found


def test_paid_before_failed_arrives_is_no_mail_and_a_reason(system: System, poster: Poster) -> None:
    """Stripe orders nothing: the payment's event overtakes the failure's, and nobody is frightened."""
    failure = failed(system, "early")
    paid = invoice_event(
        "invoice.paid",
        event_id="evt_early_paid",
        invoice_id="in_early",
        customer_id=failure.event["data"]["object"]["customer"],
        status="paid",
        amount_remaining=0,
    )
    poster.post([Delivery(paid)])
    poster.drain(60)
    settle(system)
    poster.post([failure])
    poster.drain(60)
    settle(system)
    rows = system.rows(
        "notifier", "SELECT status, reason FROM notifications WHERE invoice_id = 'in_early'"
    )
    assert rows == [("suppressed", "the invoice is paid")]


def test_without_a_broker_webhooks_are_taken_and_mailed_afterwards_in_order(
    system: System, poster: Poster
) -> None:
    """Broker stopped: every webhook is accepted, quickly. Started: each is published in order of arrival and mailed once."""
    listening(system, "host.order", "billing")
    system.rabbitmq.stop()
    poster.post(
        [failed(system, f"hour{number}") for number in range(BURST)], over=BURST / POSTED_A_SECOND
    )
    time.sleep(5)
    poster.drain(60)
    assert set(poster.ledger.answers) == {200}
    p99 = statistics.quantiles(poster.ledger.seconds, n=100)[98]
    print(f"\nbroker stopped: {BURST} webhooks accepted, p99 {p99 * 1000:.0f} ms")
    assert p99 < 2.5, "an unhealthy broker must not slow the webhook endpoint"
    assert ready(system, "billing"), "webhooks and pages need no broker"
    system.rabbitmq.start()
    settle(system)
    assert mails(system, "hour") == [1] * BURST
    arrived = [
        row[0]
        for row in system.rows(
            "billing", "SELECT event_id FROM outbox WHERE event_id LIKE 'evt_hour%%' ORDER BY id"
        )
    ]
    published = [event["id"] for event in heard(system, "host.order")]
    assert list(dict.fromkeys(published)) == arrived


def test_a_blocked_broker_delays_and_loses_nothing(system: System, poster: Poster) -> None:
    """A memory alarm: webhooks are accepted; when it ends each is mailed once."""
    system.rabbitmq.block()
    try:
        poster.post([failed(system, f"alarm{number}") for number in range(20)])
        poster.drain(60)
        time.sleep(3)
        waiting = system.rows("billing", "SELECT count(*) FROM outbox WHERE published_at IS NULL")
        assert waiting == [(20,)]
    finally:
        system.rabbitmq.unblock()
    settle(system)
    assert mails(system, "alarm") == [1] * 20


def test_an_unroutable_event_is_kept_and_goes_out_when_there_is_a_queue(
    system: System, poster: Poster
) -> None:
    """A consumer's queue is gone and nobody is there to make it: the outbox keeps the event with the reason, and it leaves later."""
    (notifier,) = system.stack.processes("notifier")
    system.suspend(notifier)
    with kombu.Connection(system.rabbitmq.uri_of(system.stack.vhost)) as connection:
        connection.channel().queue_delete(topology.queue_name("notifier"))
        poster.post([failed(system, "unroutable")])
        poster.drain(60)
        system.wait(
            lambda: bool(
                system.rows(
                    "billing",
                    "SELECT 1 FROM outbox WHERE published_at IS NULL AND last_error LIKE 'Unroutable%%'",
                )
            ),
            20,
        )
    system.resume(notifier)
    settle(system)
    assert mails(system, "unroutable") == [1]


def test_readiness_tells_the_truth_and_liveness_depends_on_nothing(system: System) -> None:
    """Database away: not ready, alive, and ready again by itself. Broker away: ready, since pages need none."""
    system.postgres.kill()
    try:
        system.wait(lambda: not ready(system, "billing"), 20)
        assert all(alive(system, service) for service in ("portal", "billing", "notifier"))
    finally:
        system.postgres.start()
    for service in ("portal", "billing", "notifier"):
        system.wait(lambda service=service: ready(system, service), 30)  # type: ignore[misc]
    assert system.fell == []


@pytest.mark.parametrize("service", ["billing", "notifier", "portal"])
def test_sigterm_under_load_drains(system: System, poster: Poster, service: str) -> None:
    """Exit 0 within 25 seconds under load; what was accepted is mailed once, and nothing is doubled."""
    poster.post([failed(system, f"term_{service}{number}") for number in range(80)], over=4)
    time.sleep(1.5)
    began = time.monotonic()
    code = system.restart(system.stack.processes(service)[0])
    took = time.monotonic() - began
    poster.drain(60)
    settle(system)
    print(f"\n{service}: ended with {code} after {took:.1f} s")
    assert (code, took < 27) == (0, True)
    assert mails(system, f"term_{service}") == [1] * 80


def test_servers_come_back_in_any_order_and_services_recover(
    system: System, poster: Poster
) -> None:
    """Both down, database first or broker first: nobody needs a restart."""
    orders: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (system.postgres.start, system.rabbitmq.start),
        (system.rabbitmq.start, system.postgres.start),
    ]
    for number, (first, second) in enumerate(orders):
        system.rabbitmq.stop()
        system.postgres.stop()
        poster.post([failed(system, f"order{number}")])
        time.sleep(1)
        first()
        second()
        poster.drain(60)
        settle(system)
        assert mails(system, f"order{number}") == [1]
    assert system.fell == []


def test_a_day_without_webhooks_is_made_up_for(system: System) -> None:
    """The endpoint is off, charges fail, `reconcile` finds each of them: mailed once, and not again."""
    stack = system.stack
    world: Any = StripeWorld(None, stack.sandbox_url, stack.stripe_api_key)  # type: ignore[arg-type]
    system.sandbox("POST", "/sandbox/webhooks", {"drop": True})
    try:
        debtors = [world.debtor() for _ in range(3)]
    finally:
        system.sandbox("POST", "/sandbox/webhooks", {"drop": False})
    with Portico(stack.amqp_uri, timeout=60) as portico:
        for number, debtor in enumerate(debtors):
            portico.call(
                "portal", "upsert_customer", business_id="faults", external_id=f"debtor{number}",
                name="Dana", email=f"debtor{number}@example.com",
                platform_stripe_customer_id=debtor.customer_id,
            )  # fmt: skip
        first = portico.call("billing", "reconcile", since="1d")
        second = portico.call("billing", "reconcile", since="1d")
    settle(system)
    assert first["new"] >= 3
    assert (second["new"], second["swept"]) == (0, 0)
    for debtor in debtors:
        assert mails(system, debtor.invoice_id.removeprefix("in_")) == [1]


def test_the_host_hears_of_a_mail_that_bounced(system: System, poster: Poster) -> None:
    """A hard bounce, signed by SendGrid, becomes `notification.undeliverable` on the notifier's own exchange."""
    listening(system, "host.notifier", "notifier")
    with Portico(system.stack.amqp_uri) as portico:
        portico.call(
            "portal", "upsert_customer", business_id="faults", external_id="bounces",
            name="Bounce", email="bounce@example.com", platform_stripe_customer_id="cus_bounce",
        )  # fmt: skip
    event = invoice_event(
        "invoice.payment_failed", event_id="evt_b", invoice_id="in_bounce", customer_id="cus_bounce"
    )
    poster.post([Delivery(event)])
    poster.drain(60)
    system.wait(
        lambda: bool(
            system.rows("notifier", "SELECT 1 FROM outbox WHERE published_at IS NOT NULL")
        ),
        30,
    )
    told = [
        one for one in heard(system, "host.notifier") if one["data"]["invoice_id"] == "in_bounce"
    ]
    assert [(one["type"], one["data"]["reason"]) for one in told] == [
        ("notification.undeliverable", "bounced")
    ]
    assert "bounce@example.com" not in str(told)
