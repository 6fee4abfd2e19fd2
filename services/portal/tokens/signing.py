"""Signed tokens: a few bytes and an HMAC-SHA256 of them, both as base64url. Nothing of a token is stored.

Each kind of token has a salt of its own, so that none is taken for another. A forged token is refused without touching
the database. Any number of keys can be current: the first one signs, all verify.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final

from services.portal.domain import base64url
from shared.settings import Secret

KEY_LENGTH: Final = 32
"""The least number of characters of a key."""
SIGNATURE_LENGTH: Final = 43
"""In characters."""
SEPARATOR: Final = "."
"""Between the bytes and the signature, where the token stands in an address."""


class BadToken(ValueError):
    """The token is not one of ours."""


def token_form(size: int, separator: str = SEPARATOR) -> re.Pattern[str]:
    """What every token of `size` bytes looks like, whoever signed it."""
    letter = "[A-Za-z0-9_-]"
    return re.compile(
        rf"{letter}{{{_characters(size)}}}{re.escape(separator)}{letter}{{{SIGNATURE_LENGTH}}}"
    )


def _characters(size: int) -> int:
    return -(-size * 4 // 3)  # base64 without its padding


class Codec:
    """Makes and reads the tokens of one kind: `size` bytes, the separator, the signature."""

    def __init__(
        self, keys: Sequence[Secret], *, salt: bytes, size: int, separator: str = SEPARATOR
    ) -> None:
        """Raises ValueError without keys, or for one with less than 32 characters."""
        if not keys or any(len(key.reveal()) < KEY_LENGTH for key in keys):
            raise ValueError(f"link keys have at least {KEY_LENGTH} characters")
        # A key of each kind's own, derived once and not for each token; newest first.
        self._keys = [hmac.digest(key.reveal().encode(), salt, "sha256") for key in keys]
        self._split = _characters(size)
        self._separator = separator
        self._form = token_form(size, separator)

    def write(self, payload: bytes) -> str:
        """The token of these bytes: always the same for the same key."""
        signed = base64url.encode(payload)
        return f"{signed}{self._separator}{base64url.encode(_signature(self._keys[0], signed))}"

    def read(self, token: str) -> bytes:
        """The bytes of a token. Raises BadToken when it isn't exactly as `write` writes it."""
        if not self._form.fullmatch(token):
            raise BadToken
        signed, signature = token[: self._split], token[-SIGNATURE_LENGTH:]
        try:
            raw, given = base64url.decode(signed), base64url.decode(signature)
        except ValueError:
            raise BadToken from None
        valid = False
        for key in self._keys:
            valid |= hmac.compare_digest(_signature(key, signed), given)
        if not valid:
            raise BadToken
        return raw


def _signature(key: bytes, signed: str) -> bytes:
    return hmac.digest(key, signed.encode("ascii"), "sha256")
