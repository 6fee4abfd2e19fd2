"""Billing meters: what metered prices count. https://docs.stripe.com/billing/subscriptions/usage-based"""

from __future__ import annotations

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

METER = "billing.meter"
EVENT = "billing.meter_event"


@route("POST", "/v1/billing/meters")
def create_meter(world: World, ids: dict[str, str], params: Params) -> Object:
    """Adds up (`sum`) or counts (`count`) the meter events of one name."""
    now = world.now()
    meter: Object = {
        "id": new_id("mtr"),
        "object": METER,
        "created": now,
        "customer_mapping": params.get("customer_mapping")
        or {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": params["default_aggregation"],
        "display_name": params["display_name"],
        "event_name": params["event_name"],
        "event_time_window": params.get("event_time_window"),
        "livemode": world.livemode,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": now,
        "value_settings": params.get("value_settings") or {"event_payload_key": "value"},
    }
    world.save(meter, "billing.meter.created")
    return meter


@route("POST", "/v1/billing/meter_events")
def report(world: World, ids: dict[str, str], params: Params) -> Object:
    """A customer has used something."""
    meter = next(
        (m for m in world.store.oldest(METER) if m["event_name"] == params["event_name"]), None
    )
    if meter is None:
        raise StripeError(
            f"No active meter found for event name {params['event_name']}.", param="event_name"
        )
    payload = params["payload"]
    customer = world.get(
        "customer",
        payload.get(meter["customer_mapping"]["event_payload_key"], ""),
        "payload[stripe_customer_id]",
    )
    identifier = params.get("identifier") or new_id("mtre")
    event: Object = {
        "id": f"{EVENT}:{identifier}",
        "object": EVENT,
        "created": world.now_for(customer),
        "event_name": meter["event_name"],
        "identifier": identifier,
        "livemode": world.livemode,
        "payload": payload,
        "timestamp": params.get("timestamp") or world.now_for(customer),
        "customer": customer["id"],
    }
    world.save(event)
    return {key: value for key, value in event.items() if key not in ("id", "customer")}


def used(world: World, price: Object, customer: Object, start: int, end: int) -> int:
    """How much a customer has used of a metered price from `start` until before `end`."""
    meter = world.store.get(price["recurring"]["meter"] or "")
    if meter is None:
        return 0
    key = meter["value_settings"]["event_payload_key"]
    values = [
        float(event["payload"].get(key, 0))
        for event in world.store.oldest(EVENT, "customer", customer["id"])
        if event["event_name"] == meter["event_name"] and start <= event["timestamp"] < end
    ]
    counts = meter["default_aggregation"]["formula"] == "count"
    return len(values) if counts else int(sum(values))
