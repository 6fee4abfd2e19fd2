"""A host application in Python with `pika`, written from docs/integration.md alone: no code of Portico's, nor of its example.

AMQP_URI=amqp://… python host.py call EXTERNAL_ID EMAIL STRIPE_ID   # a customer, made and looked up, as JSON
AMQP_URI=amqp://… python host.py listen QUEUE                       # the first undeliverable email, as JSON
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker, UnroutableError

TIMEOUT_SECONDS = 10


class PorticoError(Exception):
    """Portico answered with an error, or there is nobody to answer."""


class Portico:
    """A connection for calls."""

    def __init__(self, uri: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(uri))
        self._address = str(uuid.uuid4())
        self._answers: dict[str, Any] = {}
        queue = f"rpc.reply-host-{self._address}"
        replies = self._connection.channel()
        replies.queue_declare(queue, exclusive=True)
        replies.queue_bind(queue, "amq.topic", self._address)
        replies.basic_consume(queue, self._on_answer, auto_ack=True)
        self._open()

    def _open(self) -> None:
        self._calls = self._connection.channel()
        self._calls.confirm_delivery()

    def _on_answer(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        self._answers[properties.correlation_id] = json.loads(body)

    def call(self, method: str, **arguments: Any) -> Any:
        """The result of a method such as `portal.link`."""
        call_id = str(uuid.uuid4())
        properties = pika.BasicProperties(
            content_type="application/json",
            reply_to=self._address,
            correlation_id=call_id,
            expiration=str(TIMEOUT_SECONDS * 1000),
        )
        body = json.dumps({"args": [], "kwargs": arguments})
        try:
            self._calls.basic_publish("amq.topic", method, body, properties, mandatory=True)
        except UnroutableError:
            raise PorticoError(f"NotRunning: {method}") from None
        except ChannelClosedByBroker as error:
            self._open()
            raise PorticoError(f"Refused: {error.reply_code}") from error
        end = time.monotonic() + TIMEOUT_SECONDS
        while call_id not in self._answers:
            if time.monotonic() > end:
                raise PorticoError(f"NoAnswer: {method}")
            self._connection.process_data_events(time_limit=1)
        answer = self._answers.pop(call_id)
        if answer["error"]:
            raise PorticoError(f"{answer['error']['exc_type']}: {answer['error']['value']}")
        return answer["result"]

    def refusal(self, method: str, **arguments: Any) -> str:
        """The error that a call ends with."""
        try:
            self.call(method, **arguments)
        except PorticoError as error:
            return str(error)
        return ""

    def close(self) -> None:
        self._connection.close()


def make_customer(uri: str, external_id: str, email: str, stripe_id: str) -> dict[str, Any]:
    """A business and a customer, linked, and what their link is about; with what is refused on the way."""
    portico = Portico(uri)
    business = {"business_id": "wire", "name": "Wire Works"}
    portico.call("portal.upsert_business", **business, color="#1a7f5a", locale="de")
    portico.call("portal.upsert_business", **business)  # colour and language stay
    portico.call("portal.upsert_business", **business, color=None)  # the colour goes
    customer = portico.call(
        "portal.upsert_customer",
        business_id="wire",
        external_id=external_id,
        name="Zoë",
        email=email,
        timezone="Europe/Vienna",
    )["customer_id"]
    refused = [
        portico.refusal("portal.link_customer", customer_id=customer, stripe_customer_id="hello"),
        portico.refusal("portal.export_customers", business_id="wire"),
        portico.refusal(
            "portal.upsert_appointments",
            customer_id=customer,
            appointments=[
                {
                    "external_id": "a-1",
                    "title": "Fitting",
                    "starts_at": "2026-12-01T14:00:00Z",
                    "status": "gone",
                }
            ],
        ),
    ]
    portico.call("portal.link_customer", customer_id=customer, stripe_customer_id=stripe_id)
    link = portico.call("portal.link", customer_id=customer)
    seen = portico.call("portal.lookup", token=link["token"])
    portico.close()
    return {"customer_id": customer, "url": link["url"], "seen": seen, "refused": refused}


def hear_undeliverable(uri: str, queue: str) -> None:
    """Print the first email that did not reach its customer; on a fresh broker, wait until the notifier has made its exchange."""
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    while True:
        channel = connection.channel()
        try:
            channel.exchange_declare("notifier.events", exchange_type="topic", passive=True)
            break
        except ChannelClosedByBroker as error:
            if error.reply_code != 404:
                raise
        print("waiting", flush=True)
        connection.sleep(1)
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, "notifier.events", "notification.undeliverable")
    print("listening", flush=True)
    for method, _properties, body in channel.consume(queue):
        print(json.dumps(json.loads(body)), flush=True)
        channel.basic_ack(method.delivery_tag)
        break
    connection.close()


def main() -> None:
    uri, (command, *words) = os.environ["AMQP_URI"], sys.argv[1:]
    if command == "listen":
        hear_undeliverable(uri, *words)
    else:
        print(json.dumps(make_customer(uri, *words)))


if __name__ == "__main__":
    main()
