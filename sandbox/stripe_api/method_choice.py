"""Which payment method Stripe charges. https://docs.stripe.com/billing/revenue-recovery/smart-retries#payment-method-ordering"""

from __future__ import annotations

from sandbox.stripe_api import payment_methods, sources
from sandbox.stripe_api.routing import Params
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

_DEFAULTS = ("default_payment_method", "default_source")


def charged_method(
    world: World,
    customer: Object,
    *,
    subscription: Object | None = None,
    invoice: Object | None = None,
) -> Object | None:
    """The first that is saved of: the invoice's own default, the subscription's, the customer's.

    At each of them a payment method goes before a source. A default of a type that the subscription or the invoice
    does not take is passed over.
    """
    billed = [one for one in (invoice, subscription) if one is not None]
    candidates = [
        *(one[field] for one in billed for field in _DEFAULTS),
        customer["invoice_settings"]["default_payment_method"],
        customer["default_source"],
    ]
    for id in candidates:
        method = world.store.get(id) if id else None
        mine = method is not None and method["customer"] == customer["id"]
        if method is not None and mine and all(_takes(one, method) for one in billed):
            return method
    return None


def chosen_defaults(world: World, params: Params, customer: Object) -> dict[str, str | None]:
    """The defaults of its own that a request gives an invoice or a subscription; both must be the customer's."""
    chosen: dict[str, str | None] = {name: None for name in _DEFAULTS if name in params}
    if params.get("default_payment_method"):
        name = "default_payment_method"
        chosen[name] = payment_methods.of_customer(world, params[name], customer, name)["id"]
    if params.get("default_source"):
        name = "default_source"
        chosen[name] = sources.of_customer(world, customer, params[name], name)["id"]
    return chosen


def _takes(one: Object, method: Object) -> bool:
    types = one["payment_settings"]["payment_method_types"]
    return not types or method["type"] in types
