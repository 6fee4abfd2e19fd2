"""base64url without padding, in its one canonical spelling (RFC 4648, sections 3.5 and 5)."""

from __future__ import annotations

import base64


def encode(raw: bytes) -> str:
    """The bytes as `[A-Za-z0-9_-]`."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a text. Raises ValueError unless it is exactly as `encode` writes them: base64 has several spellings of
    the same bytes, and one customer has one address, in caches, limits and logs alike."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
