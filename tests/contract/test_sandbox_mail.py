"""The stand-in for SendGrid, judged by SendGrid's own library over a real socket."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from python_http_client.exceptions import (  # noqa: TID251  (the library is the judge here)
    BadRequestsError,
    UnauthorizedError,
)
from sendgrid import SendGridAPIClient  # noqa: TID251
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader  # noqa: TID251
from sendgrid.helpers.mail import (  # noqa: TID251
    ClickTracking,
    CustomArg,
    Mail,
    TrackingSettings,
)

from sandbox import mail
from tests.fixtures.serving import serving


class Receiver:
    """A webhook endpoint on a socket of its own; keeps raw bodies and headers."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, dict[str, str]]] = []
        self.app = Flask("receiver")
        self.app.add_url_rule("/hook", view_func=self.take, methods=["POST"])

    def take(self) -> Response:
        self.seen.append((request.get_data(), dict(request.headers)))
        return Response(status=204)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for body, _ in self.seen for event in json.loads(body)]


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()
    with serving(receiver.app) as base:
        yield receiver, f"{base}/hook"


@pytest.fixture
def mailbox(receiver: tuple[Receiver, str]) -> mail.Mailbox:
    return mail.Mailbox("http://127.0.0.1", receiver[1], event_delay=0.0)


@pytest.fixture
def host(mailbox: mail.Mailbox) -> Iterator[str]:
    app = Flask("mail")
    app.register_blueprint(mail.blueprint(mailbox))
    with serving(app) as base:
        yield base


def message(**changes: Any) -> Mail:
    return Mail(
        **{
            "from_email": ("billing@sunrise.example", "Sunrise"),
            "to_emails": "ana@example.com",
            "subject": "Your payment",
            "plain_text_content": "Hello",
            "html_content": "<p>Hello</p>",
            **changes,
        }
    )


def test_the_library_sends(host: str, mailbox: mail.Mailbox) -> None:
    """A mail built with the library's helpers is accepted and stands in the inbox as it was meant."""
    made = message()
    made.add_custom_arg(CustomArg("notification_id", "n1"))
    made.tracking_settings = TrackingSettings(click_tracking=ClickTracking(False, False))
    answer = SendGridAPIClient("SG.sandbox", host=host).send(made)
    assert (answer.status_code, answer.body) == (202, b"")
    (kept,) = mailbox.mails()
    assert kept.message_id == answer.headers["X-Message-Id"]
    document = kept.document()
    assert (document["to"], document["html"]) == ("ana@example.com", "<p>Hello</p>")
    assert document["custom_args"] == {"notification_id": "n1"}
    assert document["tracking_settings"] == {
        "click_tracking": {"enable": False, "enable_text": False}
    }


def test_the_library_raises_its_own_errors(host: str) -> None:
    """Refusals arrive as the library's exceptions, with SendGrid's errors inside."""
    with pytest.raises(UnauthorizedError):
        SendGridAPIClient("no-key", host=host).send(message())
    with pytest.raises(BadRequestsError) as caught:
        SendGridAPIClient("SG.sandbox", host=host).send(message(subject=""))
    (error,) = caught.value.to_dict["errors"]
    assert error["field"] == "subject"


def test_the_library_verifies_the_events(
    host: str, mailbox: mail.Mailbox, receiver: tuple[Receiver, str]
) -> None:
    """The library's EventWebhook accepts the signature over the raw body, and no other body."""
    SendGridAPIClient("SG.sandbox", host=host).send(message())
    assert mailbox.events.wait_idle(10)
    body, headers = receiver[0].seen[0]
    webhook = EventWebhook(mailbox.public_key)
    signature = {name.lower(): value for name, value in headers.items()}
    proof = (
        signature[EventWebhookHeader.SIGNATURE.lower()],
        signature[EventWebhookHeader.TIMESTAMP.lower()],
    )
    assert webhook.verify_signature(body.decode(), *proof)
    assert not webhook.verify_signature(body.decode().strip(), *proof)
    assert sorted(event["event"] for event in receiver[0].events) == ["delivered", "processed"]
