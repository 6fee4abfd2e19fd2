"""Keys of the HTTP API: making and revoking them, and knowing one when it comes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.api_keys import (
    MOST_AT_ONCE,
    Credential,
    digest,
    hint,
    new_key,
    new_key_id,
)
from services.portal.handlers import arguments, existing
from services.portal.models import ApiKeyRow
from services.portal.queries import api_keys as keys
from shared.contracts.rpc.api_keys import SCOPES, ApiKey, CreatedApiKey
from shared.contracts.rpc.errors import InvalidArgument, NotFound

NOTE_USE_EVERY: Final = dt.timedelta(minutes=1)
"""How often the use of a key is written down at most."""


def create(
    session: Session,
    *,
    name: str,
    scopes: Sequence[str],
    business_id: str | None,
    expires_at: dt.datetime | None,
    mode: str,
    now: dt.datetime,
) -> CreatedApiKey:
    """Make a key of the installation, or of one business. Raises NotFound, InvalidArgument: for a third one of the same name, too."""
    name = arguments.text("name", name, 100)
    if not scopes:
        raise InvalidArgument("scopes: expected at least one")
    if expires_at is not None and expires_at <= now:
        raise InvalidArgument("expires_at: expected a time in the future")
    owner = None
    if business_id is not None:  # locked: keys of a business are made one after the other
        owner = existing.business(session, business_id, lock=True).id
    if keys.count_good(session, owner, name, now) >= MOST_AT_ONCE:
        raise InvalidArgument(
            f"name: {MOST_AT_ONCE} keys of this name are in use already; revoke one first"
        )
    key = new_key(mode)
    row = ApiKeyRow(
        key_id=new_key_id(),
        digest=digest(key),
        hint=hint(key),
        name=name,
        business_pk=owner,
        scopes=" ".join(one for one in SCOPES if one in scopes),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return CreatedApiKey(key=key, about=_about(row, business_id))


def listed(session: Session, business_id: str | None) -> list[ApiKey]:
    """All keys, or those of one business; the oldest first, revoked and expired ones among them. Raises NotFound."""
    owner = existing.business(session, business_id).id if business_id is not None else None
    return [_about(row, whose) for row, whose in keys.listed(session, owner)]


def revoke(session: Session, key_id: str, now: dt.datetime) -> ApiKey:
    """Refuse a key from now on. Safe to repeat: the first time counts. Raises NotFound."""
    found = keys.by_id(session, key_id)
    if found is None:
        raise NotFound("key_id: no such key")
    row, business_id = found
    row.revoked_at = row.revoked_at or now
    return _about(row, business_id)


def recognise(
    session: Session, digests: Sequence[str], now: dt.datetime
) -> list[Credential | None]:
    """Whose keys these are, by their digests and in their order; None for one that is unknown, revoked or expired.

    When they were used last is written down here, for all of them in one statement.
    """
    found = {row.digest: row for row in keys.good(session, set(digests), now)}
    stale = [
        row.id
        for row in found.values()
        if row.last_used_at is None or row.last_used_at <= now - NOTE_USE_EVERY
    ]
    if stale:
        keys.note_use(session, stale, now, NOTE_USE_EVERY)
    return [
        Credential(row.key_id, row.business_id, frozenset(row.scopes.split()))
        if (row := found.get(one)) is not None
        else None
        for one in digests
    ]


def _about(row: ApiKeyRow, business_id: str | None) -> ApiKey:
    return ApiKey.of(row, business_id=business_id, scopes=row.scopes.split())
