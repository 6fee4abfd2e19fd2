"""Test clocks: customers with a time of their own. See https://docs.stripe.com/billing/testing/test-clocks."""

from __future__ import annotations

from sandbox.stripe_api import customers
from sandbox.stripe_api.clock import line_of
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.rendering import deleted, public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, copy
from sandbox.stripe_api.world import World

KIND = "test_helpers.test_clock"


@route("POST", "/v1/test_helpers/test_clocks")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A clock that stands still at `frozen_time` until it is advanced."""
    now = world.now()
    clock: Object = {
        "id": new_id("clock"),
        "object": KIND,
        "created": now,
        "deletes_after": now + 30 * 86_400,
        "frozen_time": params["frozen_time"],
        "livemode": world.livemode,
        "name": params.get("name"),
        "status": "ready",
        "status_details": {},
    }
    world.save(clock, "test_helpers.test_clock.created")
    return clock


@route_of(KIND, "POST", "/v1/test_helpers/test_clocks/{clock}/advance")
def advance(world: World, clock: Object, params: Params) -> Object:
    """Let its time pass. The answer says `advancing`, as Stripe's does; by then everything has happened."""
    until = params["frozen_time"]
    if until <= clock["frozen_time"]:
        raise StripeError(
            "The new frozen time must be after the clock's current frozen time.",
            param="frozen_time",
        )
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": until}}
    answer: Object = copy(public(clock))
    world.emit("test_helpers.test_clock.advancing", clock)
    line = line_of(world.place.namespace, {"test_clock": clock["id"]})
    world.engine.run_due(line, until, clock)
    clock["frozen_time"] = until
    clock["status"] = "ready"
    clock["status_details"] = {}
    world.save(clock, "test_helpers.test_clock.ready")
    return answer


@route_of(KIND, "DELETE", "/v1/test_helpers/test_clocks/{clock}")
def delete(world: World, clock: Object, params: Params) -> Object:
    """Its customers go with it."""
    for customer in list(world.store.oldest("customer", "test_clock", clock["id"])):
        if not customer.get("deleted"):
            customers.delete(world, {"customer": customer["id"]}, {})
    world.remove(clock)
    world.emit("test_helpers.test_clock.deleted", clock)
    return deleted(clock)
