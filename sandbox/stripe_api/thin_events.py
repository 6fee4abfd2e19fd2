"""Thin events (API v2): they name the object that changed, and nothing of what it is.

https://docs.stripe.com/event-destinations#benefits-of-thin-events
"""

from __future__ import annotations

import datetime as dt

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

KIND = "v2.core.event"


def tell(world: World, type: str, obj: Object, account: str | None, snapshot: str) -> Object:
    """Deliver a thin event about an object; `type` is that of the snapshot event, `snapshot` its id."""
    name = type if type.startswith(("v1.", "v2.")) else f"v1.{type}"
    created = dt.datetime.fromtimestamp(world.now_for(obj), dt.UTC)
    event: Object = {
        "id": new_id(f"evt_{world.place.mode}", 40),
        "object": KIND,
        "context": account,
        "created": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "livemode": world.livemode,
        "reason": None,
        "related_object": {
            "id": obj["id"],
            "type": obj["object"],
            "url": f"/v1/{obj['object'].replace('.', '/')}s/{obj['id']}",
        },
        "snapshot_event": snapshot,
        "type": name,
    }
    world.publish(event, name)
    return event


@route("GET", "/v2/core/events/{event}")
def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
    """One, with what its notification left out: `changes`."""
    event = world.store.get(ids["event"])
    if event is None or event["object"] != KIND:
        raise StripeError(
            f"Event {ids['event']} not found.",
            status=404,
            code="not_found",
        )
    context = world.place.account if world.application else event["context"]
    return {**public(event), "context": context, "changes": None}
