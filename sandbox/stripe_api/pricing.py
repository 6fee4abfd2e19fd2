"""What a quantity of a price costs. https://docs.stripe.com/products-prices/pricing-models"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from sandbox.stripe_api.store import Object


def is_metered(price: Object) -> bool:
    """Whether the quantity is only known when the period is over."""
    recurring = price.get("recurring")
    return bool(recurring and recurring["usage_type"] == "metered")


def sold_in(price: Object, currency: str) -> Object | None:
    """The price as it is in this currency; None where it is not sold in it. Shown it stays in its own.
    https://docs.stripe.com/products-prices/pricing-models#use-multi-currency-prices"""
    if currency == price["currency"]:
        return price
    option = price.get("_currency_options", {}).get(currency)
    if option is None:
        return None
    amount = option["unit_amount"]
    return {
        **price,
        "currency": currency,
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def cost(price: Object, quantity: int) -> int:
    """The amount in minor units, rounded as a whole."""
    if price["billing_scheme"] == "tiered":
        amount = _tiered(price, quantity)
    else:
        amount = _unit(price) * _packages(price, quantity)
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def _unit(priced: Object) -> Decimal:
    """A price's or a tier's amount for one unit; fractions of the minor unit stand in `unit_amount_decimal`."""
    return Decimal(priced.get("unit_amount_decimal") or priced.get("unit_amount") or 0)


def _packages(price: Object, quantity: int) -> int:
    transform = price.get("transform_quantity")
    if not transform:
        return quantity
    whole, rest = divmod(quantity, int(transform["divide_by"]))
    return whole + (1 if rest and transform["round"] == "up" else 0)


def _tiered(price: Object, quantity: int) -> Decimal:
    """`volume`: the tier that the whole falls into; `graduated`: each tier for its own part."""
    total, reached = Decimal(0), 0
    for tier in price["_tiers"]:
        end = quantity if tier["up_to"] is None else min(quantity, tier["up_to"])
        if price["tiers_mode"] == "volume":
            if quantity <= end:
                return _flat(tier) + _unit(tier) * quantity
            continue
        if end > reached or (quantity == 0 and reached == 0):
            total += _flat(tier) + _unit(tier) * (end - reached)
        reached = end
        if reached == quantity:
            break
    return total


def _flat(tier: Object) -> Decimal:
    return Decimal(tier.get("flat_amount_decimal") or tier.get("flat_amount") or 0)


def tiers_of(given: list[Object]) -> list[Object]:
    """A price's tiers as they are kept; the last one is `inf`, which is shown as null."""
    return [
        {
            "flat_amount": tier.get("flat_amount"),
            "flat_amount_decimal": tier.get("flat_amount_decimal")
            or (str(tier["flat_amount"]) if tier.get("flat_amount") is not None else None),
            "unit_amount": tier.get("unit_amount"),
            "unit_amount_decimal": tier.get("unit_amount_decimal")
            or (str(tier["unit_amount"]) if tier.get("unit_amount") is not None else None),
            "up_to": None if tier["up_to"] == "inf" else int(tier["up_to"]),
        }
        for tier in given
    ]
