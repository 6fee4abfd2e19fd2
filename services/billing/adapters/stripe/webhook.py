"""Who may speak to `POST /webhooks/stripe`: the signature check, before anything is parsed or stored.

Written here rather than called from the stripe library, for three reasons: the library takes one secret a call and
rotation needs several; its tolerance looks only at the past, so a timestamp a year ahead passes; and its exception
carries the whole payload in `args`, which any careless log line would print.
https://docs.stripe.com/webhooks#verify-manually
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from shared.clock import CLOCKS_APART

HEADER: Final = "Stripe-Signature"
TOLERANCE_SECONDS: Final = int(CLOCKS_APART.total_seconds())
SCHEME: Final = b"v1"


class BadSignature(Exception):
    """The request was not signed by Stripe, or not now. The text says which, without quoting anything."""


def verify(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> None:
    """Raise BadSignature unless `header` (HEADER) signs exactly these bytes with one of `secrets`.

    `now` is in seconds since the epoch; a timestamp more than TOLERANCE_SECONDS before or after it is
    refused. Every secret and signature is compared in constant time.
    """
    stamp, signatures = read_header(header)
    valid = False
    for secret in secrets:
        signed = _keyed(secret).copy()
        signed.update(stamp + b".")
        signed.update(
            body
        )  # as it lies there: behind the timestamp a large one would lie there twice
        expected = signed.hexdigest().encode()
        for signature in signatures:
            valid |= hmac.compare_digest(expected, signature)
    if not valid:
        raise BadSignature("the signature is wrong")
    age = now - int(stamp)
    if abs(age) > TOLERANCE_SECONDS:
        # Stripe signs each delivery anew: with all of them it is our clock that is off.
        where = "old" if age > 0 else "ahead"
        raise BadSignature(
            f"the signature is right and {abs(age):.0f} s {where}, by this machine's clock"
        )


@lru_cache(maxsize=16)
def _keyed(secret: str) -> hmac.HMAC:
    """The HMAC of nothing under a secret, to be copied: a key is worked in once and not for each webhook."""
    return hmac.new(secret.encode(), digestmod=hashlib.sha256)


@lru_cache(maxsize=16)
def read_header(header: str | None) -> tuple[bytes, tuple[bytes, ...]]:
    """The timestamp and the signatures that a HEADER names. Raises BadSignature when it can't be one of Stripe's,
    whatever the body says. Asked before a body is read and again when it is there, so the last answers are remembered."""
    if not header:
        raise BadSignature("the signature is missing")
    stamp = b""
    signatures = []
    for item in header.encode("utf-8", "replace").split(b","):
        name, _, value = item.strip().partition(b"=")
        if name == b"t" and not stamp:
            stamp = value
        elif name == SCHEME:
            signatures.append(value)
    if not (stamp.isdigit() and len(stamp) <= 12) or not signatures:
        raise BadSignature("the signature header can't be read")
    return stamp, tuple(signatures)
