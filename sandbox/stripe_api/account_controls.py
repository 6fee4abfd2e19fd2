"""Accounts on demand: `/sandbox/accounts` makes, names, connects and lists them; keys; what the platform has chosen.

Every other control, too, acts on the account that the header `Stripe-Account` names, or whose key it is sent with.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sandbox.stripe_api import connections
from sandbox.stripe_api.directory import Choices, client_id
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.places import ACCOUNT, Place
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, decode, encode
from sandbox.stripe_api.world import World
from shared.l10n.palette import COLOR

MOST: Final = 100_000
NOT_COPIED: Final = ("event", "v2.core.event", "webhook_endpoint", "billing_portal.session")

_MADE_ID: Final = re.compile(r"[a-z]+(?:_[a-z]+)*_[A-Za-z0-9]{14,}")


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an account."""

    name: str = ""
    email: str | None = None
    color: Annotated[str, Meta(pattern=f"^{COLOR.pattern}$")] | None = None
    country: str = ""
    currency: str = ""
    controlled: Literal["platform", "another"] | None = None


class NewAccounts(Changes, frozen=True, forbid_unknown_fields=True):
    """Accounts as they are asked for."""

    id: Annotated[str, Meta(pattern="^acct_")] | UnsetType = UNSET
    count: Annotated[int, Meta(ge=1, le=MOST)] = 1
    connected: Literal["test", "live"] | None = None
    keys: bool = False
    copy_of: str | None = None
    new_ids: bool = False


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is asked for."""

    livemode: bool = False
    permissions: list[Annotated[str, Meta(pattern="^rak_")]] = []
    connect_permissions: list[Annotated[str, Meta(pattern="^rak_")]] = []
    key: str | None = None


@route("GET", "/sandbox/accounts", fields={"q": ["empty", "string"], "limit": "integer"})
def list_accounts(world: World, ids: dict[str, str], params: Params) -> Object:
    """The newest `limit` accounts (20) whose id, name or email holds `q`; how many there are in all."""
    directory = world.engine.directory
    found = directory.search(params.get("q") or "", params.get("limit", 20))
    return {"accounts": list(found), "count": directory.store.count("account")}


@route("POST", "/sandbox/accounts", takes=NewAccounts)
def make_accounts(world: World, ids: dict[str, str], params: Params) -> Object:
    """Make `count` accounts (1) at once.

    `id` of a single one; `name` and `email`, in which `{n}` is the number of each; `color` of the brand; `country`;
    `currency`; `connected`: `test`, `live` or null; `controlled` by the `platform` or `another`; `keys` true adds a secret
    key of each mode; `copy_of` an account: what it has in test mode is there too, under the same ids, or with `new_ids` true under
    ids of its own.
    """
    count = params.get("count", 1)
    directory = world.engine.directory
    if "id" in params and (count > 1 or directory.account(params["id"]) is not None):
        raise StripeError("id: expected a new one, of one account", param="id")
    source = None
    if params.get("copy_of"):
        source = world.engine.world(Place(_account(world, params["copy_of"])["id"]))
    made = []
    for n in range(count):
        fields = {
            name: params[name]
            for name in (*Changes.__struct_fields__, "id", "connected")
            if name in params
        }
        for name in ("name", "email"):
            if fields.get(name):
                fields[name] = str(fields[name]).replace("{n}", str(n))
        account = directory.make(created=world.now(), **fields)
        if source is not None:
            target = world.engine.world(Place(account["id"]))
            _copy(source, target, new_ids=params.get("new_ids") is True)
        shown = dict(account)
        if params.get("keys"):
            shown["keys"] = {
                mode: directory.make_key(Place(account["id"], mode == "live"))["id"]
                for mode in ("test", "live")
            }
        made.append(shown)
    return {"accounts": made}


def _copy(source: World, target: World, *, new_ids: bool) -> None:
    copied = [obj for obj in source.store.all() if obj["object"] not in NOT_COPIED]
    ids: dict[str, str] = {}
    if new_ids:
        made = (obj["id"] for obj in copied if _MADE_ID.fullmatch(obj["id"]))
        ids = {one: new_id(one.rpartition("_")[0], len(one.rpartition("_")[2])) for one in made}
    for obj in copied:
        text = _MADE_ID.sub(lambda found: ids.get(found[0], found[0]), encode(obj).decode())
        target.save(decode(text))


@route("GET", "/sandbox/accounts/{account}")
def read_account(world: World, ids: dict[str, str], params: Params) -> Object:
    """One."""
    return _account(world, ids["account"])


@route("POST", "/sandbox/accounts/{account}", takes=Changes)
def change_account(world: World, ids: dict[str, str], params: Params) -> Object:
    """Its name, brand and whereabouts."""
    _account(world, ids["account"])
    return world.engine.directory.change(ids["account"], **params)


@route("POST", "/sandbox/accounts/{account}/connect")
def connect(world: World, ids: dict[str, str], params: Params) -> Object:
    """Connect it to the platform without OAuth: in test mode, or with `livemode` true in both."""
    account = _account(world, ids["account"])
    if account["id"] == ACCOUNT:
        raise StripeError("The platform can't be connected to itself.", param="account")
    connections.connect(world, account["id"], livemode=params.get("livemode") is True)
    return _account(world, ids["account"])


@route("POST", "/sandbox/accounts/{account}/disconnect")
def disconnect(world: World, ids: dict[str, str], params: Params) -> Object:
    """The business takes the platform's access away, in its dashboard."""
    account = _account(world, ids["account"])
    connections.disconnect(world, account["id"])
    return account


@route("POST", "/sandbox/accounts/{account}/keys", takes=NewKey)
def make_key(world: World, ids: dict[str, str], params: Params) -> Object:
    """A key of the account: secret, or restricted to `permissions` (`rak_…_read`, `rak_…_write`).

    `connect_permissions` are those on connected accounts; `livemode` true: a live one; `key` says which it is to be.
    """
    _account(world, ids["account"])
    directory = world.engine.directory
    place = Place(ids["account"], params.get("livemode") is True)
    key = params.get("key")
    if key is not None:
        kind = "sk" if params.get("permissions") is None else "rk"
        if not key.startswith(f"{kind}_{place.mode}_") or directory.key(key) is not None:
            raise StripeError(f"key: expected a new one, {kind}_{place.mode}_…", param="key")
    made = directory.make_key(
        place,
        key=key,
        permissions=params.get("permissions"),
        connect_permissions=params.get("connect_permissions"),
    )
    return {"key": made["id"], "account": place.account, "livemode": place.livemode}


@route("POST", "/sandbox/keys/revoke")
def revoke_key(world: World, ids: dict[str, str], params: Params) -> Object:
    """A `key` that was made here is good for nothing from now on."""
    found = world.engine.directory.key(str(params.get("key", "")))
    if found is None:
        raise StripeError("There is no such key.", param="key")
    found["revoked"] = True
    world.engine.directory.store.save(found)
    return {"account": found["account"], "livemode": found["livemode"], "revoked": True}


@route("GET", "/sandbox/connect")
def read_platform(world: World, ids: dict[str, str], params: Params) -> Object:
    """The platform's applications by mode, where OAuth may lead back to, and its choices."""
    directory = world.engine.directory
    return {
        "account": ACCOUNT,
        "client_ids": {"test": client_id(livemode=False), "live": client_id(livemode=True)},
        **msgspec.to_builtins(directory.chosen),
        "redirect_uris": directory.redirect_uris,
    }


@route("POST", "/sandbox/connect", takes=Choices)
def change_platform(world: World, ids: dict[str, str], params: Params) -> Object:
    """Choose anew what is given."""
    world.engine.directory.choose(params)
    return read_platform(world, ids, {})


@route_of("subscription", "POST", "/sandbox/subscriptions/{subscription}/application")
def change_maker(world: World, subscription: Object, params: Params) -> Object:
    """Say who made a subscription: an `application` (`ca_…`), or null for the account itself."""
    subscription["application"] = params.get("application")
    world.save(subscription)
    return subscription


def _account(world: World, id: str) -> Object:
    found = world.engine.directory.account(id)
    if found is None:
        raise StripeError(f"No such account: '{id}'", status=404, code="resource_missing")
    return found
