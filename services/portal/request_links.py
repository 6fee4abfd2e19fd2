"""The links with which a business answers a request: signed, made when a mail is sent, stored nowhere.

A token is `<23 characters>.<43 characters>`: base64url of the request's 16 bytes and one byte for the answer, and an
HMAC-SHA256 of it under the portal's link keys with a salt of its own, so that no customer's link is one of these.
That a link works once is the request's state, not the link's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from itsdangerous import BadSignature, Signer

from services.portal.domain.cancelling import Decision
from services.portal.domain.people import PUBLIC_ID_BYTES, public_id_bytes, public_id_text
from services.portal.links import BadToken
from shared.settings import Secret

SALT: Final = b"portico.portal.requests.v1"
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{23}\.[A-Za-z0-9_-]{43}")
CODES: Final = {Decision.APPROVE: 1, Decision.DECLINE: 2}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a token says: which request, and what the business says to it."""

    request_id: str
    decision: Decision


class RequestLinks:
    """Makes and reads tokens. The first of `keys` signs."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._base = public_url.rstrip("/")
        self._signer = Signer(
            [key.reveal() for key in reversed(keys)],
            salt=SALT,
            sep=".",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

    def url(self, request_id: str, decision: Decision) -> str:
        """The address of the page on which the business answers."""
        payload = public_id_bytes(request_id) + bytes([CODES[decision]])
        token = self._signer.sign(_encode(payload)).decode("ascii")
        return f"{self._base}/requests/{token}"

    def read(self, token: str) -> Answer:
        """What a token says. Raises BadToken when it isn't exactly as `url` writes it."""
        if not TOKEN.fullmatch(token):
            raise BadToken
        payload, _, signature = token.partition(".")
        if not (_canonical(payload) and _canonical(signature)):
            raise BadToken
        try:
            self._signer.unsign(token)
        except BadSignature:
            raise BadToken from None
        raw = _decode(payload)
        decision = {code: decision for decision, code in CODES.items()}.get(raw[-1])
        if decision is None:
            raise BadToken
        return Answer(public_id_text(raw[:PUBLIC_ID_BYTES]), decision)


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _canonical(text: str) -> bool:
    return _encode(_decode(text)).decode("ascii") == text
