"""Checkout references: what a Checkout session's `client_reference_id` must be to say whose its Stripe customer is.

Anybody can put anything there, by the address of a Payment Link; what Portico signed can't be made up. A reference is 86
characters of `[A-Za-z0-9_-]`: Payment Links drop other characters, and more than 200
(https://docs.stripe.com/payment-links/url-parameters). It holds 16 bytes of the customer's public id, 12 of a digest of the
business's id, and 4 of the time in seconds, and is signed under the link keys with a salt of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.portal.domain import base64url
from services.portal.domain.people import PUBLIC_ID_BYTES, public_id_bytes
from services.portal.tokens.signing import Codec
from shared.settings import Secret

SALT: Final = b"portico.portal.checkout-references.v1"
DIGEST_BYTES: Final = 12
TIME_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class CheckoutReference:
    """What a reference says: for which customer it was made, and when."""

    public_id: str
    business_digest: bytes
    made_at: dt.datetime

    def is_of(self, business_id: str) -> bool:
        """Whether it was made for a customer of this business."""
        return hmac.compare_digest(self.business_digest, _digest(business_id))


class CheckoutReferences:
    """Makes and reads references. The first of `keys` signs."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        size = PUBLIC_ID_BYTES + DIGEST_BYTES + TIME_BYTES
        self._codec = Codec(keys, salt=SALT, size=size, separator="")

    def write(self, public_id: str, business_id: str, now: dt.datetime) -> str:
        """A reference for a customer of a business."""
        seconds = int(now.timestamp()).to_bytes(TIME_BYTES, "big")
        return self._codec.write(public_id_bytes(public_id) + _digest(business_id) + seconds)

    def read(self, text: str) -> CheckoutReference:
        """What a reference says. Raises BadToken when it isn't exactly as `write` writes it."""
        raw = self._codec.read(text)
        return CheckoutReference(
            public_id=base64url.encode(raw[:PUBLIC_ID_BYTES]),
            business_digest=raw[PUBLIC_ID_BYTES:-TIME_BYTES],
            made_at=dt.datetime.fromtimestamp(int.from_bytes(raw[-TIME_BYTES:], "big"), dt.UTC),
        )


def _digest(business_id: str) -> bytes:
    return hashlib.sha256(business_id.encode()).digest()[:DIGEST_BYTES]
