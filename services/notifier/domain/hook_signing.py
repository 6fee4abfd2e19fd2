"""Signatures of webhooks to hosts, as Standard Webhooks has them (standard-webhooks/spec, 1.0.0). Secrets are derived, and stored
nowhere: from the newest key of `HOOK_KEYS`, the endpoint's id and the generation of its secret."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
BOTH_FOR: Final = dt.timedelta(days=1)
"""How long after a rotation the secrets before sign too."""
SIGNING_BEFORE: Final = 5
"""How many of them: whoever rotates again, since the answer was lost, verifies with one that is older than the last. More signatures help
nobody who has only an old secret: it is the host who verifies."""


class Signer:
    """Makes endpoints' secrets, and signs with them."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`, newest first. Each endpoint's secret changes with the first one; the others sign too while they are given."""
        self._keys = [key.encode() for key in keys]

    @property
    def is_on(self) -> bool:
        """Whether there is a key, and so webhooks to hosts at all."""
        return bool(self._keys)

    def secret(self, endpoint_id: str, generation: int) -> str:
        """What the host verifies with: `whsec_` and 32 bytes in base64."""
        return PREFIX + base64.b64encode(_derived(self._keys[0], endpoint_id, generation)).decode()

    def headers(
        self,
        *,
        endpoint_id: str,
        generation: int,
        rotated_at: dt.datetime | None,
        message_id: str,
        body: bytes,
        now: dt.datetime,
    ) -> dict[str, str]:
        """The three headers of one attempt, over the bytes that are sent. `rotated_at`: when the generation before this one ended."""
        lately = rotated_at is not None and now - rotated_at < BOTH_FOR
        oldest = max(1, generation - SIGNING_BEFORE) if lately else generation
        generations = range(generation, oldest - 1, -1)
        timestamp = str(int(now.timestamp()))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        signatures = [
            base64.b64encode(
                hmac.digest(_derived(key, endpoint_id, one), signed, hashlib.sha256)
            ).decode()
            for one in generations
            for key in self._keys
        ]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }


def _derived(key: bytes, endpoint_id: str, generation: int) -> bytes:
    return hmac.digest(key, f"portico-hook/{endpoint_id}/{generation}".encode(), hashlib.sha256)
