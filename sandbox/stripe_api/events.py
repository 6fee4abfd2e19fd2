"""The log of events, as `GET /v1/events` shows it."""

from __future__ import annotations

from sandbox.stripe_api import thin_events
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.listing import page
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


@route("GET", "/v1/events")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """Newest first; by `type`, `types[]` (a trailing `*` matches any ending), `created`, `delivery_success`."""
    wanted = params.get("types") or ([params["type"]] if params.get("type") else [])
    key: tuple[str, ...] = ("event",)
    if len(wanted) == 1 and not wanted[0].endswith("*"):
        key = ("event", "type", wanted[0])
    endings = tuple(name[:-1] for name in wanted if name.endswith("*"))
    exact = frozenset(wanted)
    success = params.get("delivery_success")

    def matches(event: Object) -> bool:
        if event.get("account"):
            return False
        if (
            wanted
            and event["type"] not in exact
            and not event["type"].startswith(endings or ("\0",))
        ):
            return False
        if success is None:
            return True
        delivered = all(state == "succeeded" for state in event["_deliveries"].values())
        return bool(delivered == success)

    return page(world, key, params, matches, url="/v1/events")


@route("POST", "/sandbox/events")
def tell(world: World, ids: dict[str, str], params: Params) -> Object:
    """Deliver an event of a `type` about an `object` (its id) as it stands, outside of any story.

    `account` makes it an event of a connected account, `livemode` one of live mode, `previous_attributes` says what
    changed. `thin` sends it as a thin event (`v1.` before the type), which names the object only; the snapshot beside it
    stands in the log, and no endpoint is sent it.
    """
    account = params.get("account")
    if account and world.engine.directory.account(account) is not None:
        # An account that is known tells of its own objects, to those who hear of it.
        world, account = world.engine.world(world.place._replace(account=account)), None
    obj = world.store.get(str(params.get("object")))
    if obj is None or not isinstance(params.get("type"), str):
        raise StripeError("Give the type of the event, and the id of the object that it is about.")
    envelope = {"livemode": bool(params.get("livemode", world.livemode))}
    if account:
        envelope["account"] = account
    told = world.emit(params["type"], obj, params.get("previous_attributes"), **envelope)
    if not params.get("thin"):
        return told
    told["_deliveries"], told["pending_webhooks"] = {}, 0
    world.store.save(told)
    return thin_events.tell(world, params["type"], obj, account, told["id"])
