"""Signed links: a customer's public id and link generation under an HMAC. Nothing of a link is stored.

A token is `<27 characters>.<43 characters>`: base64url of 16 bytes public id and 4 bytes generation, and of an
HMAC-SHA256. A forged token is refused without touching the database; raising the generation revokes a customer's
old links; any number of keys can be current, the first one signs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from itsdangerous import Signer

from services.portal.domain.people import PUBLIC_ID_BYTES, public_id_bytes, public_id_text
from shared.settings import Secret

SALT: Final = b"portico.portal.links.v1"
KEY_LENGTH: Final = 32
"""The least number of characters of a key."""
MAX_GENERATION: Final = 2**32 - 1
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{27}\.[A-Za-z0-9_-]{43}")


class BadToken(ValueError):
    """The token is not one of ours."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says: whose link it is, and of which generation."""

    public_id: str
    generation: int


class Links:
    """Makes and reads tokens. The first of `keys` signs; each has at least 32 characters."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        if not keys or any(len(key.reveal()) < KEY_LENGTH for key in keys):
            raise ValueError(f"link keys have at least {KEY_LENGTH} characters")
        self._base = public_url.rstrip("/")
        # itsdangerous wants the newest key last.
        signer = Signer(
            [key.reveal() for key in reversed(keys)],
            salt=SALT,
            sep=".",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # Its keys, derived once and not for each token; newest first.
        self._keys = [signer.derive_key(key) for key in reversed(signer.secret_keys)]

    def token(self, public_id: str, generation: int) -> str:
        """The token of a customer's link: always the same for the same key, customer and generation."""
        if not 0 < generation <= MAX_GENERATION:
            raise ValueError("a generation is a positive 32-bit number")
        payload = public_id_bytes(public_id) + generation.to_bytes(4, "big")
        signed = base64.urlsafe_b64encode(payload).rstrip(b"=")
        signature = hmac.digest(self._keys[0], signed, "sha256")
        return f"{signed.decode('ascii')}.{_encode(signature)}"

    def read(self, token: str) -> Claim:
        """What a token says. Raises BadToken when it isn't exactly as `token` writes it."""
        if not TOKEN.fullmatch(token):
            raise BadToken
        payload, _, signature = token.partition(".")
        raw, given = _decode(payload), _decode(signature)
        # base64 has several spellings of the same bytes: only the canonical one is a link, so that one customer
        # has one address, in caches, limits and logs alike.
        if _encode(raw) != payload or _encode(given) != signature:
            raise BadToken
        signed = payload.encode("ascii")
        valid = False
        for key in self._keys:
            valid |= hmac.compare_digest(hmac.digest(key, signed, "sha256"), given)
        if not valid:
            raise BadToken
        return Claim(
            public_id=public_id_text(raw[:PUBLIC_ID_BYTES]),
            generation=int.from_bytes(raw[PUBLIC_ID_BYTES:], "big"),
        )

    def url(self, token: str) -> str:
        """The address of a link, built from our own settings, never from a request."""
        return f"{self._base}/me/{token}"


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
