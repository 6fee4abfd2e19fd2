"""`portico mail test`: what SendGrid answers, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portico.cli.rpc import Fault
from services.notifier.domain.sending import OUT_OF_CREDITS
from tests.unit.cli.conftest import FakeServices, Run

SENT = ("notifier", "send_test_mail")


def test_a_test_mail_goes_to_the_address_that_was_typed(run: Run, services: FakeServices) -> None:
    """With the kind and the language asked for, in the name of a business only where one is named."""
    services.answers[SENT] = {"outcome": "accepted", "sender": "billing@portico.example"}
    done = run("mail", "test", "--to", "me@example.com")
    assert done.exit_code == 0
    assert "SendGrid has taken the email to me@example.com, from billing@portico.example" in (
        done.stdout
    )
    words = ("--business", "harbor", "--kind", "collection_ended", "--language", "de")
    run("mail", "test", "--to", "me@example.com", *words)
    assert [asked for _, _, asked in services.asked] == [
        {"to": "me@example.com", "kind": "payment_failed", "locale": "en"},
        {"to": "me@example.com", "kind": "collection_ended", "locale": "de"}
        | {"business_id": "harbor"},
    ]


def test_a_business_whose_own_sender_is_not_used_is_told(run: Run, services: FakeServices) -> None:
    """Since its domain is not authenticated; one that is used needs no word."""
    sent = {"outcome": "accepted", "business_sender": "pay@harbor.example"}
    services.answers[SENT] = sent | {"sender": "billing@portico.example"}
    words = ("mail", "test", "--to", "me@example.com", "--business", "harbor")
    assert "Not from pay@harbor.example: its domain" in run(*words).stdout
    services.answers[SENT] = sent | {"sender": "pay@harbor.example"}
    assert "Not from" not in run(*words).stdout


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            {"outcome": "refused", "why": "401 from SendGrid: no reason given"},
            1,
            "401 from SendGrid: no reason given; `portico doctor --service notifier`",
        ),
        (
            {"outcome": "rate_limited", "retry_at": "2026-11-23T10:00:00Z"},
            3,
            "SendGrid takes no more mail before 2026-11-23 10:00:00 UTC",
        ),
        (
            {"outcome": "rate_limited", "why": OUT_OF_CREDITS, "retry_at": "2026-11-23T10:00:00Z"},
            3,
            "401: SendGrid's plan has no credits left: take a larger plan there, or wait",
        ),
        (
            {"outcome": "unavailable", "why": "no connection to SendGrid: SSLError"},
            3,
            "no connection to SendGrid: SSLError; look at SENDGRID_API_BASE",
        ),
        (
            {"outcome": "unconfirmed", "why": "no answer from SendGrid in time"},
            3,
            "it may have been taken: look into the inbox",
        ),
    ],
)
def test_what_sendgrid_answers_is_said_with_what_to_do(
    answer: dict[str, Any], code: int, words: str, run: Run, services: FakeServices
) -> None:
    """Each answer has its words and its exit code; a script has the answer itself, and the same code."""
    services.answers[SENT] = {"sender": "a@b.example", "business_sender": None, **answer}
    done = run("mail", "test", "--to", "me@example.com")
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    told = run("mail", "test", "--to", "me@example.com", "--json")
    assert (told.exit_code, json.loads(told.stdout)["outcome"]) == (code, answer["outcome"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Missing option '--to'"),
        (("--to", "me"), "expected an email address"),
        (("--to", ".me@example.com"), "expected an email address"),
        (("--to", "me..you@example.com"), "expected an email address"),
        (("--to", "m\u202ee@example.com"), "expected an email address"),
        (("--to", "me@example.com", "--business", ""), "expected the id of a business"),
        (("--to", "me@example.com", "--business", " "), "expected the id of a business"),
        (("--to", "me@example.com", "--kind", "birthday"), "expected one of payment_failed"),
        (("--to", "me@example.com", "--locale", "ja"), "no email is in this language"),
    ],
)
def test_wrong_words_send_nothing(
    words: tuple[str, ...], told: str, run: Run, services: FakeServices
) -> None:
    """They are found before anybody is asked."""
    done = run("mail", "test", *words, terminal_width=300)
    assert (done.exit_code, services.asked) == (2, [])
    assert told in done.stderr


def test_a_business_that_is_not_there_is_said(run: Run, services: FakeServices) -> None:
    """By the notifier, which asks the portal."""

    def missing(**_: Any) -> Any:
        raise Fault("NotFound", "business_id: no such business")

    services.answers[SENT] = missing
    done = run("mail", "test", "--to", "me@example.com", "--business", "nobody")
    assert (done.exit_code, "no such business" in done.stderr) == (1, True)
