"""Accounts as the API shows them."""

from __future__ import annotations

from typing import Final

from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.places import Place
from sandbox.stripe_api.rendering import as_list
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

LONGEST_STATEMENT: Final = 22
"""https://docs.stripe.com/get-started/account/statement-descriptors"""


def shown(world: World, record: Object) -> Object:
    """An account from what the directory knows of it."""
    dashboard = {"display_name": record["name"], "timezone": "Etc/UTC"}
    statement = record["name"].upper()[:LONGEST_STATEMENT]
    account: Object = {
        "id": record["id"],
        "object": "account",
        "business_profile": {"name": record["name"], "url": world.config.public_url},
        "charges_enabled": True,
        "country": record["country"],
        "default_currency": record["currency"],
        "details_submitted": True,
        "email": record["email"],
        "payouts_enabled": True,
        "settings": {"dashboard": dashboard, "payments": {"statement_descriptor": statement}},
        "type": "standard",
    }
    if record["color"]:
        account["settings"]["branding"] = {
            "icon": None,
            "logo": None,
            "primary_color": record["color"],
            "secondary_color": None,
        }
    return account


@route("GET", "/v1/account")
def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
    """Whose key this is, or whose account the header names."""
    record = world.engine.directory.account(world.place.account)
    assert record is not None
    return shown(world, record)


@route("GET", "/v1/accounts/{account}", fields={"expand": ["list", "string"]})
def retrieve_connected(world: World, ids: dict[str, str], params: Params) -> Object:
    """One that is connected to the platform, or the account itself."""
    id = ids["account"]
    record = world.engine.directory.account(id)
    mine = id == world.place.account
    reachable = world.place.is_platform and world.engine.directory.reachable(
        Place(id, world.livemode)
    )
    if record is None or not (mine or reachable):
        raise StripeError(
            "The provided key does not have access to account "
            f"'{id}' (or that account does not exist). Application access may have been revoked.",
            status=403,
            code="account_invalid",
        )
    return shown(world, record)


PAGE = {
    "limit": "integer",
    "starting_after": "string",
    "expand": ["list", "string"],
}


@route("GET", "/v1/accounts", fields=PAGE)
def list_connected(world: World, ids: dict[str, str], params: Params) -> Object:
    """The accounts that are connected to the platform, the newest first."""
    directory = world.engine.directory
    limit, after = params.get("limit", 10), params.get("starting_after")
    if after is not None and directory.account(after) is None:
        raise missing("account", after, "starting_after")
    found: list[Object] = []
    if world.place.is_platform:
        for record in directory.store.newest("account", after=after):
            if len(found) > limit:
                break
            if directory.reachable(Place(record["id"], world.livemode)):
                found.append(shown(world, record))
    return {**as_list(found[:limit], "/v1/accounts"), "has_more": len(found) > limit}
