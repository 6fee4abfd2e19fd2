"""Looking at the broker: is what the topology asks for there, as it asks for it, and may we use it, and no more than that?

Nothing is made or changed, but for a queue that is gone with the connection. AMQP has no way to read bindings: services make
them anew at each start, and a lost one shows itself as events that are returned (`outbox` rows with `Unroutable`). It can't
read rights either, so each is tried with what reaches nobody; whether a method may be called can't be tried without calling it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Generator, Iterator
from typing import Any, Final

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed

from portico.checks.settings import SERVICES
from portico.cli.findings import Finding, finding, ok, unknown
from shared.messaging import rights, topology
from shared.messaging.amqp import (
    BROKER_ERRORS,
    BrokerBlocked,
    login_refused,
    make_connection,
    trouble_of,
)

AREA: Final = "broker"
MANY: Final = 1000
PROBE: Final = "portico.commands.doctor"
"""A routing key that no queue is bound for: a message with it comes back, so that nobody gets it."""


def check_broker(uri: str, services: Collection[str] = SERVICES) -> Iterator[Finding]:
    """Exchanges, queues with their arguments, consumers, dead letters; and whether the user has the permissions of these
    services."""
    connection = _connect(uri)
    if isinstance(connection, Finding):
        yield connection
        return
    found = 0
    try:
        for one in _look(connection, services):
            found += one.level != "ok"
            yield one
    except BROKER_ERRORS as error:
        found += 1
        yield unknown(
            AREA,
            "broker-broke",
            f"the connection broke while looking: {trouble_of(error)}",
            "run this again",
        )
    finally:
        connection.collect()
    if not found:
        yield ok(AREA, "broker", "exchanges, queues, consumers and permissions are right")


def check_login(uri: str) -> Finding:
    """Whether the broker answers and lets the user of `uri` in; nothing of the topology has to be there yet."""
    connection = _connect(uri)
    if isinstance(connection, Finding):
        return connection
    connection.collect()
    return ok(AREA, "broker-login", "RabbitMQ lets the user of AMQP_URI in")


def _connect(uri: str) -> Any:
    """A connection that stands, or the Finding that says why there is none."""
    if uri.startswith("embedded"):
        return unknown(
            AREA,
            "broker-embedded",
            "AMQP_URI is embedded://: that broker lives inside `make run`'s process, and keeps nothing",
            "for more than looking around set AMQP_URI to a RabbitMQ",
        )
    connection = make_connection(uri)
    try:
        connection.connect()
    except AccessRefused as error:
        return finding(
            AREA,
            "broker-login",
            login_refused(error) or "RabbitMQ refuses the user of AMQP_URI",
            "look at the user's password, and at the virtual host's permissions",
        )
    except amqp.exceptions.NotAllowed as error:
        return finding(
            AREA,
            "broker-vhost",
            login_refused(error) or "",
            "look at the end of AMQP_URI, and at the user's permissions there",
        )
    except BROKER_ERRORS as error:
        return unknown(
            AREA,
            "broker-unreachable",
            f"RabbitMQ does not answer: {trouble_of(error)}",
            "look at AMQP_URI, the network and the broker, then run this again",
        )
    return connection


def _look(connection: Any, services: Collection[str]) -> Iterator[Finding]:
    there = yield from _exchanges(connection)
    yield from _events(connection, services, there)
    for service in SERVICES:
        yield from _rpc(connection, service)
    for name in there:
        if topology.OWNERS[name] not in services:
            yield from _may_make(connection, name)
    if set(services) < set(SERVICES):  # else one user does everything, and nothing bounds it
        for name in (*there, topology.HOST_EXCHANGE):
            yield from _bounds(connection, name, services)


def _exchanges(connection: Any) -> Generator[Finding, None, list[str]]:
    """What is missing; returns the exchanges that are there."""
    there = []
    for name, owner in topology.OWNERS.items():
        try:
            connection.channel().exchange_declare(name, "topic", durable=True, passive=True)
        except NotFound:
            makes = f"start {owner}: it makes it"
            yield finding(AREA, "broker-exchange", f"there is no exchange {name}", makes)
        except AccessRefused:
            yield _refused(name)
        else:
            there.append(name)
    return there


def _events(
    connection: Any, services: Collection[str], there: Collection[str]
) -> Iterator[Finding]:
    """The right to publish events, and the queues that they go to."""
    for source in topology.sources():
        name = topology.exchange(source).name
        if name in there and source in services:
            yield from _may_publish(connection, name)
        for service in topology.consumers_of(source):
            own = service in services
            for main in topology.event_queues(service, source):
                yield from _queue(connection, main, consumed=True, own=own)
                for side in topology.auxiliary_queues(main.name):
                    yield from _queue(connection, side, consumed=False, own=own)


def _may_make(connection: Any, name: str) -> Iterator[Finding]:
    try:  # It is there as we declare it: that changes nothing, and takes the right to.
        connection.channel().exchange_declare(name, "topic", durable=True, auto_delete=False)
    except AccessRefused:
        return
    owner = topology.OWNERS[name]
    yield finding(
        AREA,
        "broker-owner",
        f"the user of AMQP_URI may make and delete the exchange {name}, which is {owner}'s",
        "take the configure right on it from this user: docs/security.md has the table of rights",
    )


def _bounds(connection: Any, name: str, services: Collection[str]) -> Iterator[Finding]:
    """Whether routing keys are bounded on an exchange as they should be: none that is no method, event or address, and answers."""
    given = [one for each in services if (one := rights.users()[each].topics.get(name))]
    for key, what in ((PROBE, "any key"), (str(uuid.uuid4()), "an address for answers")):
        for does, allowed, wanted in (
            ("publish", _publishes(connection, name, key), [one.write for one in given]),
            ("bind", _binds(connection, name, key, services), [one.read for one in given]),
        ):
            should = any(re.search(pattern, key) for pattern in wanted)
            if allowed is None or allowed == should:
                continue
            yield finding(
                AREA,
                "broker-unbounded" if allowed else "broker-bounded",
                f"the user of AMQP_URI {'may' if allowed else 'may not'} {does} {what} on the exchange {name}",
                "give it the topic permissions that docs/security.md has: without any, it may use every key",
            )


def _publishes(connection: Any, exchange: str, key: str) -> bool | None:
    """Whether the broker takes a message with a key that no queue is bound for; None when it can't be told."""
    channel = connection.channel()
    channel.confirm_select()
    try:
        channel.basic_publish_confirm(
            amqp.Message("{}"),
            exchange=exchange,
            routing_key=key,
            mandatory=True,
            confirm_timeout=3,
        )
    except AccessRefused:
        return False
    except BrokerBlocked:
        return None
    except amqp.exceptions.ChannelError:
        return True  # it came back, as it should
    return True


def _binds(connection: Any, exchange: str, key: str, services: Collection[str]) -> bool | None:
    """Whether a queue for answers may be bound with that key; None when the user may not make one."""
    caller = rights.callers_of(min(services))[-1]
    queue = topology.reply_queue(caller, str(uuid.uuid4())).name
    channel = connection.channel()
    try:
        channel.queue_declare(queue, durable=True, exclusive=True)
    except AccessRefused:
        return None
    try:
        channel.queue_bind(queue, exchange, key)
    except AccessRefused:
        return False
    channel.queue_unbind(queue, exchange, key)
    return True


def _queue(connection: Any, queue: Any, *, consumed: bool, own: bool) -> Iterator[Finding]:
    """`own`: the user is to have the rights of the service that declares and consumes it."""
    try:
        seen = connection.channel().queue_declare(queue.name, passive=True)
    except NotFound:
        yield finding(
            AREA,
            "broker-queue",
            f"there is no queue {queue.name}",
            "start the services: they declare it",
        )
        return
    except AccessRefused:
        yield _refused(queue.name)
        return
    try:
        # It is there: declaring it again makes nothing, and is refused when its arguments are others.
        if own:
            connection.channel().queue_declare(
                queue.name, durable=True, auto_delete=False, arguments=queue.queue_arguments
            )
    except PreconditionFailed:
        yield finding(
            AREA,
            "broker-arguments",
            f"the queue {queue.name} was made with other arguments: its services can't start",
            "empty it and delete it, then start the services: they declare it",
        )
    except AccessRefused:
        yield _refused(queue.name)
    if queue.name.endswith(".dead"):
        if seen.message_count:
            yield finding(
                AREA,
                "dead-letters",
                f"{seen.message_count} dead letters in {queue.name}",
                "`portico deadletters list`, then replay or discard them",
            )
    elif consumed and not seen.consumer_count:
        yield finding(
            AREA,
            "broker-no-consumer",
            f"nobody consumes {queue.name} ({seen.message_count} messages wait)",
            f"start {queue.name.partition('.')[0]}",
        )
    elif consumed and seen.message_count > MANY:
        yield finding(
            AREA,
            "broker-backlog",
            f"{seen.message_count} messages wait in {queue.name}",
            f"start more of {queue.name.partition('.')[0]}, or look at its log",
        )


def _rpc(connection: Any, service: str) -> Iterator[Finding]:
    try:
        seen = connection.channel().queue_declare(f"rpc-{service}", passive=True)
    except NotFound:
        consumers = 0
    except AccessRefused:
        yield _refused(f"rpc-{service}")
        return
    else:
        consumers = seen.consumer_count
    if not consumers:
        yield finding(AREA, "rpc-no-consumer", f"nobody answers for {service}", f"start {service}")


def _may_publish(connection: Any, exchange: str) -> Iterator[Finding]:
    may = _publishes(connection, exchange, PROBE)
    if may is None:
        yield finding(
            AREA,
            "broker-blocked",
            "RabbitMQ takes no messages: a memory or disk alarm",
            "look at `rabbitmqctl status`; webhooks are kept in the outbox meanwhile",
        )
    elif not may:
        yield finding(
            AREA,
            "broker-no-write",
            f"the user of AMQP_URI may not publish to {exchange}",
            "give it the write permission, or run doctor with each service's user and --service",
        )


def _refused(name: str) -> Finding:
    return finding(
        AREA,
        "broker-permission",
        f"the user of AMQP_URI may not use {name}",
        "give it configure, write and read permissions, or run doctor with each service's user and --service",
    )
