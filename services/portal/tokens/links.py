"""Customers' links: a public id and a link generation, signed (docs/adr/0003).

A token is `<27 characters>.<43 characters>`: 16 bytes of public id and 4 of generation, and the signature. Raising the
generation revokes a customer's old links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.portal.domain import base64url
from services.portal.domain.people import PUBLIC_ID_BYTES, public_id_bytes
from services.portal.tokens.signing import Codec, token_form
from shared.settings import Secret

SALT: Final = b"portico.portal.links.v1"
SIZE: Final = PUBLIC_ID_BYTES + 4
TOKEN: Final = token_form(SIZE)
MAX_GENERATION: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says: whose link it is, and of which generation."""

    public_id: str
    generation: int


class Links:
    """Makes and reads tokens. The first of `keys` signs; each has at least 32 characters."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._base = public_url.rstrip("/")
        self._codec = Codec(keys, salt=SALT, size=SIZE)

    def token(self, public_id: str, generation: int) -> str:
        """The token of a customer's link: always the same for the same key, customer and generation."""
        if not 0 < generation <= MAX_GENERATION:
            raise ValueError("a generation is a positive 32-bit number")
        return self._codec.write(public_id_bytes(public_id) + generation.to_bytes(4, "big"))

    def read(self, token: str) -> Claim:
        """What a token says. Raises BadToken when it isn't exactly as `token` writes it."""
        raw = self._codec.read(token)
        return Claim(
            public_id=base64url.encode(raw[:PUBLIC_ID_BYTES]),
            generation=int.from_bytes(raw[PUBLIC_ID_BYTES:], "big"),
        )

    def url(self, token: str) -> str:
        """The address of a link, built from our own settings, never from a request."""
        return f"{self._base}/me/{token}"
