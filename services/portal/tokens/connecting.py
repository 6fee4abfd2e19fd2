"""What lets a business connect its Stripe account: the link that it gets, and the state that goes to Stripe with it and comes back.

Each is 65 characters of `[A-Za-z0-9_-]`: 16 random bytes and the signature. What anybody made up is refused by that alone; what was signed
is worth what the database says of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from services.portal.tokens.signing import BadToken, Codec, token_form
from shared.settings import Secret

LINK_SALT: Final = b"portico.portal.connect-links.v1"
STATE_SALT: Final = b"portico.portal.connect-states.v1"
SIZE: Final = 16
LINK: Final = token_form(SIZE, "")


class SignedSecrets:
    """Makes the secrets of one kind, and knows them again. The first of `keys` signs."""

    def __init__(self, keys: Sequence[Secret], salt: bytes) -> None:
        self._codec = Codec(keys, salt=salt, size=SIZE, separator="")

    def new(self) -> str:
        """A secret that nobody has."""
        return self._codec.write(secrets.token_bytes(SIZE))

    def are_ours(self, secret: str) -> bool:
        """Whether it is one that `new` has made, in any process."""
        try:
            self._codec.read(secret)
        except BadToken:
            return False
        return True
