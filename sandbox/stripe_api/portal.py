"""The Billing Portal's sessions. Its pages are in `sandbox/pages`.

https://docs.stripe.com/api/customer_portal/sessions: a session's URL is short-lived.
"""

from __future__ import annotations

from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError, missing, parameter_missing
from sandbox.stripe_api.ids import new_id, secret
from sandbox.stripe_api.platform_rules import on_behalf_of
from sandbox.stripe_api.portal_configurations import CONFIGURATION, default_configuration
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

UNUSED_FOR = 5 * 60
"""Seconds after which a session dies that nobody opened."""
USED_FOR = 60 * 60
"""Seconds after its first use at which a session ends."""

SESSION = "billing_portal.session"
FLOW_NEEDS = {
    "subscription_cancel": "subscription_cancel",
    "subscription_pause": "subscription_pause",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
    "payment_method_update": "payment_method_update",
    "customer_update": "customer_update",
}
"""Which feature of the configuration a flow needs."""


@route("POST", "/v1/billing_portal/sessions")
def create_session(world: World, ids: dict[str, str], params: Params) -> Object:
    """A fresh way in for one customer. Without `configuration` it is the account's default.

    With `on_behalf_of` it shows only what is billed on behalf of that account, under its brand; the configuration stays
    the platform's.
    """
    if not params.get("customer"):
        raise parameter_missing("customer")
    customer = alive(world, params["customer"])
    if params.get("configuration"):
        configuration = world.get(CONFIGURATION, params["configuration"], "configuration")
        if not configuration["active"]:
            raise StripeError(
                f"The configuration `{configuration['id']}` is inactive and can't be used to create a session.",
                param="configuration",
            )
    else:
        configuration = default_configuration(world)
    account = on_behalf_of(world, params)
    flow = params.get("flow_data")
    if flow is not None:
        _check_flow(world, flow, configuration, customer, account)
    _forget_old_sessions(world)
    key = secret(world.place.mode)
    session: Object = {
        "id": new_id("bps"),
        "object": SESSION,
        "after_expiration": params.get("after_expiration"),
        "configuration": configuration["id"],
        "created": world.now(),
        "customer": customer["id"],
        "customer_account": None,
        "flow": _flow(flow) if flow else None,
        "livemode": world.livemode,
        "locale": params.get("locale"),
        "on_behalf_of": account,
        "return_url": params.get("return_url") or configuration["default_return_url"],
        "url": f"{world.public_url}/p/session/{key}",
        "_secret": key,
        "_used_at": None,
    }
    world.save(session, "billing_portal.session.created")
    return session


def _forget_old_sessions(world: World) -> None:
    """Every click makes a session: those that nobody can use any more need not be kept."""
    while (oldest := world.store.eldest(SESSION)) is not None:
        if world.now() < oldest["created"] + UNUSED_FOR + USED_FOR:
            return
        world.remove(oldest)


def _check_flow(
    world: World, flow: Params, configuration: Object, customer: Object, account: str | None
) -> None:
    kind = flow["type"]
    feature = FLOW_NEEDS.get(kind)
    if feature and not (configuration["features"].get(feature) or {}).get("enabled"):
        raise StripeError(
            f"This flow requires the {feature} feature to be enabled in the portal configuration "
            f"`{configuration['id']}`.",
            param="flow_data[type]",
        )
    details = flow.get(kind)
    if kind.startswith("subscription_"):
        where = f"flow_data[{kind}][subscription]"
        if not details or not details.get("subscription"):
            raise parameter_missing(where)
        subscription = world.get("subscription", details["subscription"], where)
        strange = account is not None and subscription["on_behalf_of"] != account
        if strange or subscription["customer"] != customer["id"]:
            raise missing("subscription", subscription["id"], where)


def _flow(given: Params) -> Object:
    after = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
    kinds = (
        "subscription_cancel",
        "subscription_pause",
        "subscription_update",
        "subscription_update_confirm",
    )
    return {
        "after_completion": {**after, **(given.get("after_completion") or {})},
        **{kind: given.get(kind) for kind in kinds},
        "type": given["type"],
    }


def find_session(world: World, key: str, *, use: bool = False) -> Object | None:
    """The session behind the secret of a URL (or an id `bps_…`), or None.

    It carries `expires_at`, `used_at` and `expired` besides what the API shows. `use` says that the customer has
    just opened it, and then an expired one is None too: an unused session lives 5 minutes, a used one an hour
    from its first use.
    """
    session = world.store.first(SESSION, "secret", key) or world.store.get(key)
    if session is None or session["object"] != SESSION:
        return None
    now = world.now()
    used_at = session["_used_at"]
    expires_at = session["created"] + UNUSED_FOR if used_at is None else used_at + USED_FOR
    expired = now >= expires_at
    if use and expired:
        return None
    if use and used_at is None:
        session["_used_at"] = used_at = now
        expires_at = now + USED_FOR
        world.save(session)
    return {**public(session), "used_at": used_at, "expires_at": expires_at, "expired": expired}
