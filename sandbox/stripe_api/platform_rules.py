"""What a platform may do on a connected account, and for whom its own account acts."""

from __future__ import annotations

from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.routing import Params
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


def must_have_made(world: World, subscription: Object) -> None:
    """A platform can't change or cancel a subscription that it didn't create.

    https://docs.stripe.com/connect/subscriptions says so. Not verified: Stripe's words, the status (403 here), and that a
    subscription which the account itself made (`application` null) is refused like one of another platform; see
    `directory.Choices`. The account's own keys, its customers in the portal and Stripe's own clock may all of it.
    """
    mine = world.application
    made_by = subscription["application"]
    if mine is None or made_by == mine:
        return
    if made_by is None and not world.engine.directory.chosen.null_application_is_foreign:
        return
    raise StripeError(
        f"This application is not authorized to edit this subscription: '{subscription['id']}'. It was not created by "
        "your platform.",
        status=403,
        keep=False,
    )


def may_pay(world: World, subscription: Object | None) -> None:
    """Paying an invoice is not changing its subscription, unless the sandbox was told so (not verified)."""
    if subscription is not None and world.engine.directory.chosen.paying_is_changing:
        must_have_made(world, subscription)


def on_behalf_of(world: World, params: Params) -> str | None:
    """The account that a parameter `on_behalf_of` names; it has to be connected (what Stripe says then: not verified)."""
    wanted: str | None = params.get("on_behalf_of")
    if wanted is None or wanted == world.place.account:
        return wanted
    directory = world.engine.directory
    reachable = directory.reachable(world.place._replace(account=wanted))
    if not world.place.is_platform or not reachable:
        raise missing("account", wanted, "on_behalf_of")
    return wanted
