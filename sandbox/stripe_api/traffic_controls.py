"""How many requests came, and how many may: `/sandbox/requests` and `/sandbox/limits`."""

from __future__ import annotations

from typing import Any

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.rate_limits import REASONS
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


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


@route("POST", "/sandbox/limits")
def change_limits(world: World, ids: dict[str, str], params: Params) -> Object:
    """Set what is given; null takes a limit away. `accounts` maps ids to limits of their own."""
    own: Any = params.get("accounts", {})
    if unknown := set(params) - {*REASONS, "accounts"}:
        raise StripeError(f"Unknown: {', '.join(sorted(unknown))}.")
    if not isinstance(own, dict):
        raise StripeError("accounts: expected an object", param="accounts")
    shared = {name: params[name] for name in REASONS if name in params}
    for name, rate in {**shared, **own}.items():
        if rate is not None and (type(rate) not in (int, float) or rate <= 0):
            raise StripeError(f"{name}: expected a number above 0, or null", param=name)
    limits = world.engine.limits
    limits.limits.update(shared)
    for account, rate in own.items():
        limits.of.pop(account, None)
        if rate is not None:
            limits.of[account] = rate
    return read_limits(world, ids, {})
