"""The portal's RPC methods for keys of its HTTP API; mixed into the service."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec

from services.portal.handlers import api_keys
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.contracts.rpc.api_keys import ApiKey, ApiScope, CreatedApiKey
from shared.nameko_ext.rpc import audited_rpc, rpc


class ApiKeys(PortalEntrypoints):
    """Making, listing and revoking keys."""

    @audited_rpc("business_id", "scopes")
    def create_api_key(
        self,
        name: str,
        scopes: list[ApiScope],
        business_id: str | None = None,
        expires_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None,
    ) -> CreatedApiKey:
        """Make a key of the HTTP API: of one business, or, without `business_id`, of the whole installation, which alone may make
        businesses. The answer is the only one that shows it.

        At most two of the same name and owner are good at a time: make the next, change over, revoke the first.
        InvalidArgument for a third. NotFound: the business.
        """
        with self.db.transaction() as session:
            return api_keys.create(
                session,
                name=name,
                scopes=scopes,
                business_id=business_id,
                expires_at=expires_at,
                mode=self.wiring.api_mode,
                now=utc_now(),
            )

    @rpc
    def api_keys(self, business_id: str | None = None) -> list[ApiKey]:
        """All keys, or those of one business, without the keys themselves; the oldest first. NotFound: the business."""
        with self.db.reading() as session:
            return api_keys.listed(session, business_id)

    @audited_rpc("key_id")
    def revoke_api_key(self, key_id: str) -> ApiKey:
        """Refuse a key from now on; other processes of the portal take it for up to five seconds more. Safe to repeat. NotFound: the key."""
        with self.db.transaction() as session:
            revoked = api_keys.revoke(session, key_id, utc_now())
        self.wiring.known_keys.forget()
        return revoked
