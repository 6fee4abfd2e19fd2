"""What the business has chosen in Stripe's dashboard, where no API can change it: `/sandbox/account`."""

from __future__ import annotations

from typing import Literal

import msgspec

from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


class Choices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be chosen; the defaults are Stripe's own."""

    after_last_retry: Literal["cancel", "unpaid", "past_due"] = "cancel"
    """What becomes of a subscription when its last retry fails."""
    after_last_retry_invoice: Literal["open", "uncollectible"] = "open"
    """What becomes of the invoice then."""
    automations: bool = False
    """Retries are run by an automation, so `invoice.payment_failed` does not know the next date yet; it comes in an `invoice.updated`."""
    cancel_on_dispute: bool = False
    """A dispute of a subscription's charge cancels it."""
    retry_debits: bool = False
    """Bank debits that came back for want of funds are tried again."""
    revoked: bool = False
    """The key has lost its access: every request is refused with a 403."""


def chosen(world: World) -> Choices:
    """The business's choices."""
    return msgspec.convert(world.store.setting("account", {}), Choices)


@route("GET", "/sandbox/account")
def read(world: World, ids: dict[str, str], params: Params) -> Object:
    """All choices as they are."""
    shown: Object = msgspec.to_builtins(chosen(world))
    return shown


@route("POST", "/sandbox/account", takes=Choices)
def change(world: World, ids: dict[str, str], params: Params) -> Object:
    """Choose anew what is given."""
    world.store.set("account", {**world.store.setting("account", {}), **params})
    return read(world, ids, {})
