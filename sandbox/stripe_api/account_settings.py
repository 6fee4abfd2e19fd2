"""What the business has chosen in Stripe's dashboard, where no API can change it: `/sandbox/account`."""

from __future__ import annotations

from typing import Any, Final

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "after_last_retry": ("cancel", "unpaid", "past_due"),
    "after_last_retry_invoice": ("open", "uncollectible"),
    "automations": (False, True),
    "cancel_on_dispute": (False, True),
    "retry_debits": (False, True),
    "revoked": (False, True),
}
"""By setting its possible values; the first is Stripe's own default.

- `after_last_retry`: what becomes of a subscription when its last retry fails.
- `after_last_retry_invoice`: what becomes of the invoice then.
- `automations`: retries are run by an automation, so `invoice.payment_failed` does not know the next date yet; it
  comes in an `invoice.updated`.
- `cancel_on_dispute`: a dispute of a subscription's charge cancels it.
- `retry_debits`: bank debits that came back for want of funds are tried again.
- `revoked`: the key has lost its access: every request is refused with a 403.
"""


def setting(world: World, name: str) -> Any:
    """The business's choice."""
    return world.store.setting("account", {}).get(name, CHOICES[name][0])


@route("GET", "/sandbox/account")
def read(world: World, ids: dict[str, str], params: Params) -> Object:
    """All choices as they are."""
    return {name: setting(world, name) for name in CHOICES}


@route("POST", "/sandbox/account")
def change(world: World, ids: dict[str, str], params: Params) -> Object:
    """Choose anew what is given."""
    for name, value in params.items():
        if name not in CHOICES:
            raise StripeError(f"Unknown: {name}. Known: {', '.join(CHOICES)}.", param=name)
        if not any(value is allowed or value == allowed for allowed in CHOICES[name]):
            raise StripeError(f"{name}: one of {CHOICES[name]}", param=name)
    world.store.set("account", {**world.store.setting("account", {}), **params})
    return read(world, ids, {})
