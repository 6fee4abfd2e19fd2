"""What a service publishes besides its events: never longer than a limit, whatever the broker does.

With the stock publisher a frozen broker stalls web pages that need no broker (105 s measured).
"""

from __future__ import annotations

from typing import Any, Final

import eventlet
from nameko.amqp.publish import Publisher

from shared.messaging import amqp

LIMIT_SECONDS: Final = amqp.CONNECT_SECONDS + amqp.PUBLISH_SECONDS


def limit() -> eventlet.Timeout:
    """Around a publish: raises BrokerUnavailable in it when its time is over."""
    return eventlet.Timeout(LIMIT_SECONDS, amqp.BrokerUnavailable("no confirm"))


class BoundedPublisher(Publisher):
    """nameko's publisher with confirms, within `LIMIT_SECONDS`. Raises what `shared.messaging.amqp.publish` does."""

    def publish(self, payload: Any, **kwargs: Any) -> None:
        options = {
            "mandatory": self.mandatory,
            "delivery_mode": self.delivery_mode,
            "priority": self.priority,
            "expiration": self.expiration,
            "serializer": self.serializer,
            **self.publish_kwargs,
            **kwargs,
        }
        headers = {**options.pop("headers", {}), **options.pop("extra_headers", {})}
        with limit():
            amqp.publish(self.amqp_uri, payload, headers=headers, **options)


def publish_raw(uri: str, body: bytes | str, **how: Any) -> None:
    """`shared.messaging.amqp.publish_raw`, within `LIMIT_SECONDS`."""
    with limit():
        amqp.publish_raw(uri, body, **how)
