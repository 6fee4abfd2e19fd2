"""Connections and publishes with limits, hard-closed when anything goes wrong.

kombu closes the channel of a failed publish politely, and waits indefinitely. Here a connection on which something failed is
thrown away without a word. What services publish has an end as a whole, too: `shared.nameko_ext.bounded_publisher`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from amqp.exceptions import AccessRefused, AMQPError, ChannelError, NotAllowed
from kombu.exceptions import KombuError
from kombu.pools import producers, set_limit

from shared.messaging.transport import SingleConnection

set_limit(
    100
)  # kombu's default of 10 is below the number of workers, which then wait for each other

CONNECT_SECONDS: Final = 2
PUBLISH_SECONDS: Final = 3


class BrokerUnavailable(Exception):
    """RabbitMQ did not take the message within the limit; it may or may not have arrived."""


class BrokerBlocked(BrokerUnavailable):
    """RabbitMQ takes no messages for now (memory or disk alarm)."""


class BrokerRefused(BrokerUnavailable):
    """RabbitMQ does not let this user publish there, or not with this routing key; trying again can't help."""


class Unroutable(Exception):
    """No queue takes the message: the one that should is not there, or is not bound for it. It would never be heard of."""


def refuse_when_blocked(reason: str = "") -> None:
    raise BrokerBlocked(reason)


BROKER_ERRORS: Final = (OSError, AMQPError, KombuError, BrokerUnavailable, EOFError)
"""What an unhealthy broker or connection raises."""


def login_refused(error: BaseException) -> str | None:
    """What a broker that lets us not in means, in words of the setting; None of any other error."""
    if isinstance(error, AccessRefused) and "Login was refused" in str(error):
        return "RabbitMQ refuses the user and password of AMQP_URI"
    if isinstance(error, NotAllowed):
        return "the user of AMQP_URI may not use its virtual host, or there is none"
    return None


def trouble_of(error: BaseException) -> str:
    """Why the broker can't be used, in words as far as there are any: what the setting is to blame for, the system's word
    (`Connection refused`), else the error's name. Never its text, which may quote an address."""
    if said := login_refused(error):
        return said
    word = error.strerror if isinstance(error, OSError) else None
    code = error.errno if isinstance(error, OSError) else None
    if code and word == errno.errorcode.get(code):
        word = os.strerror(code)  # eventlet has the constant's name alone
    return word or (
        "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    )


def is_embedded(uri: str) -> bool:
    """Whether the address is that of the broker in memory, which `make run` has."""
    return uri.startswith("embedded")


def make_connection(uri: str, *, heartbeat: int = 0, **options: Any) -> SingleConnection:
    """A connection that is opened when it is first used, within `CONNECT_SECONDS`, and never again."""
    return SingleConnection(
        uri,
        connect_timeout=CONNECT_SECONDS,
        heartbeat=heartbeat,
        transport_options={"on_blocked": refuse_when_blocked, **options},
    )


@lru_cache(maxsize=16)
def _producers(uri: str) -> Any:
    """The pool of a broker's producers, kept by its address: kombu finds it by a connection that is made to be compared."""
    return producers[make_connection(uri, confirm_publish=True)]


@contextmanager
def borrowed_producer(uri: str) -> Iterator[Any]:
    """A pooled producer with publisher confirms; its connection is dropped when the body fails."""
    with _producers(uri).acquire(block=True, timeout=PUBLISH_SECONDS) as producer:
        try:
            yield producer
        except BaseException:
            if producer.connection is not None:
                producer.connection.collect()
            raise


def publish(uri: str, payload: Any, *, headers: dict[str, Any], **properties: Any) -> None:
    """Publish one message, confirmed; `properties` are those of kombu's `Producer.publish`.

    Raises Unroutable (when it is `mandatory`), BrokerRefused or BrokerUnavailable.
    """
    try:
        with borrowed_producer(uri) as producer:
            producer.publish(
                payload,
                headers=headers,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.1},
                timeout=PUBLISH_SECONDS,
                confirm_timeout=PUBLISH_SECONDS,
                **properties,
            )
    except AccessRefused as error:
        if problem := login_refused(error):
            raise BrokerUnavailable(problem) from error
        raise BrokerRefused(str(error)) from error
    except ChannelError as error:
        if "NO_ROUTE" in str(error):
            raise Unroutable(str(error)) from error
        raise BrokerUnavailable(str(error)) from error
    except BROKER_ERRORS as error:
        problem = login_refused(error) or str(error) or type(error).__name__
        raise BrokerUnavailable(problem) from error


def publish_raw(
    uri: str,
    body: bytes | str,
    *,
    exchange: str,
    routing_key: str,
    headers: dict[str, Any],
    **properties: Any,
) -> None:
    """Publish a body as it is (already JSON), persistent, mandatory, confirmed. Raises what `publish` does."""
    publish(
        uri,
        body,
        exchange=exchange,
        routing_key=routing_key,
        headers=headers,
        mandatory=True,
        delivery_mode="persistent",
        serializer=None,
        content_type="application/json",
        content_encoding="utf-8",
        **properties,
    )
