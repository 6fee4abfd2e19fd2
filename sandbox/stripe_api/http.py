"""The API on HTTP: authentication, form-encoded parameters, Stripe's headers."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from sandbox.stripe_api import oauth
from sandbox.stripe_api.api import Answer, StripeApi
from sandbox.stripe_api.callers import Caller, identify
from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.forms import decode
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.places import OWN, Place
from sandbox.stripe_api.rate_limits import RateLimited
from sandbox.stripe_api.store import encode

METHODS = ["GET", "POST", "DELETE"]
MAX_BODY = 1 << 20
MAX_KEY = 255


def blueprint(world: StripeApi) -> Blueprint:
    """Routes `/v1/…` and `/v2/…` (with Stripe's authentication) and `/sandbox/…` (JSON, from this machine's own tools)."""
    api = Blueprint("stripe", __name__)

    @api.route("/<any(v1, v2):family>/<path:rest>", methods=METHODS)
    def stripes(family: str, rest: str) -> Response:
        version = request.headers.get("Stripe-Version", world.api_version)
        path = f"/{family}/{rest}"
        try:
            caller = _identify(world)
            params = _form()
            _admit(world, caller, path, params)
            once = request.headers.get("Idempotency-Key")
            if once is not None and len(once) > MAX_KEY:
                raise StripeError(
                    f"Idempotency key is longer than {MAX_KEY} characters.", keep=False
                )
        except StripeError as error:
            request_id = new_id("req", 14)
            response = _answer(error.status, encode(error.body(request_id)), request_id, version)
            if isinstance(error, RateLimited):
                response.headers["Stripe-Rate-Limited-Reason"] = error.reason
            return response
        answer = caller.world.perform(
            request.method,
            path,
            params,
            once,
            legacy="Stripe-Version" not in request.headers,
            application=caller.application,
        )
        response = _answer(answer.status, answer.body, answer.request_id, version)
        if once is not None:
            response.headers["Idempotency-Key"] = once
        if answer.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    @api.post("/oauth/<any(token, deauthorize):what>")
    def oauths(what: str) -> Response:
        request_id = new_id("req", 14)
        key = request.headers.get("Authorization")
        try:
            status, body = oauth.answer(world, what, key, _form())
        except StripeError as error:
            status, body = error.status, error.body(request_id)
        return _answer(status, encode(body), request_id, world.api_version)

    @api.route("/sandbox/<path:rest>", methods=METHODS)
    def controls(rest: str) -> Response:
        given: Any = request.get_json(silent=True) if request.method == "POST" else _query()
        params = given if isinstance(given, dict) else {}
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A page elsewhere must not move this world from somebody's browser.
            return Response(status=403)
        place = present_place(world)
        if world.engine.directory.account(place.account) is None:
            request_id = new_id("req", 14)
            body = encode(missing("account", place.account).body(request_id))
            return _answer(404, body, request_id, world.api_version)
        answer = world.at(place).perform(request.method, f"/sandbox/{rest}", params, outside=False)
        return _answer(answer.status, answer.body, answer.request_id, world.api_version)

    return api


def _identify(world: StripeApi) -> Caller:
    """The caller of the present request; raises Stripe's 401 or 403."""
    account = _account()
    try:
        return identify(world, request.headers.get("Authorization"), account)
    except StripeError as error:
        if error.status == 403:
            world.engine.counts.of(account or OWN.account).no_access += 1
        raise


def _admit(world: StripeApi, caller: Caller, path: str, params: dict[str, Any]) -> None:
    """Count the present request, and raise StripeError if Stripe would not carry it out for this caller."""
    engine, place = world.engine, caller.world.place
    with engine.lock:
        try:
            engine.limits.take(caller.home, place, path.split("/")[2])
        except RateLimited:
            engine.counts.of(place.account).limited += 1
            raise
        strange = partial(engine.strange, caller.world.store)
        engine.counts.note(place, request.method, path, params, strange)
    if caller.rights is not None:
        caller.rights.must_allow(request.method, path)
    if caller.application is not None and path.startswith("/v1/webhook_endpoints"):
        # Listing them could not be verified: refused as well.
        raise StripeError(
            "You do not have permission to create webhook endpoints on connected accounts",
            status=403,
            keep=False,
        )


def _account() -> str | None:
    """The account that the present request's headers name. `Stripe-Context` is a path of which it is the last part."""
    context = request.headers.get("Stripe-Context", "").rpartition("/")[2]
    return request.headers.get("Stripe-Account") or context or None


def present_place(world: StripeApi) -> Place:
    """Where a control of the sandbox acts: where the headers of the present request would, the first account without any.

    `Stripe-Account` alone will do, and no access is needed.
    """
    account = _account()
    try:
        caller = identify(world, request.headers.get("Authorization"), None)
    except StripeError:
        return Place(account or OWN.account)
    return caller.home._replace(account=account or caller.home.account)


def keep_answer(world: StripeApi, response: Response) -> None:
    """Let the idempotency key of the present request remember this answer, as Stripe remembers its own 500."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and request.method == "POST":
        answer = Answer(response.status_code, response.get_data(), new_id("req", 14))
        world.at(present_place(world)).keep_answer(key, request.path, _form(), answer)


def _query() -> dict[str, Any]:
    return dict(request.args.items())


def _form() -> dict[str, Any]:
    """The parameters of the query string and of the body."""
    params = decode(request.query_string.decode("utf-8", "replace"))
    if request.method == "GET":
        return params
    if (request.content_length or 0) > MAX_BODY:
        raise StripeError("Request body is too large.", status=413, keep=False)
    body = request.get_data(cache=True)
    if request.mimetype == "application/json" and body:
        raise StripeError(
            "Invalid request: this API takes form-encoded parameters (Content-Type: "
            "application/x-www-form-urlencoded).",
            keep=False,
        )
    return {**params, **decode(body.decode("utf-8", "replace"))}


def _answer(status: int, body: bytes, request_id: str, version: str) -> Response:
    response = Response(body, status, content_type="application/json")
    response.headers["Request-Id"] = request_id
    response.headers["Stripe-Version"] = version
    response.headers["Cache-Control"] = "no-cache, no-store"
    return response
