"""Customers."""

from __future__ import annotations

from sandbox.stripe_api import endings, payment_methods, sources, test_methods
from sandbox.stripe_api.declines import CARD_DECLINES
from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.listing import narrowed, page
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.rendering import as_list, deleted, public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, nulls
from sandbox.stripe_api.world import World

PLAIN = ("name", "email", "phone", "description", "address", "shipping", "business_name")
TAKEN = (*PLAIN, "individual_name", "tax_exempt", "preferred_locales", "balance", "invoice_prefix")


@route("POST", "/v1/customers")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A customer; `payment_method` or `source` is attached at once."""
    clock = params.get("test_clock")
    if clock:
        world.get("test_helpers.test_clock", clock, "test_clock")
    customer: Object = {
        **world.head("customer", new_id("cus", 14), world.now_for({"test_clock": clock})),
        "balance": 0,
        "delinquent": False,
        "invoice_prefix": new_id("x", 8)[2:].upper(),
        "invoice_settings": nulls("custom_fields default_payment_method footer rendering_options"),
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": clock,
        **nulls(
            "address currency customer_account default_source description discount email name "
            "phone shipping"
        ),
    }
    _take(customer, params)
    attached = _attach_new(world, customer, params)
    _take_defaults(world, customer, params, attached)
    world.save(customer, "customer.created")
    if attached is not None:
        world.emit("payment_method.attached", attached)
    return customer


def _take(customer: Object, params: Params) -> None:
    take(customer, params, *TAKEN)
    if customer["tax_exempt"] is None:
        customer["tax_exempt"] = "none"


def _attach_new(world: World, customer: Object, params: Params) -> Object | None:
    """The payment method that a new customer brings along, attached without an event yet."""
    wanted = params.get("payment_method") or params.get("source")
    if wanted is None:
        return None
    name = test_methods.known(wanted)
    if name is not None:
        prefix = "card" if params.get("source") else "pm"
        method = payment_methods.make(world, name, {}, customer, prefix=prefix)
    else:
        method = world.get("payment_method", wanted, "payment_method")
    spec = test_methods.SPECS[method["_spec"]]
    if spec.on_attach is not None:
        raise CARD_DECLINES[spec.on_attach].error()
    if method["customer"] is not None:
        raise StripeError(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    method["customer"] = customer["id"]
    world.save(method)
    if params.get("source"):
        customer["default_source"] = method["id"]
    return method


def _take_defaults(
    world: World, customer: Object, params: Params, attached: Object | None = None
) -> None:
    settings = params.get("invoice_settings")
    if settings is None:
        return
    mine = customer["invoice_settings"]
    take(mine, settings, "custom_fields", "footer", "rendering_options")
    if "default_payment_method" not in settings:
        return
    wanted = settings["default_payment_method"]
    if wanted is None:
        mine["default_payment_method"] = None
    elif attached is not None and wanted in (params.get("payment_method"), attached["id"]):
        # Named twice in one request (`pm_card_visa`): it is the one just attached.
        mine["default_payment_method"] = attached["id"]
    else:
        method = payment_methods.of_customer(
            world, wanted, customer, "invoice_settings[default_payment_method]"
        )
        mine["default_payment_method"] = method["id"]


def alive(world: World, id: str, param: str = "customer") -> Object:
    """The customer a parameter names; a deleted one is refused."""
    customer = world.get("customer", id, param)
    if customer.get("deleted"):
        raise missing("customer", id, param)
    return customer


@route("GET", "/v1/customers")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """Newest first; `email` matches exactly."""
    key = narrowed("customer", params, "test_clock", "email")
    return page(world, key, params, lambda c: not c.get("deleted"), url="/v1/customers")


@route_of("customer", "GET", "/v1/customers/{customer}")
def retrieve(world: World, customer: Object, params: Params) -> Object:
    """One; a deleted one as `{id, object, deleted}`."""
    return deleted(customer) if customer.get("deleted") else customer


@route_of("customer", "POST", "/v1/customers/{customer}")
def update(world: World, customer: Object, params: Params) -> Object:
    """Change what is given."""
    if customer.get("deleted"):
        raise missing("customer", customer["id"])
    source = None
    if params.get("source"):
        # A new source takes the place of the old default one.
        source = sources.attach_new(world, customer, params["source"])["id"]
    elif params.get("default_source"):
        source = sources.of_customer(world, customer, params["default_source"], "default_source")[
            "id"
        ]
    with world.edit(customer, "customer.updated"):
        _take_defaults(world, customer, params)
        _take(customer, params)
        if source is not None:
            customer["default_source"] = source
    return customer


@route("DELETE", "/v1/customers/{customer}")
def delete(world: World, ids: dict[str, str], params: Params) -> Object:
    """Cancels the subscriptions and detaches the payment methods; what remains says only that it is deleted."""
    customer = alive(world, ids["customer"], "id")
    for subscription in list(world.store.oldest("subscription", "customer", customer["id"])):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            endings.cancel(world, subscription)
    for method in list(world.store.oldest("payment_method", "customer", customer["id"])):
        with world.edit(method):
            method["customer"] = None
    world.emit("customer.deleted", customer)
    customer["deleted"] = True
    customer["email"] = None
    world.save(customer)
    return deleted(customer)


@included("customer", "subscriptions")
def _subscriptions(world: World, customer: Object) -> Object:
    mine = world.store.newest("subscription", "customer", customer["id"])
    items = [public(s) for s in mine if s["status"] not in ("canceled", "incomplete_expired")]
    return as_list(items, f"/v1/customers/{customer['id']}/subscriptions")


def invoice_number(world: World, customer: Object) -> str:
    """The next number of a customer's invoices, `ABCDEF12-0001`."""
    prefix = customer["invoice_prefix"]
    number = f"{prefix}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    world.save(customer)
    return number
