"""Objects that are read as they are kept: one by its id, and page by page."""

from __future__ import annotations

from typing import Final

from sandbox.stripe_api.listing import narrowed, page
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

PATHS: Final = {
    "billing.meter": "/v1/billing/meters",
    "billing_portal.configuration": "/v1/billing_portal/configurations",
    "charge": "/v1/charges",
    "checkout.session": "/v1/checkout/sessions",
    "coupon": "/v1/coupons",
    "credit_note": "/v1/credit_notes",
    "dispute": "/v1/disputes",
    "event": "/v1/events",
    "invoice": "/v1/invoices",
    "invoice_payment": "/v1/invoice_payments",
    "invoiceitem": "/v1/invoiceitems",
    "payment_intent": "/v1/payment_intents",
    "price": "/v1/prices",
    "product": "/v1/products",
    "refund": "/v1/refunds",
    "setup_intent": "/v1/setup_intents",
    "subscription": "/v1/subscriptions",
    "test_helpers.test_clock": "/v1/test_helpers/test_clocks",
    "webhook_endpoint": "/v1/webhook_endpoints",
}
"""By `object`: below which path each is found by its id."""

LISTED: Final[dict[str, tuple[str, ...]]] = {
    "billing.meter": (),
    "charge": ("payment_intent", "customer"),
    "coupon": (),
    "credit_note": ("invoice", "customer"),
    "dispute": ("charge", "payment_intent"),
    "payment_intent": ("customer",),
    "refund": ("charge", "payment_intent"),
    "setup_intent": ("customer",),
    "test_helpers.test_clock": (),
    "webhook_endpoint": (),
}
"""Those of which a list leaves nothing out, and by what it may be narrowed (`listing.narrowed`). The lists of the others know more."""


def _retrieve(kind: str, path: str) -> None:
    @route("GET", path + "/{id}")
    def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
        return world.get(kind, ids["id"])


def _list(kind: str, path: str, fields: tuple[str, ...]) -> None:
    @route("GET", path)
    def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
        return page(world, narrowed(kind, params, *fields), params, url=path)


for _kind, _path in PATHS.items():
    _retrieve(_kind, _path)
for _kind, _fields in LISTED.items():
    _list(_kind, PATHS[_kind], _fields)
