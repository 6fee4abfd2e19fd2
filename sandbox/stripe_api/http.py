"""The API on HTTP: authentication, form-encoded parameters, Stripe's headers."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from flask import Blueprint, Response, request

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.forms import decode
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.store import encode
from sandbox.stripe_api.world import Answer, World

METHODS = ["GET", "POST", "DELETE"]
MAX_BODY = 1 << 20
MAX_KEY = 255
_KEY = re.compile(r"(sk|rk)_test_[A-Za-z0-9_]{3,}\Z")


def blueprint(world: World) -> Blueprint:
    """Routes `/v1/…` (with Stripe's authentication) and `/sandbox/…` (JSON, from this machine's own tools)."""
    api = Blueprint("stripe", __name__)

    @api.route("/v1/<path:rest>", methods=METHODS)
    def v1(rest: str) -> Response:
        version = request.headers.get("Stripe-Version", world.api_version)
        try:
            authenticate(request.headers.get("Authorization"))
            params = _form()
            key = request.headers.get("Idempotency-Key")
            if key is not None and len(key) > MAX_KEY:
                raise StripeError(
                    f"Idempotency key is longer than {MAX_KEY} characters.", keep=False
                )
        except StripeError as error:
            request_id = new_id("req", 14)
            return _answer(error.status, encode(error.body(request_id)), request_id, version)
        legacy = "Stripe-Version" not in request.headers
        answer = world.perform(request.method, f"/v1/{rest}", params, key, legacy=legacy)
        response = _answer(answer.status, answer.body, answer.request_id, version)
        if key is not None:
            response.headers["Idempotency-Key"] = key
        if answer.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    @api.route("/sandbox/<path:rest>", methods=METHODS)
    def controls(rest: str) -> Response:
        given: Any = request.get_json(silent=True) if request.method == "POST" else {}
        params = given if isinstance(given, dict) else {}
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A page elsewhere must not move this world from somebody's browser.
            return Response(status=403)
        answer = world.perform(request.method, f"/sandbox/{rest}", params, outside=False)
        return _answer(answer.status, answer.body, answer.request_id, world.api_version)

    return api


def keep_answer(world: World, response: Response) -> None:
    """Let the idempotency key of the present request remember this answer, as Stripe remembers its own 500."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and request.method == "POST":
        answer = Answer(response.status_code, response.get_data(), new_id("req", 14))
        world.keep_answer(key, request.path, _form(), answer)


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


def authenticate(header: str | None) -> None:
    """Take any test key, by Bearer or Basic; raises Stripe's 401."""
    scheme, _, credentials = (header or "").partition(" ")
    key = ""
    if scheme.lower() == "bearer":
        key = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise StripeError(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
            "https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
            status=401,
            keep=False,
        )
    if not _KEY.match(key):
        shown = key[:8] + "*" * max(len(key) - 12, 0) + key[-4:] if len(key) > 12 else "****"
        raise StripeError(f"Invalid API Key provided: {shown}", status=401, keep=False)


def _answer(status: int, body: bytes, request_id: str, version: str) -> Response:
    response = Response(body, status, content_type="application/json")
    response.headers["Request-Id"] = request_id
    response.headers["Stripe-Version"] = version
    response.headers["Cache-Control"] = "no-cache, no-store"
    return response
