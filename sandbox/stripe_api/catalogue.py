"""Products and prices."""

from __future__ import annotations

from sandbox.stripe_api import pricing
from sandbox.stripe_api.errors import StripeError, parameter_missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.listing import narrowed, page
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given
from sandbox.stripe_api.world import World

# --- products -----------------------------------------------------------------------------------------------


@route("POST", "/v1/products")
def create_product(world: World, ids: dict[str, str], params: Params) -> Object:
    """What is sold. `default_price_data` makes its price too."""
    product = _make_product(world, params)
    if params.get("default_price_data"):
        price = _make_price(world, {**params["default_price_data"], "product": product["id"]})
        product["default_price"] = price["id"]
        world.save(product)
    return product


def _make_product(world: World, params: Params) -> Object:
    id = params.get("id") or new_id("prod", 14)
    if world.store.get(id) is not None:
        raise StripeError("Product already exists.", code="resource_already_exists", param="id")
    now = world.now()
    product: Object = {
        **world.head("product", id, now, params),
        "active": params.get("active", True),
        "default_price": None,
        "images": params.get("images") or [],
        "marketing_features": params.get("marketing_features") or [],
        "name": params["name"],
        "package_dimensions": None,
        "type": params.get("type", "service"),
        "updated": now,
        **as_given(params, "description shippable statement_descriptor tax_code unit_label url"),
    }
    world.save(product, "product.created")
    return product


@route("GET", "/v1/products")
def list_products(world: World, ids: dict[str, str], params: Params) -> Object:
    """All, or those that are `active`."""
    wanted = params.get("ids")
    return page(
        world,
        ("product",),
        params,
        lambda p: _active(p, params) and (not wanted or p["id"] in wanted),
        url="/v1/products",
    )


def _active(obj: Object, params: Params) -> bool:
    return "active" not in params or obj["active"] == params["active"]


@route_of("product", "POST", "/v1/products/{product}")
def update_product(world: World, product: Object, params: Params) -> Object:
    """Change what is given."""
    with world.edit(product, "product.updated"):
        take(product, params, *(product.keys() - {"metadata"}))
        product["updated"] = world.now()
    return product


# --- prices -------------------------------------------------------------------------------------------------


def _make_price(world: World, params: Params) -> Object:
    if not params.get("currency"):
        raise parameter_missing("currency")
    if params.get("product_data"):
        product = _make_product(world, params["product_data"])["id"]
    elif params.get("product"):
        product = world.get("product", params["product"], "product")["id"]
    else:
        raise parameter_missing("product")
    amount = params.get("unit_amount")
    decimal = params.get("unit_amount_decimal")
    if amount is None and decimal is not None and float(decimal).is_integer():
        amount = int(float(decimal))
    recurring = params.get("recurring")
    tiered = params.get("billing_scheme") == "tiered"
    if tiered and not (params.get("tiers") and params.get("tiers_mode")):
        raise parameter_missing("tiers" if not params.get("tiers") else "tiers_mode")
    if amount is None and decimal is None and not tiered:
        raise parameter_missing("unit_amount")
    price: Object = {
        **world.head("price", new_id("price"), world.now(), params),
        "active": params.get("active", True),
        "billing_scheme": params.get("billing_scheme", "per_unit"),
        "currency": params["currency"].lower(),
        "custom_unit_amount": None,
        "product": product,
        "recurring": _recurring(recurring) if recurring else None,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": decimal or (str(amount) if amount is not None else None),
        **as_given(params, "lookup_key nickname tiers_mode transform_quantity"),
        "_currency_options": params.get("currency_options") or {},
        "_tiers": pricing.tiers_of(params.get("tiers") or []),
    }
    world.save(price, "price.created")
    return price


@included("price", "tiers")
def _tiers(world: World, price: Object) -> list[Object] | None:
    found = world.get("price", price["id"])["_tiers"]
    return found if price["billing_scheme"] == "tiered" else None


def _recurring(given: Params) -> Object:
    return {
        "interval": given["interval"],
        "interval_count": given.get("interval_count", 1),
        "meter": given.get("meter"),
        "trial_period_days": given.get("trial_period_days"),
        "usage_type": given.get("usage_type", "licensed"),
    }


def price_for(world: World, params: Params, where: str) -> Object:
    """The price that an item names by `price`, or describes by `price_data`."""
    if params.get("price"):
        return world.get("price", params["price"], f"{where}[price]")
    if params.get("price_data"):
        return _make_price(world, params["price_data"])
    raise parameter_missing(f"{where}[price]")


@route("POST", "/v1/prices")
def create_price(world: World, ids: dict[str, str], params: Params) -> Object:
    """What a product costs, once or per interval."""
    return _make_price(world, params)


@route("GET", "/v1/prices")
def list_prices(world: World, ids: dict[str, str], params: Params) -> Object:
    """All, a product's, the active ones, those of some lookup keys."""
    key = narrowed("price", params, "product")
    return page(world, key, params, lambda p: _price_matches(p, params), url="/v1/prices")


def _price_matches(price: Object, params: Params) -> bool:
    return (
        _active(price, params)
        and params.get("type", price["type"]) == price["type"]
        and params.get("currency", price["currency"]) == price["currency"]
        and (not params.get("lookup_keys") or price["lookup_key"] in params["lookup_keys"])
    )


@route_of("price", "POST", "/v1/prices/{price}")
def update_price(world: World, price: Object, params: Params) -> Object:
    """Name, metadata, lookup key, whether it is active. The amount never changes."""
    with world.edit(price, "price.updated"):
        take(price, params, "active", "nickname", "lookup_key", "tax_behavior")
    return price
