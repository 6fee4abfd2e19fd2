"""What the Billing Portal allows: configurations made by API, and the default that the dashboard saves.

https://docs.stripe.com/customer-management/configure-portal
"""

from __future__ import annotations

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.listing import page
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given
from sandbox.stripe_api.world import World

CONFIGURATION = "billing_portal.configuration"
OFF: Object = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": []},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_pause": {
        "duration": {
            "interval_options": [{"interval": "month", "interval_count": 1}],
            "type": "interval_options",
        },
        "enabled": False,
    },
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "products": None,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}
DASHBOARD: Object = {
    "customer_update": {"allowed_updates": ["email", "address", "phone", "name"], "enabled": True},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {"enabled": True},
}
"""What is on when the dashboard's form is saved as it is."""


def _features(given: Params, before: Object | None = None) -> Object:
    features = {name: dict(value) for name, value in (before or OFF).items()}
    for name, value in given.items():
        if isinstance(value, dict):
            features.setdefault(name, {}).update(value)
    return features


def _make(world: World, params: Params, *, is_default: bool = False) -> Object:
    now = world.now()
    profile = params.get("business_profile") or {}
    login = (params.get("login_page") or {}).get("enabled", False)
    configuration: Object = {
        **world.head(CONFIGURATION, new_id("bpc"), now, params),
        "active": True,
        "application": world.application,
        "business_profile": as_given(profile, "headline privacy_policy_url terms_of_service_url"),
        "default_return_url": params.get("default_return_url"),
        "features": _features(params.get("features") or {}),
        "is_default": is_default,
        "login_page": {"enabled": login, "url": None},
        "name": params.get("name"),
        "updated": now,
    }
    world.save(configuration)
    return configuration


def _default(world: World) -> Object | None:
    return next((one for one in world.store.oldest(CONFIGURATION) if one["is_default"]), None)


def default_configuration(world: World) -> Object:
    """The one that the business has saved in the dashboard; raises Stripe's 400 while it never has."""
    found = _default(world)
    if found is None:
        mode = world.place.mode
        raise StripeError(
            f"No configuration provided and your {mode} mode default configuration has not been created. Provide a "
            f"configuration or create your default by saving your customer portal settings in {mode} mode at "
            f"https://dashboard.stripe.com/{'' if world.livemode else 'test/'}settings/billing/portal."
        )
    return found


@route("POST", "/sandbox/portal_default")
def save_default(world: World, ids: dict[str, str], params: Params) -> Object:
    """The business saves its portal settings in the dashboard, with `features` where it changes any.

    At first everything is on but switching plans and pausing.
    """
    found = _default(world)
    if found is not None:
        return update_configuration(world, found, params)
    features = _features(params.get("features") or {}, _features(DASHBOARD))
    configuration = _make(world, {**params, "features": features}, is_default=True)
    world.emit("billing_portal.configuration.created", configuration)
    return configuration


@route("POST", "/v1/billing_portal/configurations")
def create_configuration(world: World, ids: dict[str, str], params: Params) -> Object:
    """What a portal allows. What is not named is off."""
    configuration = _make(world, params)
    world.emit("billing_portal.configuration.created", configuration)
    return configuration


@route("GET", "/v1/billing_portal/configurations")
def list_configurations(world: World, ids: dict[str, str], params: Params) -> Object:
    """All, or the active ones, or the default one."""

    def wanted(configuration: Object) -> bool:
        return all(
            params.get(field, configuration[field]) == configuration[field]
            for field in ("active", "is_default")
        )

    url = "/v1/billing_portal/configurations"
    return page(world, (CONFIGURATION,), params, wanted, url=url)


@route_of(CONFIGURATION, "POST", "/v1/billing_portal/configurations/{configuration}")
def update_configuration(world: World, configuration: Object, params: Params) -> Object:
    """Change what is given; features that are not named stay."""
    if params.get("active") is False and configuration["is_default"]:
        raise StripeError("You cannot make the default configuration inactive.", param="active")
    with world.edit(configuration, "billing_portal.configuration.updated"):
        take(configuration, params, "active", "default_return_url", "name")
        configuration["business_profile"].update(params.get("business_profile") or {})
        if params.get("login_page"):
            configuration["login_page"]["enabled"] = params["login_page"]["enabled"]
        if params.get("features"):
            configuration["features"] = _features(params["features"], configuration["features"])
        configuration["updated"] = world.now()
    return configuration
