"""Webhooks as Stripe would send them, thousands of them: built from the golden payloads, signed here by hand."""

from __future__ import annotations

import copy
import functools
import hashlib
import hmac
import time
from typing import Any

from tests.fixtures.stripe_events import stripe_event

golden = functools.cache(stripe_event)
"""A golden payload that is shared: copy it before you change it."""


def invoice_event(
    type_: str,
    *,
    event_id: str,
    invoice_id: str,
    customer_id: str,
    attempt: int = 1,
    created: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """An event about an invoice; `fields` replace fields of the invoice itself."""
    event = copy.deepcopy(golden(type_))
    event["id"], event["created"] = event_id, created or event["created"]
    invoice = event["data"]["object"]
    invoice.update(id=invoice_id, customer=customer_id, attempt_count=attempt, **fields)
    return event


def other_event(name: str, *, event_id: str) -> dict[str, Any]:
    """An event that is not about an invoice of ours."""
    event = copy.deepcopy(golden(name))
    event["id"] = event_id
    return event


def signature(body: bytes, *secrets: str, at: int | None = None) -> str:
    """`Stripe-Signature` for exactly these bytes, with each secret that is in force (two while one is rolled).

    https://docs.stripe.com/webhooks#verify-manually
    """
    stamp = int(time.time()) if at is None else at
    signed = f"{stamp}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={stamp}", *(f"v1={digest}" for digest in digests)])
