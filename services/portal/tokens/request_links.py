"""The links with which a business answers a request: signed, made when a mail is sent, stored nowhere.

A token is `<23 characters>.<43 characters>`: the request's 16 bytes and one byte for the answer, and the signature.
That a link works once is the request's state, not the link's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.portal.domain import base64url
from services.portal.domain.cancelling import Decision
from services.portal.domain.people import PUBLIC_ID_BYTES, public_id_bytes
from services.portal.tokens.signing import BadToken, Codec, token_form
from shared.settings import Secret

SALT: Final = b"portico.portal.requests.v1"
SIZE: Final = PUBLIC_ID_BYTES + 1
TOKEN: Final = token_form(SIZE)
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
        self._codec = Codec(keys, salt=SALT, size=SIZE)

    def url(self, request_id: str, decision: Decision) -> str:
        """The address of the page on which the business answers."""
        return f"{self._base}/requests/{self.token(request_id, decision)}"

    def token(self, request_id: str, decision: Decision) -> str:
        """What gives this answer when it is posted."""
        return self._codec.write(public_id_bytes(request_id) + bytes([CODES[decision]]))

    def read(self, token: str) -> Answer:
        """What a token says. Raises BadToken when it isn't exactly as `url` writes it."""
        raw = self._codec.read(token)
        decision = {code: decision for decision, code in CODES.items()}.get(raw[-1])
        if decision is None:
            raise BadToken
        return Answer(base64url.encode(raw[:PUBLIC_ID_BYTES]), decision)
