"""Ids and secrets that look like Stripe's."""

from __future__ import annotations

import os
import secrets

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_id(prefix: str, length: int = 24) -> str:
    """A fresh id such as `cus_…`: `prefix`, an underscore and `length` letters or digits."""
    number = int.from_bytes(os.urandom(length * 6 // 8 + 1), "big")
    letters = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        letters.append(ALPHABET[digit])
    return f"{prefix}_{''.join(letters)}"


def secret(prefix: str) -> str:
    """An unguessable string for a URL or a client: 32 random bytes behind `prefix`."""
    return f"{prefix}_{secrets.token_urlsafe(32).replace('-', 'A').replace('_', 'B')}"
