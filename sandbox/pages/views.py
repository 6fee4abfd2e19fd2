"""The portal's pages and forms. Plain HTML: it works without scripts, as a mail link on a phone must."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import design
from sandbox.pages import billing, hosted
from sandbox.pages.answers import answer
from sandbox.pages.billing import Json
from sandbox.pages.typed_card import TEST_CARDS, TypedCard, example
from sandbox.pages.visit import SessionGone, Visit
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError
from shared.l10n.palette import COLOR, palette

DONE = {
    "card": "Your new card is saved and is now your default payment method.",
    "default": "Your default payment method has changed.",
    "removed": "The payment method has been removed.",
    "canceled": "Your subscription has been canceled.",
    "renewed": "Your subscription goes on as before.",
    "paused": "Your subscription is paused.",
    "resumed": "Your subscription goes on.",
    "details": "Your billing information has been saved.",
}
REASONS = {
    "too_expensive": "It’s too expensive",
    "missing_features": "I need something it doesn’t offer",
    "switched_service": "I found an alternative",
    "unused": "I no longer need it",
    "customer_service": "Customer service was less than expected",
    "low_quality": "Quality was less than expected",
    "too_complex": "It’s too complicated",
    "other": "Other reason",
}


def blueprint(world: AccountApi) -> Blueprint:
    """The portal's routes under ``/p/session/<secret>``, and Stripe's other hosted pages."""
    pages = design.pages("portal", "/p/static")

    @pages.errorhandler(SessionGone)
    def gone(_: SessionGone) -> AnyResponse:
        return answer("portal/expired.html", 404)

    _reading(pages, world)
    _methods(pages, world)
    _subscriptions(pages, world)
    _details(pages, world)
    hosted.add(pages, world)

    @pages.get("/p/brand/<color>.css")
    def brand(color: str) -> AnyResponse:
        if not COLOR.fullmatch(f"#{color}"):
            abort(404)
        shades = palette(f"#{color}").light
        ink = shades.on_button
        rules = f".portal {{ --side: {shades.button}; --side-ink: {ink}; --side-soft: {ink}; }}\n"
        return Response(rules, content_type="text/css; charset=utf-8")

    return pages


def _reading(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/p/session/<secret>")
    def start(secret: str) -> AnyResponse:
        visit = Visit.open(world, secret)
        if visit.flow_type == "payment_method_update":
            return _card_page(visit, example(request.args.get("fill", ""), world.now()))
        if visit.flow_type in ("subscription_cancel", "subscription_pause"):
            action = visit.flow_type.removeprefix("subscription_")
            return _ask(visit, str(visit.flow_subscription()), action)
        if visit.flow_type == "customer_update":
            return _details_page(visit)
        return _overview(visit)

    @pages.get("/p/session/<secret>/overview")
    def overview(secret: str) -> AnyResponse:
        return _overview(Visit.open(world, secret))

    @pages.get("/p/session/<secret>/done")
    def done(secret: str) -> AnyResponse:
        visit = Visit.open(world, secret)
        return _page(visit, "portal/done.html", message=visit.confirmation)

    @pages.get("/p/session/<secret>/invoices/<invoice_id>")
    def invoice(secret: str, invoice_id: str) -> AnyResponse:
        visit = Visit.open(world, secret)
        if not visit.allows("invoice_history"):
            abort(404)
        found = _owned(visit, "invoices", invoice_id)
        charges = billing.charges_of(world, invoice_id)
        return _page(
            visit,
            "portal/invoice.html",
            invoice=found,
            state=billing.bill_state(found, charges),
            charges=charges,
        )


def _overview(visit: Visit) -> AnyResponse:
    every = request.args.get("invoices") == "all"
    return _page(
        visit,
        "portal/overview.html",
        view=billing.overview(
            visit.stripe,
            visit.customer_id,
            every_bill=every,
            on_behalf_of=visit.on_behalf_of,
        ),
        message=DONE.get(request.args.get("done", "")),
        problem=request.args.get("problem") == "in-use",
    )


def _methods(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/p/session/<secret>/payment-methods/new")
    def card_form(secret: str) -> AnyResponse:
        visit = _allowed(world, secret, "payment_method_update")
        return _card_page(visit, example(request.args.get("fill", ""), world.now()))

    @pages.post("/p/session/<secret>/payment-methods/new")
    def save_card(secret: str) -> AnyResponse:
        visit = _allowed(world, secret, "payment_method_update")
        typed = TypedCard.of(request.form, world.now())
        if typed.errors:
            return _card_page(visit, typed, 422)
        try:
            method = billing.save_card(world, typed.params(), visit.customer_id)
        except StripeError as error:
            return _card_page(visit, typed.refused(error.code, error.message), 402)
        _make_default(visit, method["id"])
        if visit.flow_type == "payment_method_update":
            return redirect(visit.after_flow("card"), 303)
        return redirect(f"{visit.home}/overview?done=card", 303)

    @pages.post("/p/session/<secret>/payment-methods/<method_id>/default")
    def make_default(secret: str, method_id: str) -> AnyResponse:
        visit = _allowed(world, secret, "payment_method_update")
        _owned(visit, "payment_methods", method_id)
        _make_default(visit, method_id)
        return redirect(f"{visit.home}/overview?done=default", 303)

    @pages.post("/p/session/<secret>/payment-methods/<method_id>/remove")
    def remove(secret: str, method_id: str) -> AnyResponse:
        visit = _allowed(world, secret, "payment_method_update")
        _owned(visit, "payment_methods", method_id)
        if method_id == billing.default_method_id(visit.customer):
            return redirect(f"{visit.home}/overview?problem=in-use", 303)
        world.call("POST", f"/v1/payment_methods/{method_id}/detach")
        return redirect(f"{visit.home}/overview?done=removed", 303)


def _make_default(visit: Visit, method_id: str) -> None:
    # Stripe's portal changes the customer's default alone; a subscription's own card stays.
    visit.stripe.call(
        "POST",
        f"/v1/customers/{visit.customer_id}",
        {"invoice_settings": {"default_payment_method": method_id}},
    )


def _card_page(visit: Visit, typed: TypedCard, status: int = 200) -> AnyResponse:
    in_flow = visit.flow_type == "payment_method_update"
    return _page(
        visit,
        "portal/card.html",
        status,
        typed=typed,
        hints=TEST_CARDS,
        in_flow=in_flow,
        here=visit.home if in_flow else f"{visit.home}/payment-methods/new",
    )


def _subscriptions(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/p/session/<secret>/subscriptions/<subscription_id>/<any(cancel, pause):action>")
    def ask(secret: str, subscription_id: str, action: str) -> AnyResponse:
        return _ask(_allowed(world, secret, f"subscription_{action}"), subscription_id, action)

    @pages.post("/p/session/<secret>/subscriptions/<subscription_id>/cancel")
    def cancel(secret: str, subscription_id: str) -> AnyResponse:
        visit = _allowed(world, secret, "subscription_cancel")
        _owned(visit, "subscriptions", subscription_id)
        feature = visit.feature("subscription_cancel")
        reason = request.form.get("reason", "")
        path = f"/v1/subscriptions/{subscription_id}"
        details: Json = {}
        if reason in REASONS:
            details = {"cancellation_details": {"feedback": reason}}
        if feature.get("mode") == "immediately":
            world.call("DELETE", path, details)
        else:
            world.call("POST", path, {"cancel_at_period_end": True, **details})
        return _finished(visit, "canceled")

    @pages.post("/p/session/<secret>/subscriptions/<subscription_id>/renew")
    def renew(secret: str, subscription_id: str) -> AnyResponse:
        return _change(
            secret, subscription_id, "cancel", {"cancel_at_period_end": False}, "renewed"
        )

    @pages.post("/p/session/<secret>/subscriptions/<subscription_id>/pause")
    def pause(secret: str, subscription_id: str) -> AnyResponse:
        change = {"pause_collection": {"behavior": "void"}}
        return _change(secret, subscription_id, "pause", change, "paused")

    @pages.post("/p/session/<secret>/subscriptions/<subscription_id>/resume")
    def resume(secret: str, subscription_id: str) -> AnyResponse:
        return _change(secret, subscription_id, "pause", {"pause_collection": ""}, "resumed")

    def _change(
        secret: str, subscription_id: str, feature: str, change: Json, done: str
    ) -> AnyResponse:
        visit = _allowed(world, secret, f"subscription_{feature}")
        _owned(visit, "subscriptions", subscription_id)
        world.call("POST", f"/v1/subscriptions/{subscription_id}", change)
        return _finished(visit, done)


def _finished(visit: Visit, done: str) -> AnyResponse:
    in_flow = visit.flow_type in ("subscription_cancel", "subscription_pause", "customer_update")
    return redirect(
        visit.after_flow(done) if in_flow else f"{visit.home}/overview?done={done}", 303
    )


def _ask(visit: Visit, subscription_id: str, action: str) -> AnyResponse:
    if not visit.allows(f"subscription_{action}"):
        abort(404)
    found = _owned(visit, "subscriptions", subscription_id)
    feature = visit.feature(f"subscription_{action}")
    reasons = feature.get("cancellation_reason") or {}
    return _page(
        visit,
        "portal/leave.html",
        plan=billing.plan(visit.stripe, found, visit.customer, []),
        action=action,
        at_once=feature.get("mode") == "immediately",
        reasons={key: REASONS[key] for key in reasons.get("options") or () if key in REASONS}
        if reasons.get("enabled")
        else {},
    )


def _details(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/p/session/<secret>/customer")
    def details(secret: str) -> AnyResponse:
        return _details_page(_allowed(world, secret, "customer_update"))

    @pages.post("/p/session/<secret>/customer")
    def save_details(secret: str) -> AnyResponse:
        visit = _allowed(world, secret, "customer_update")
        changes = {name: request.form.get(name, "").strip() for name in _updatable(visit)}
        try:
            world.call("POST", f"/v1/customers/{visit.customer_id}", changes)
        except StripeError as error:
            return _details_page(visit, changes, error.message)
        return _finished(visit, "details")


def _updatable(visit: Visit) -> list[str]:
    allowed = visit.feature("customer_update").get("allowed_updates") or ()
    return [name for name in ("name", "email", "phone") if name in allowed]


def _details_page(visit: Visit, typed: Json | None = None, error: str | None = None) -> AnyResponse:
    if not visit.allows("customer_update"):
        abort(404)
    return _page(
        visit,
        "portal/details.html",
        422 if error else 200,
        fields=_updatable(visit),
        typed=typed or visit.customer,
        error=error,
    )


def _allowed(world: AccountApi, secret: str, feature: str) -> Visit:
    visit = Visit.open(world, secret)
    if not visit.allows(feature):
        abort(404)
    return visit


def _owned(visit: Visit, kind: str, object_id: str) -> Json:
    """An object of this visit's customer; 404 for anybody else's, and for what is billed on behalf of another account."""
    try:
        found = visit.stripe.call("GET", f"/v1/{kind}/{object_id}")
    except StripeError:
        abort(404)
    if found.get("customer") != visit.customer_id:
        abort(404)
    account = visit.on_behalf_of
    if account is not None and found.get("on_behalf_of", account) != account:
        abort(404)
    return found


def _page(visit: Visit, template: str, status: int = 200, **values: Any) -> AnyResponse:
    return answer(template, status, visit=visit, **values)
