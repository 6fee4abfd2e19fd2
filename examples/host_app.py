"""How a business's own software talks to Portico: RPC to make customers and links, RabbitMQ to hear events.

Nothing here needs Portico's code, nameko or a web framework: only `kombu`, which brings `amqp` (any AMQP library in any language can
do the same; docs/integration.md describes the wire). Copy it, or read it and write your own.

    AMQP_URI=amqp://host:password@rabbitmq:5672/portico python3 examples/host_app.py            # make data, print a link
    AMQP_URI=…                                          python3 examples/host_app.py --listen   # print events as they come
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from amqp.exceptions import AccessRefused, AMQPError, ChannelError, NotFound
from kombu import Connection, Consumer, Exchange, Producer, Queue, binding

CALLS = "amq.topic"
"""The exchange for hosts' calls. It is RabbitMQ's own: nobody has to make it."""


class PorticoError(Exception):
    """Portico answered with an error; `error` is its name, such as `InvalidArgument` or `StripeCustomerConflict`."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message


class Portico:
    """A connection to Portico's services. One per thread; close it when done.

    >>> with Portico("amqp://…") as portico:
    ...     customer = portico.call("portal", "upsert_customer", business_id="sunrise", …)
    """

    def __init__(self, amqp_uri: str, timeout: float = 5.0, exchange: str = CALLS) -> None:
        self._exchange = Exchange(exchange, type="topic", durable=True, passive=True)
        self._timeout = timeout
        self._connection = Connection(
            amqp_uri, connect_timeout=timeout, transport_options={"confirm_publish": True}
        )
        self._address = str(uuid.uuid4())
        replies = Queue(
            f"rpc.reply-host-{self._address}",
            exchange=self._exchange,
            routing_key=self._address,
            exclusive=True,
            durable=False,
        )
        self._answers: dict[str, Any] = {}
        self._consumer = Consumer(
            self._connection.channel(), [replies], on_message=self._on_answer, no_ack=True
        )
        self._consumer.consume()
        self._open()

    def _open(self) -> None:
        """A channel for calls alone: RabbitMQ closes it when it refuses one, and answers must not go with it."""
        self._producer = Producer(self._connection.channel(), exchange=self._exchange)

    def _on_answer(self, message: Any) -> None:
        self._answers[message.properties["correlation_id"]] = json.loads(message.body)

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        """Call `service.method` and return its result; PorticoError or TimeoutError when there is none."""
        call_id = str(uuid.uuid4())
        try:
            self._producer.publish(
                {"args": [], "kwargs": arguments},
                routing_key=f"{service}.{method}",
                reply_to=self._address,
                correlation_id=call_id,
                serializer="json",
                mandatory=True,  # a service that has never run has no queue: hear of it now
                expiration=self._timeout,  # a request that nobody waits for any more must not run
            )
        except AccessRefused as error:
            self._open()
            raise PorticoError(
                "NotPermitted", f"{service}.{method} is not for this user"
            ) from error
        except ChannelError as error:
            raise PorticoError("Unavailable", f"{service} has never run on this broker") from error
        end = time.monotonic() + self._timeout
        while call_id not in self._answers:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{service}.{method} gave no answer in {self._timeout:g} s")
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=left)
        answer = self._answers.pop(call_id)
        if answer["error"]:
            raise PorticoError(answer["error"]["exc_type"], str(answer["error"]["value"]))
        return answer["result"]

    def close(self) -> None:
        self._connection.release()

    def __enter__(self) -> Portico:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@contextmanager
def subscription(
    amqp_uri: str, name: str, types: list[str], source: str = "billing"
) -> Iterator[Connection]:
    """Declare a durable queue of the host's own, bound to the event types that it wants to hear from `billing`, `portal` or
    `notifier`. Waits until that service has made its exchange: on a fresh broker, until it has started."""
    with Connection(amqp_uri, heartbeat=10) as connection:
        # Passive means to look whether it is there, which takes no right.
        exchange = Exchange(f"{source}.events", type="topic", durable=True, passive=True)
        queue = Queue(
            f"{name}.{source}-events",
            bindings=[binding(exchange, routing_key=event_type) for event_type in types],
            durable=True,
            queue_arguments={"x-queue-type": "quorum"},
        )
        while True:
            try:
                queue(connection.channel()).declare()
            except NotFound:
                time.sleep(1)
                connection.heartbeat_check()
            else:
                break
        yield connection


def listen(
    amqp_uri: str,
    name: str,
    types: list[str],
    handle: Callable[[dict[str, Any]], None],
    go_on: Callable[[], bool] = lambda: True,
    source: str = "billing",
) -> None:
    """Call `handle(event)` for each event of `types`; ack after it returns, so none is lost.

    `handle` may get an event twice: remember its `id` in the transaction that does the work. `name` is the
    queue's: every process that gives the same name shares the events, another name gets them all.
    """
    with subscription(amqp_uri, name, types, source) as connection:

        def on_message(message: Any) -> None:
            handle(json.loads(message.body))
            message.ack()

        queue = Queue(f"{name}.{source}-events", no_declare=True)
        with Consumer(connection.channel(), [queue], on_message=on_message, prefetch_count=10):
            while go_on():
                try:
                    connection.drain_events(timeout=1)
                except TimeoutError:
                    connection.heartbeat_check()


def payment_link(portico: Portico, customer_id: str, url: str) -> str:
    """A Stripe Payment Link for one customer: whoever pays there is linked with this customer, for a week.

    Anybody can write any `client_reference_id` into an address, so only one that Portico signed counts.
    """
    made = portico.call("portal", "checkout_reference", customer_id=customer_id)
    return f"{url}?client_reference_id={made['reference']}"


def make_data(portico: Portico) -> str:
    """A business, one customer and two appointments; returns the customer's own link."""
    portico.call(
        "portal",
        "upsert_business",
        business_id="green-gardens",
        name="Green Gardens",
        email="hello@green-gardens.example",
        color="#2f6f4e",
        timezone="Europe/Amsterdam",
        service_note="We come as planned while your payment is open.",
    )
    customer = portico.call(
        "portal",
        "upsert_customer",
        business_id="green-gardens",
        external_id="1001",  # the host's own id: calling again changes, never doubles
        name="Maya de Vries",
        email="maya@example.com",
        locale="en",
    )
    start = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    portico.call(
        "portal",
        "upsert_appointments",
        customer_id=customer["customer_id"],
        appointments=[
            {
                "external_id": "a-1",
                "title": "Spring pruning",
                "starts_at": (start + dt.timedelta(days=3)).isoformat(),
                "ends_at": (start + dt.timedelta(days=3, hours=2)).isoformat(),
            },
            {
                "external_id": "a-2",
                "title": "First visit",
                "starts_at": (start - dt.timedelta(days=30)).isoformat(),
                "status": "completed",
            },
        ],
    )
    link = portico.call("portal", "link", customer_id=customer["customer_id"])
    return str(link["url"])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A host application's side of Portico")
    parser.add_argument("--listen", action="store_true", help="print events until Ctrl-C")
    options = parser.parse_args(argv)
    uri = os.environ.get("AMQP_URI")
    if not uri:
        print(
            "set AMQP_URI to Portico's RabbitMQ, for example amqp://user:password@localhost:5672/portico",
            file=sys.stderr,
        )
        return 2
    try:
        _run(uri, listening=options.listen)
    except (OSError, AMQPError) as error:
        print(
            f"AMQP_URI: {str(error).rstrip('.')}. Is `make stack` running, and is the address the one in its portico.env?",
            file=sys.stderr,
        )
        return 1
    return 0


def _run(uri: str, *, listening: bool) -> None:
    if listening:
        with suppress(KeyboardInterrupt):
            listen(
                uri,
                "host",
                ["invoice.payment_failed", "invoice.paid"],
                lambda event: print(
                    event["type"],
                    event["data"]["invoice_id"],
                    event["data"]["amount_remaining"],
                    flush=True,
                ),
            )
        return
    with Portico(uri) as portico:
        print(make_data(portico))


if __name__ == "__main__":
    sys.exit(main())
