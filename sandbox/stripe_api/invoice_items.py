"""Invoice items: amounts that wait for the customer's next invoice, or are put on a draft at once."""

from __future__ import annotations

from sandbox.stripe_api import pricing
from sandbox.stripe_api.catalogue import price_for
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError, parameter_missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.invoice_objects import new_line
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


@route("POST", "/v1/invoiceitems")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """`amount` and `currency`, or `price` (in `pricing`) or `price_data` times `quantity`."""
    if not params.get("customer"):
        raise parameter_missing("customer")
    customer = alive(world, params["customer"])
    price = None
    quantity = params.get("quantity", 1)
    given = params.get("pricing") or {}
    if given.get("price"):
        price = world.get("price", given["price"], "pricing[price]")
    elif params.get("price_data"):
        price = price_for(world, {"price_data": params["price_data"]}, "price_data")
    amount: int | None
    if price is not None:
        amount, currency = pricing.cost(price, quantity), price["currency"]
    else:
        currency = params.get("currency") or customer["currency"]
        if currency is None:
            raise parameter_missing("currency")
        if params.get("amount") is None and params.get("unit_amount_decimal") is None:
            raise parameter_missing("amount")
        amount = params.get("amount")
        if amount is None:
            amount = round(float(params["unit_amount_decimal"]) * quantity)
    invoice = None
    if params.get("invoice"):
        invoice = world.get("invoice", params["invoice"], "invoice")
        if invoice["status"] != "draft":
            raise StripeError(
                "You can only add an invoice item to a draft invoice.",
                param="invoice",
                code="invoice_not_editable",
            )
    now = world.now_for(customer)
    period = params.get("period") or {}
    item: Object = {
        **world.head("invoiceitem", new_id("ii"), now, params),
        "amount": amount,
        "currency": currency.lower(),
        "customer": customer["id"],
        "customer_account": None,
        "date": now,
        # What has no description of its own is described by its product.
        "description": params.get("description") or _product_name(world, price),
        "discountable": params.get("discountable", True),
        "discounts": [],
        "invoice": None,
        "net_amount": amount,
        "parent": None,
        "period": {"start": period.get("start", now), "end": period.get("end", now)},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]} if price else None,
            "type": "price_details",
            "unit_amount_decimal": str(amount // quantity if quantity else amount),
        },
        "proration": False,
        "quantity": quantity,
        "tax_rates": [],
        "test_clock": customer.get("test_clock"),
    }
    if customer["currency"] is None:
        customer["currency"] = item["currency"]
        world.save(customer)
    world.save(item, "invoiceitem.created")
    if invoice is not None:
        with world.edit(invoice, "invoice.updated"):
            put_on_invoice(world, item, invoice)
    return item


def _product_name(world: World, price: Object | None) -> str | None:
    product = world.store.get(price["product"]) if price else None
    return product["name"] if product else None


def pending_items(world: World, customer: Object) -> list[Object]:
    """What waits for the customer's next invoice, oldest first."""
    return list(world.store.oldest("invoiceitem", "pending", customer["id"]))


def put_on_invoice(world: World, item: Object, invoice: Object, *, keep: bool = True) -> None:
    """Make the item a line of a draft (the invoice is not saved here); without `keep` only to see what it comes to."""
    details = item["pricing"]["price_details"]
    price = world.store.get(details["price"]) if details else None
    if keep:
        item["invoice"] = invoice["id"]
        world.save(item)
    new_line(
        invoice,
        amount=item["amount"],
        description=item["description"],
        quantity=item["quantity"],
        period=(item["period"]["start"], item["period"]["end"]),
        price=price,
        invoice_item=item["id"],
        metadata=item["metadata"],
    )
