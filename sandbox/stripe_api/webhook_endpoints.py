"""Webhook endpoints."""

from __future__ import annotations

from sandbox.stripe_api.directory import client_id
from sandbox.stripe_api.endpoints import KIND, listeners
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id, secret
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.rendering import deleted, public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

NOT_A_PLATFORM = "Only Connect platforms can create Connect webhook endpoints."
OF_CONNECTED = {"portico_accounts": "connected"}
"""What `portico stripe setup` writes into the metadata of an endpoint for connected accounts: Stripe does not tell which one is."""


def _make(world: World, url: str, signing_secret: str, params: Params) -> Object:
    endpoint: Object = {
        **world.head(KIND, new_id("we"), world.now(), params),
        "api_version": params.get("api_version"),
        "application": client_id(livemode=world.livemode) if params.get("connect") else None,
        "description": params.get("description"),
        "enabled_events": params.get("enabled_events") or ["*"],
        "status": "enabled",
        "url": url,
        "_connect": bool(params.get("connect")),
        "_secret": signing_secret,
    }
    world.save(endpoint)
    return endpoint


def ensure(world: World, url: str, signing_secret: str, *, connect: bool = False) -> Object:
    """The endpoint of this URL that hears everything, made if need be, with this secret from now on."""
    metadata = OF_CONNECTED if connect else {}
    for endpoint in world.store.oldest(KIND):
        if endpoint["url"] == url and endpoint.get("_connect", False) == connect:
            endpoint["_secret"] = signing_secret
            endpoint["metadata"] = {**endpoint["metadata"], **metadata}
            world.save(endpoint)
            return endpoint
    params = {"api_version": world.api_version, "connect": connect, "metadata": metadata}
    return _make(world, url, signing_secret, params)


@route("POST", "/v1/webhook_endpoints")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """Only this answer shows the signing secret.

    `connect` makes it one for the events of connected accounts: that is not shown again, but for `application`.
    """
    if params.get("connect") and not world.place.is_platform:
        raise StripeError(NOT_A_PLATFORM, param="connect")
    if not params["url"].startswith(("http://", "https://")):
        raise StripeError(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param="url"
        )
    endpoint = _make(world, params["url"], secret("whsec"), params)
    return {**public(endpoint), "secret": endpoint["_secret"]}


@route_of(KIND, "POST", "/v1/webhook_endpoints/{endpoint}")
def update(world: World, endpoint: Object, params: Params) -> Object:
    """URL, events, description, metadata; `disabled` switches it off."""
    with world.edit(endpoint):
        take(endpoint, params, "url", "enabled_events", "description")
        if "disabled" in params:
            endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    return endpoint


@route_of(KIND, "DELETE", "/v1/webhook_endpoints/{endpoint}")
def delete(world: World, endpoint: Object, params: Params) -> Object:
    """Nothing more is delivered there."""
    world.remove(endpoint)
    return deleted(endpoint)


@route("GET", "/sandbox/webhook_endpoints")
def who_hears(world: World, ids: dict[str, str], params: Params) -> Object:
    """The endpoints that hear of what happens here: `id`, `url`, and `connect` for the platform's."""
    engine = world.engine
    heard_by = listeners(engine.database, engine.directory, world.place, world.store, None)
    return {
        "endpoints": [
            {"id": one["id"], "url": one["url"], "connect": one.get("_connect", False)}
            for one in heard_by
        ]
    }


@route("POST", "/sandbox/webhook_endpoints")
def ensure_known(world: World, ids: dict[str, str], params: Params) -> Object:
    """An endpoint at `url` whose `secret` is known beforehand; `connect` true: for the events of connected accounts."""
    url, known = params.get("url"), params.get("secret")
    if not isinstance(url, str) or not isinstance(known, str) or not known.startswith("whsec_"):
        raise StripeError("Give url, and the secret that it is to have (whsec_…).")
    connect = params.get("connect") is True
    if connect and not world.place.is_platform:
        raise StripeError(NOT_A_PLATFORM, param="connect")
    return ensure(world, url, known, connect=connect)
