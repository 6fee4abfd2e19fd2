"""The account itself and its balance."""

from __future__ import annotations

from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

ACCOUNT = "acct_1PorticoSandbox00"


@route("GET", "/v1/account")
def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
    """Whose key this is."""
    return {
        "id": ACCOUNT,
        "object": "account",
        "business_profile": {"name": world.config.business_name, "url": world.config.public_url},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "settings": {
            "dashboard": {"display_name": world.config.business_name, "timezone": "Etc/UTC"}
        },
        "type": "standard",
    }


@route("GET", "/v1/balance")
def balance(world: World, ids: dict[str, str], params: Params) -> Object:
    """What all charges brought in, less refunds, by currency."""
    sums: dict[str, int] = {"usd": 0}
    for charge in world.store.oldest("charge"):
        if charge["status"] == "succeeded":
            kept = charge["amount_captured"] - charge["amount_refunded"]
            sums[charge["currency"]] = sums.get(charge["currency"], 0) + kept
    available = [{"amount": a, "currency": c, "source_types": {"card": a}} for c, a in sums.items()]
    return {"object": "balance", "available": available, "livemode": False, "pending": []}
