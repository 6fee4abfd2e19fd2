"""Which accounts there are, whose keys are whose, and which accounts are connected to the platform."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sandbox.config import SandboxConfig
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.places import ACCOUNT, Place
from sandbox.stripe_api.store import Object, Store

NAMESPACE: Final = "@directory"
_LETTERS: Final = string.ascii_letters + string.digits


class Choices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be chosen about the platform. Whether Stripe does what the last two say could not be verified."""

    redirect_uris: list[str] = []
    """Where OAuth may lead back to, beside what the environment says."""
    any_key: bool = True
    """A test key that nobody made is one of the first account's. Without it, it is refused with a 401."""
    live_endpoints_hear_test: bool = True
    """Connect endpoints in live mode are sent the test events, too, of accounts connected live."""
    null_application_is_foreign: bool = True
    """A subscription that the account itself made is refused to the platform as another's is."""
    paying_is_changing: bool = False
    """The platform may not pay the invoices of a subscription that it may not change."""


def client_id(*, livemode: bool) -> str:
    """The platform's application (`ca_…`): one for each mode, as Stripe has a development and a production one."""
    return f"ca_PorticoSandbox{'Live' if livemode else 'Test'}00000000000"


class Directory:
    """Accounts, API keys and OAuth codes, kept beside the accounts' own objects."""

    def __init__(self, config: SandboxConfig, store: Store) -> None:
        self._config = config
        self.store = store

    # --- accounts -------------------------------------------------------------------------------------------

    def account(self, id: str) -> Object | None:
        """What is known of an account, or None. The first one is always there."""
        found = self.store.get(id)
        if found is not None and found["object"] == "account":
            return found
        if id != ACCOUNT:
            return None
        # The one there always was is not written down until something about it is changed.
        return _account(ACCOUNT, name=self._config.business_name)

    def name(self, id: str) -> str:
        """The public name of an account."""
        found = self.store.get(id)
        return str(found["name"]) if found else self._config.business_name

    def make(self, **fields: Any) -> Object:
        """A new account; `fields` as in `_account`."""
        id = fields.pop("id", None) or f"acct_1{new_id('', 15)[1:]}"
        made = _account(id, **fields)
        self.store.save(made)
        return made

    def change(self, id: str, **fields: Any) -> Object:
        """Change what is known of an account."""
        found = self.account(id)
        if found is None:
            raise KeyError(id)
        found.update(fields)
        self.store.save(found)
        return found

    def connection(self, id: str) -> str | None:
        """How an account is connected to the platform: `test`, `live` (which is for test as well) or None."""
        found = self.store.get(id)
        return str(found["connected"]) if found and found["connected"] else None

    def reachable(self, place: Place) -> bool:
        """Whether the platform may act on a place."""
        connection = self.connection(place.account)
        return connection == "live" or (connection == "test" and not place.livemode)

    def search(self, text: str, limit: int) -> Iterator[Object]:
        """Accounts whose id, name or email holds a text, the newest first."""
        wanted = text.casefold()
        for found in self.store.newest("account"):
            if limit <= 0:
                return
            if wanted in f"{found['id']} {found['name']} {found['email']}".casefold():
                limit -= 1
                yield found

    # --- keys -------------------------------------------------------------------------------------------------

    def key(self, key: str) -> Object | None:
        """What is known of an API key that was made here."""
        found = self.store.get(key)
        return found if found is not None and found["object"] == "api_key" else None

    def make_key(
        self,
        place: Place,
        *,
        key: str | None = None,
        permissions: list[str] | None = None,
        connect_permissions: list[str] | None = None,
        application: str | None = None,
    ) -> Object:
        """A secret key, or with `permissions` a restricted one (`connect_permissions` are for connected accounts).

        `application` is whose access to the account it is, where OAuth gave it.
        """
        kind = "sk" if permissions is None else "rk"
        random = "".join(secrets.choice(_LETTERS) for _ in range(24))
        made: Object = {
            "id": key or f"{kind}_{place.mode}_51{place.account.removeprefix('acct_1')}{random}",
            "object": "api_key",
            "account": place.account,
            "livemode": place.livemode,
            "permissions": permissions,
            "connect_permissions": connect_permissions or [],
            "application": application,
            "revoked": False,
        }
        self.store.save(made)
        return made

    def revoke_access(self, account: str, application: str) -> None:
        """The keys that OAuth gave an application for an account are good for nothing from now on."""
        for key in list(self.store.oldest("api_key")):
            if key["account"] == account and key["application"] == application:
                key["revoked"] = True
                self.store.save(key)

    # --- the platform -----------------------------------------------------------------------------------------

    @property
    def chosen(self) -> Choices:
        """What was chosen about the platform."""
        return msgspec.convert(self.store.setting("connect", {}), Choices)

    @property
    def redirect_uris(self) -> list[str]:
        """Where OAuth may lead back to."""
        known = self.chosen.redirect_uris
        return [*known, *(uri for uri in self._config.redirect_uris if uri not in known)]

    def choose(self, given: dict[str, Any]) -> None:
        """Choose anew what is given."""
        self.store.set("connect", {**self.store.setting("connect", {}), **given})


def _account(
    id: str,
    *,
    name: str = "",
    email: str | None = None,
    color: str | None = None,
    country: str = "US",
    currency: str = "usd",
    connected: str | None = None,
    controlled: str | None = None,
    created: int = 0,
) -> Object:
    """`color` is the brand's, `connected` as in `Directory.connection`, `controlled` says who made it and
    has it in hand: the `platform`, or `another` one."""
    return {
        "id": id,
        "object": "account",
        "name": name or f"Business {id[-6:]}",
        "email": email,
        "color": color,
        "country": country,
        "currency": currency,
        "connected": connected,
        "controlled": controlled,
        "created": created,
    }
