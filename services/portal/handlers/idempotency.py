"""`Idempotency-Key`: a request that is sent again is answered as the first time, and done once.

A request is noted as under way in a transaction of its own; its effect and its answer are one transaction later. So it is done and its
answer kept, or neither. What failed is forgotten: nothing was written, and the same request may come again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from services.portal.queries import idempotency as requests
from shared.contracts.host_api import REPEATED_WITHIN

LEASE: Final = dt.timedelta(minutes=1)
"""After this time a request that was never answered is not under way any more: its process has died. No statement takes as long."""


class StillRunning(Exception):
    """The first request with this key is not answered yet."""


class OtherRequest(Exception):
    """The key was used for another body."""


@dataclass(frozen=True, slots=True)
class RequestName:
    """Which request it is, and what stands in it; digests of both."""

    digest: str
    body_digest: str

    @property
    def request_id(self) -> str:
        """One digest of both."""
        return _digest(f"{self.digest}/{self.body_digest}".encode())


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request was answered. `answer` is None where it is made anew."""

    status: int
    answer: str | None


def name_of(*, key_id: str, method: str, target: str, key: str, body: bytes) -> RequestName:
    """A request's name: the same `Idempotency-Key` of another API key, or for another address, is another."""
    named = json.dumps([key_id, method, target, key])
    return RequestName(_digest(named.encode()), _digest(body))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def begin(session: Session, name: RequestName, now: dt.datetime) -> Kept | None:
    """Note the request as under way, or find what it was answered. Raises StillRunning, OtherRequest."""
    if requests.insert(session, name.digest, name.body_digest, now):
        return None
    row = requests.locked(session, name.digest)
    if row is None:  # it failed at this moment
        raise StillRunning
    kept_for = REPEATED_WITHIN if row.status is not None else LEASE
    if row.began_at <= now - kept_for:
        row.body_digest, row.began_at = name.body_digest, now
        row.status = row.answer = None
        return None
    if row.body_digest != name.body_digest:
        raise OtherRequest
    if row.status is None:
        raise StillRunning
    return Kept(row.status, row.answer)


def finish(session: Session, name: RequestName, began_at: dt.datetime, done: Kept) -> None:
    """Keep the answer, in the transaction of its effect. Raises StillRunning when somebody else has taken the request over."""
    if not requests.finish(session, name.digest, began_at, done.status, done.answer):
        raise StillRunning


def abandon(session: Session, name: RequestName, began_at: dt.datetime) -> None:
    """The request failed: nothing was written."""
    requests.drop(session, name.digest, began_at)
