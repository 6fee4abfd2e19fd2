"""The API on HTTP: authentication, form-encoded parameters, Stripe's headers."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from flask import Blueprint, Response, request

from sandbox.stripe_api.account import ACCOUNT
from sandbox.stripe_api.account_settings import setting
from sandbox.stripe_api.api import Answer, StripeApi
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.forms import decode
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.store import encode

METHODS = ["GET", "POST", "DELETE"]
MAX_BODY = 1 << 20
MAX_KEY = 255
_KEY = re.compile(r"(sk|rk)_test_[A-Za-z0-9_]{3,}\Z")


def blueprint(world: StripeApi) -> Blueprint:
    """Routes `/v1/…` and `/v2/…` (with Stripe's authentication) and `/sandbox/…` (JSON, from this machine's own tools)."""
    api = Blueprint("stripe", __name__)

    @api.route("/<any(v1, v2):family>/<path:rest>", methods=METHODS)
    def stripes(family: str, rest: str) -> Response:
        version = request.headers.get("Stripe-Version", world.api_version)
        try:
            key = authenticate(request.headers.get("Authorization"))
            authorize(world, key, request.headers.get("Stripe-Account"))
            params = _form()
            once = request.headers.get("Idempotency-Key")
            if once is not None and len(once) > MAX_KEY:
                raise StripeError(
                    f"Idempotency key is longer than {MAX_KEY} characters.", keep=False
                )
        except StripeError as error:
            request_id = new_id("req", 14)
            return _answer(error.status, encode(error.body(request_id)), request_id, version)
        legacy = "Stripe-Version" not in request.headers
        answer = world.perform(request.method, f"/{family}/{rest}", params, once, legacy=legacy)
        response = _answer(answer.status, answer.body, answer.request_id, version)
        if once is not None:
            response.headers["Idempotency-Key"] = once
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


def keep_answer(world: StripeApi, response: Response) -> None:
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


def authenticate(header: str | None) -> str:
    """Take any test key, by Bearer or Basic, and return it; raises Stripe's 401."""
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
        raise StripeError(f"Invalid API Key provided: {_masked(key)}", status=401, keep=False)
    return key


def _masked(key: str) -> str:
    return key[:8] + "*" * max(len(key) - 12, 0) + key[-4:] if len(key) > 12 else "****"


def authorize(world: StripeApi, key: str, account: str | None) -> None:
    """There is one account, and its key may have been revoked; raises Stripe's 403."""
    if account in (None, "", ACCOUNT) and not setting(world, "revoked"):
        return
    raise StripeError(
        f"The provided key '{_masked(key)}' does not have access to account '{account or ACCOUNT}' (or that account "
        "does not exist). Application access may have been revoked.",
        status=403,
        code="account_invalid",
        keep=False,
    )


def _answer(status: int, body: bytes, request_id: str, version: str) -> Response:
    response = Response(body, status, content_type="application/json")
    response.headers["Request-Id"] = request_id
    response.headers["Stripe-Version"] = version
    response.headers["Cache-Control"] = "no-cache, no-store"
    return response
