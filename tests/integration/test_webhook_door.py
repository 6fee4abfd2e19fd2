"""`POST /webhooks/stripe` from outside: what is let in, what is refused, and what a payload becomes."""

from __future__ import annotations

import http.client
import json
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from local.processes import Stack
from tests.fixtures.story import Story, eventually
from tests.fixtures.webhooks import deliver, golden, signature

Rows = Callable[..., list[tuple[Any, ...]]]


def inbox_size(rows: Rows) -> int:
    return int(rows("billing", "SELECT count(*) FROM inbox")[0][0])


def refusals(secret: str) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Every way to be refused: what is wrong, the body, the headers."""
    good = json.dumps(golden("invoice.payment_failed", "cus_door")).encode()
    now = time.time()

    def signed(body: bytes) -> dict[str, str]:
        return {"Stripe-Signature": signature(body, secret)}

    return {
        "no signature": (good, {}),
        "empty signature": (good, {"Stripe-Signature": ""}),
        "garbled signature": (good, {"Stripe-Signature": "t=,v1=,,="}),
        "foreign secret": (good, {"Stripe-Signature": signature(good, "whsec_somebody_elses")}),
        "another body": (good + b" ", signed(good)),
        "stale": (good, {"Stripe-Signature": signature(good, secret, now - 3600)}),
        "from the future": (good, {"Stripe-Signature": signature(good, secret, now + 3600)}),
        "not UTF-8": (b'{"id": "\xff\xfe"}', signed(b'{"id": "\xff\xfe"}')),
        "not JSON": (b"hello", signed(b"hello")),
        "empty": (b"", signed(b"")),
        "a list": (b"[]", signed(b"[]")),
        "no event": (b'{"object": "charge"}', signed(b'{"object": "charge"}')),
        "type is a number": (b'{"id":"evt_1","type":3}', signed(b'{"id":"evt_1","type":3}')),
    }


@pytest.mark.parametrize("what", list(refusals("")))
def test_what_is_refused_is_400_and_not_stored(stack: Stack, rows: Rows, what: str) -> None:
    """Unsigned, wrongly signed, stale, future, or no event: 400, a reason, and no row."""
    body, headers = refusals(stack.webhook_secret)[what]
    before = inbox_size(rows)
    answer = deliver(stack.billing_url, body, "", headers=headers)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
    assert inbox_size(rows) == before


def test_a_body_over_a_mebibyte_is_413(stack: Stack, rows: Rows) -> None:
    """Too large, declared or sent in chunks: refused, not stored, and the client hears why."""
    body = b" " * (1 << 20) + b"{}"
    before = inbox_size(rows)
    headers = {"Stripe-Signature": signature(body, stack.webhook_secret)}
    assert deliver(stack.billing_url, body, "", headers=headers).status_code == 413
    host = stack.billing_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    connection.request(
        "POST", "/webhooks/stripe", body=chunks, headers=headers, encode_chunked=True
    )
    assert connection.getresponse().status in (400, 413)
    connection.close()
    assert inbox_size(rows) == before


def test_a_signed_event_that_makes_no_sense_is_kept(stack: Stack, rows: Rows) -> None:
    """Well signed and of our type but unreadable: 200, stored, quarantined with the reason, and counted."""
    event = golden("invoice.payment_failed", "cus_door", amount_due="a lot")
    answer = deliver(stack.billing_url, event, stack.webhook_secret)
    assert (answer.status_code, answer.json()["received"]) == (200, "quarantined")
    [(status, reason)] = rows(
        "billing", "SELECT status, reason FROM inbox WHERE id = %s", event["id"]
    )
    assert status == "quarantined"
    assert "amount_due" in reason
    metrics = requests.get(f"{stack.billing_url}/metrics", timeout=10).text
    counted = 'stripe_webhooks_total{outcome="quarantined",type="invoice.payment_failed"}'
    assert f"\nportico_{counted}" in metrics
    assert f"\n{counted}" in metrics  # its name of the release before
    assert f'portico_build_info{{python="{platform.python_version()}",service="billing"' in metrics
    assert "_created" not in metrics


def test_other_peoples_events_are_stored_and_acknowledged(stack: Stack, rows: Rows) -> None:
    """An event that is none of ours is kept and answered 200: an error would make Stripe repeat it for days."""
    event = golden("product.updated", "cus_door")
    assert deliver(stack.billing_url, event, stack.webhook_secret).status_code == 200
    assert rows("billing", "SELECT status FROM inbox WHERE id = %s", event["id"]) == [("ignored",)]


def test_a_hundred_copies_at_once_are_one_event(story: Story, stack: Stack, rows: Rows) -> None:
    """One event delivered a hundred times in parallel is one inbox row, one outbox row and one mail."""
    customer = story.customer("card saved")
    event = golden("invoice.payment_failed", str(customer.stripe_id))
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: deliver(stack.billing_url, event, stack.webhook_secret), range(100))
        )
    assert {answer.status_code for answer in answers} == {200}
    story.mail_to(customer)
    assert rows("billing", "SELECT count(*) FROM inbox WHERE id = %s", event["id"]) == [(1,)]
    time.sleep(1)
    assert len(story.mails(customer.email)) == 1


@pytest.mark.parametrize(
    "shape",
    [
        "invoice.payment_failed.2020-08-27",
        "invoice.payment_failed.2025-04-30.basil",
        "invoice.payment_failed",
    ],
)
def test_payloads_of_every_api_version_become_the_right_mail(
    story: Story, stack: Stack, shape: str
) -> None:
    """Before and after 2025-03-31: the mail names amount, currency and business all the same."""
    customer = story.customer("card saved")
    event = golden(
        shape,
        str(customer.stripe_id),
        amount_due=123456,
        amount_remaining=123456,
        currency="eur",
    )
    assert deliver(stack.billing_url, event, stack.webhook_secret).status_code == 200
    mail = story.mail_to(customer)
    assert "€1,234.56" in mail["text"]
    assert "€1,234.56" in mail["html"]
    assert mail["subject"] == "€1,234.56 didn’t go through"
    assert "Green Gardens" in mail["text"]
    assert mail["to"] == customer.email


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"collection_method": "send_invoice"}, "autopay"),
        ({"amount_remaining": 0}, ""),
        ({"status": "paid"}, ""),
        ({"billing_reason": "subscription_create"}, "checkout"),
    ],
)
def test_what_concerns_nobody_is_not_mailed(
    story: Story, stack: Stack, rows: Rows, change: dict[str, Any], reason: str
) -> None:
    """A failure that is no autopay failure leaves a notification with the reason, and no mail."""
    customer = story.customer("card saved")
    event = golden("invoice.payment_failed", str(customer.stripe_id), **change)
    deliver(stack.billing_url, event, stack.webhook_secret)
    found = eventually(
        lambda: rows(
            "notifier",
            "SELECT status, reason FROM notifications WHERE invoice_id = %s",
            event["data"]["object"]["id"],
        ),
        what="the recorded reason",
    )
    assert [status for status, _ in found] == ["suppressed"]
    assert found[0][1]
    assert story.mails(customer.email) == []
