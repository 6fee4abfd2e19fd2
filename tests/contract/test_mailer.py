"""One suite for every `Mailer`: the fake of the unit tests, and the real adapter over HTTP against the sandbox."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask

from sandbox.mail import Mailbox, blueprint
from sandbox.mail.events import encode
from services.notifier.adapters.sendgrid.account import SendGridAccount
from services.notifier.adapters.sendgrid.gateway import (
    SendGridMailer,
    SignedEvents,
)
from services.notifier.adapters.sendgrid.sender_domains import SenderDomains
from services.notifier.domain.delivery_events import Delivery
from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import (
    OUT_OF_CREDITS,
    Accepted,
    MaybeSent,
    Outcome,
    RateLimited,
    Refused,
    Unavailable,
)
from services.notifier.ports import Mail, Mailer
from tests.fixtures.serving import running, serving
from tests.unit.notifier.fakes import FakeMailer

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def a_mail(**changes: Any) -> Mail:
    values: dict[str, Any] = {
        "notification_id": "ntf_1",
        "kind": Kind.PAYMENT_FAILED,
        "to": "dana@example.com",
        "to_name": "Dana Reyes",
        "from_name": "Sunrise Home Cleaning",
        "reply_to": "hello@sunrise.example",
        "subject": "Your payment didn’t go through",
        "text": "Hello Dana,\nhttps://portal.example/me/SECRET?from=payment_failed\n",
        "html": '<html><body><a href="https://portal.example/me/SECRET">Update</a></body></html>',
    }
    return Mail(**(values | changes))


OWN_SENDERS = (
    "billing@sunrise-cleaning.example",
    "billing@not-yet.example",
    "billing@nobody-asked.example",
    "unverified@sunrise-cleaning.example",
)
"""Of a domain that SendGrid has authenticated, of one whose records are missing, of one that it has never heard of, and one
that it refuses although its domain is on the list."""


@dataclass
class Case:
    """A mailer, a way to see what arrived, and a way to have it answer something else than yes."""

    mailer: Mailer
    arrived: Callable[[], list[tuple[str, str]]]
    """(address, notification id) of each message that the provider took."""


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox("http://127.0.0.1:9", event_delay=0)


@pytest.fixture
def sandbox(mailbox: Mailbox) -> Iterator[str]:
    app = Flask(__name__)
    app.register_blueprint(blueprint(mailbox))
    with serving(app) as base:
        yield base


@pytest.fixture(params=["fake", "real"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        fake = FakeMailer()
        yield Case(fake, lambda: [(mail.to, mail.notification_id) for mail in fake.inbox])
        return
    mailbox: Mailbox = request.getfixturevalue("mailbox")
    real = _real(request.getfixturevalue("sandbox"))
    yield Case(
        real,
        lambda: [
            (mail.to, str(mail.document()["custom_args"]["notification_id"]))
            for mail in reversed(mailbox.mails())
        ],
    )
    real.close()


def _real(base: str, timeouts: tuple[float, float] = (2, 2)) -> SendGridMailer:
    account = SendGridAccount("SG.test.key", base)
    return SendGridMailer(
        "SG.test.key",
        base,
        "billing@mail.example.com",
        senders=SenderDomains(account.authenticated_domains),
        now=lambda: NOW,
        timeouts=timeouts,
    )


def test_a_message_is_accepted_with_an_id_and_arrives(case: Case) -> None:
    """202 with a message id, and the provider has it."""
    outcome = case.mailer.send(a_mail())
    assert isinstance(outcome, Accepted)
    assert outcome.message_id
    assert case.arrived() == [("dana@example.com", "ntf_1")]


def test_sending_twice_is_two_messages(case: Case) -> None:
    """There is no idempotency on send: whoever calls twice mails twice, which is why the rows are guarded."""
    case.mailer.send(a_mail())
    case.mailer.send(a_mail(notification_id="ntf_2"))
    assert [notification_id for _, notification_id in case.arrived()] == ["ntf_1", "ntf_2"]


def test_a_sender_of_its_own_loses_no_message(case: Case) -> None:
    """Whatever SendGrid lets a business send from, its message goes out, and once."""
    for number, address in enumerate(OWN_SENDERS):
        mail = a_mail(notification_id=f"ntf_{number}", sender_email=address, platform="Portico")
        assert isinstance(case.mailer.send(mail), Accepted)
    assert len(case.arrived()) == len(OWN_SENDERS)


def test_names_with_commas_quotes_and_newlines_arrive_at_the_right_address(case: Case) -> None:
    """A display name can neither add a recipient nor break a header."""
    nasty = 'Smith, "Jo" <evil@example.com>;\r\nBcc: evil@example.com'
    outcome = case.mailer.send(a_mail(to_name=nasty, from_name=nasty))
    assert isinstance(outcome, Accepted)
    assert [to for to, _ in case.arrived()] == ["dana@example.com"]


# --- what only the real one has: the wire ---------------------------------------------------------------------------


def test_messages_of_one_business_have_their_own_words_each(mailbox: Mailbox, sandbox: str) -> None:
    """What a message has in common with the last one is made once; nothing else of that one is in it."""
    real = _real(sandbox)
    first = a_mail()
    second = a_mail(
        notification_id='ntf_"2"',
        to="ann+2@example.com",
        to_name="",
        subject='“Ann” & "Bob" \u2028',
        text="Second\n",
        html='<p title="2">é</p>',
    )
    for mail in (first, second, first):
        assert isinstance(real.send(mail), Accepted)
    real.close()
    of_its_own = ("to", "to_name", "custom_args", "subject", "text", "html")
    again, other, once = (
        {name: mail.document()[name] for name in of_its_own} for mail in mailbox.mails()
    )
    assert again == once
    assert other == {
        "to": second.to,
        "to_name": "",
        "custom_args": {"notification_id": second.notification_id},
        "subject": second.subject,
        "text": second.text,
        "html": second.html,
    }


@pytest.mark.parametrize(
    ("address", "sender", "name"),
    [
        (OWN_SENDERS[0], OWN_SENDERS[0], "Sunrise Home Cleaning"),
        (
            "pay@mail.sunrise-cleaning.example",
            "pay@mail.sunrise-cleaning.example",
            "Sunrise Home Cleaning",
        ),
        *(
            (address, "billing@mail.example.com", "Sunrise Home Cleaning via Portico")
            for address in (None, *OWN_SENDERS[1:])
        ),
    ],
)
def test_a_business_sends_as_itself_once_sendgrid_has_authenticated_its_domain(
    mailbox: Mailbox, sandbox: str, address: str | None, sender: str, name: str
) -> None:
    """Its own address then; else, and where SendGrid refuses it all the same, the installation's, which says who sends for
    whom. Replies reach the business either way."""
    mailer = _real(sandbox)
    mailer.send(a_mail(sender_email=address, platform="Portico"))
    assert mailer.sender_of(address) == sender
    mailer.close()
    (mail,) = mailbox.mails()
    document = mail.document()
    assert (document["from"], document["from_name"]) == (sender, name)
    assert (document["reply_to"], document["reply_to_name"]) == (
        "hello@sunrise.example",
        "Sunrise Home Cleaning",
    )


def test_all_pages_of_the_authenticated_domains_are_read(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account may have 3,000 domains; SendGrid lists 50 at a time. Those whose records are missing don't count."""
    many = {f"b{number}.example": number != 7 for number in range(120)}
    monkeypatch.setattr("sandbox.mail.views.DOMAINS", many)
    account = SendGridAccount("SG.test.key", sandbox)
    assert account.authenticated_domains() == many.keys() - {"b7.example"}
    account.close()


def test_the_message_on_the_wire(mailbox: Mailbox, sandbox: str) -> None:
    """Tracking is off everywhere, only the opaque id and the kind are kept by SendGrid, replies reach the
    business, and the sender is the business by name and the platform by address."""
    mailer = _real(sandbox)
    mailer.send(a_mail())
    mailer.close()
    (mail,) = mailbox.mails()
    document = mail.document()
    assert document["from"] == "billing@mail.example.com"
    assert document["from_name"] == "Sunrise Home Cleaning"
    assert (document["reply_to"], document["reply_to_name"]) == (
        "hello@sunrise.example",
        "Sunrise Home Cleaning",
    )
    assert document["custom_args"] == {"notification_id": "ntf_1"}
    assert document["categories"] == ["payment_failed"]
    assert document["tracking_settings"]["click_tracking"] == {
        "enable": False,
        "enable_text": False,
    }
    assert document["tracking_settings"]["open_tracking"]["enable"] is False
    assert document["tracking_settings"]["subscription_tracking"]["enable"] is False
    assert (document["subject"], document["text"], document["html"]) == (
        a_mail().subject,
        a_mail().text,
        a_mail().html,
    )


def test_a_late_bounce_is_known_by_the_id_that_the_message_was_taken_with(
    mailbox: Mailbox, sandbox: str
) -> None:
    """Hours later a mail server sends the mail back: the report names the message, by more than the id that we were told."""
    mailer = _real(sandbox)
    taken = mailer.send(a_mail())
    mailer.close()
    assert isinstance(taken, Accepted)
    (mail,) = mailbox.mails()
    body = encode([mailbox.report(mail, "bounce", named=False).event])
    now = dt.datetime.now(dt.UTC)
    signed = mailbox.events.key.headers(body, int(now.timestamp()))
    (found,) = SignedEvents(mailbox.public_key).read(body, signed, now)
    assert (found.what, found.permanent, found.notification_id) == (Delivery.BOUNCED, True, "")
    assert found.message_id == taken.message_id


def test_an_address_that_sendgrid_refuses_is_final_and_not_repeated_in_words(sandbox: str) -> None:
    """400: the reason is kept, the address is not."""
    mailer = _real(sandbox)
    outcome = mailer.send(a_mail(to="nobody@"))
    mailer.close()
    assert isinstance(outcome, Refused)
    assert outcome.why.startswith("400 from SendGrid")
    assert "nobody@" not in outcome.why


@dataclass
class Answers:
    """A server that gives one prepared answer to every request."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    connections: set[int] = field(default_factory=set)
    """The clients' ports, one a connection."""
    complaint: str = "no"


@pytest.fixture
def answering() -> Iterator[Callable[[Answers], str]]:
    def start(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                answers.connections.add(self.client_address[1])
                self.rfile.read(int(self.headers["Content-Length"]))
                if answers.delay:
                    time.sleep(answers.delay)
                if answers.status == 0:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = json.dumps(
                    {"errors": [{"message": answers.complaint, "field": None}]}
                ).encode()
                self.send_response(answers.status)
                for name, value in answers.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client has lost patience
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                return None

        server = servers.enter_context(running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)))
        return f"http://127.0.0.1:{server.server_port}"

    with contextlib.ExitStack() as servers:
        yield start


def _outcome(base: str) -> Outcome:
    mailer = _real(base, timeouts=(0.5, 0.5))
    try:
        return mailer.send(a_mail())
    finally:
        mailer.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (202, Accepted),
        (200, Accepted),
        (302, Unavailable),
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (413, Refused),
        (408, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, MaybeSent),
    ],
)
def test_every_answer_has_its_meaning(
    answering: Callable[[Answers], str], status: int, kind: type
) -> None:
    """Permanent, temporary or unknown: what the sender does next hangs on it."""
    assert isinstance(_outcome(answering(Answers(status))), kind)


def test_429_says_when_to_come_back(answering: Callable[[Answers], str]) -> None:
    """X-RateLimit-Reset is the moment; without it a minute passes."""
    reset = NOW + dt.timedelta(seconds=17)
    told = answering(Answers(429, {"X-RateLimit-Reset": str(int(reset.timestamp()))}))
    assert _outcome(told) == RateLimited(reset)
    assert _outcome(answering(Answers(429))) == RateLimited(NOW + dt.timedelta(seconds=60))


def test_a_plan_that_is_used_up_takes_mail_again_later(answering: Callable[[Answers], str]) -> None:
    """Of all refusals with 401 it is the one that ends by itself, with the next day or month: no fault of the key."""
    base = answering(Answers(401, complaint="Maximum credits exceeded"))
    assert _outcome(base) == RateLimited(NOW + dt.timedelta(seconds=60), OUT_OF_CREDITS)


def test_no_answer_in_time_is_maybe_sent(answering: Callable[[Answers], str]) -> None:
    """The request left; whether SendGrid took it nobody knows."""
    assert isinstance(_outcome(answering(Answers(202, delay=1.5))), MaybeSent)


def test_a_connection_that_breaks_after_the_request_is_maybe_sent(
    answering: Callable[[Answers], str],
) -> None:
    """The same for a connection that is cut before the answer."""
    assert isinstance(_outcome(answering(Answers(0))), MaybeSent)


def test_a_refused_connection_is_certainly_not_sent() -> None:
    """Nobody listens: the request never left, so it is simply tried again."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert isinstance(_outcome(f"http://127.0.0.1:{port}"), Unavailable)


def test_connections_are_reused(answering: Callable[[Answers], str]) -> None:
    """One pooled connection carries many messages: a new one each costs twenty times the CPU."""
    answers = Answers(202)
    mailer = _real(answering(answers))
    for _ in range(5):
        mailer.send(a_mail())
    mailer.close()
    assert len(answers.connections) == 1
