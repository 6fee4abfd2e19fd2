"""How many requests came, and how many may: `/sandbox/requests` and `/sandbox/limits`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sandbox.stripe_api.rate_limits import REASONS
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

Rate = Annotated[float, msgspec.Meta(gt=0)] | None


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Requests a second; None: as many as come. `accounts` are those of single ones."""

    platform: Rate = None
    account: Rate = None
    endpoint: Rate = None
    accounts: dict[str, Rate] = {}


@route("GET", "/sandbox/requests")
def read_requests(world: World, ids: dict[str, str], params: Params) -> Object:
    """Reads, writes, changes, 429s, calls on a wrong account and calls without access: in all, and of each account."""
    return world.engine.counts.shown()


@route("DELETE", "/sandbox/requests")
def clear_requests(world: World, ids: dict[str, str], params: Params) -> Object:
    """Count from nothing."""
    world.engine.counts.clear()
    return world.engine.counts.shown()


@route("GET", "/sandbox/limits")
def read_limits(world: World, ids: dict[str, str], params: Params) -> Object:
    """Requests a second that are taken: of the `platform`, on each `account`, at each `endpoint`; `accounts` by name."""
    limits = world.engine.limits
    return {**limits.limits, "accounts": dict(limits.of)}


@route("POST", "/sandbox/limits", takes=Limits)
def change_limits(world: World, ids: dict[str, str], params: Params) -> Object:
    """Set what is given; null takes a limit away. `accounts` maps ids to limits of their own."""
    limits = world.engine.limits
    limits.limits.update({name: params[name] for name in REASONS if name in params})
    for account, rate in params.get("accounts", {}).items():
        limits.of.pop(account, None)
        if rate is not None:
            limits.of[account] = rate
    return read_limits(world, ids, {})
