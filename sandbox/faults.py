"""Faults on demand: errors, time-outs and slow answers, for any request that reaches the sandbox.

`POST /sandbox/faults` with `{"match": "POST /v1/billing_portal/sessions", "status": 409, "times": 2}` makes the
next two such requests fail. `match` is a method (or `*`) and a path, with `*` for anything. `status` is an HTTP
status, `"timeout"` (no answer for `delay_seconds`, 60 by default, then 504) or absent (just slow). `code` chooses among
the reasons that Stripe has for a status (403: `more_permissions_required`, or `account_invalid`). `retry_after` is a 429's header, in
whole seconds: Stripe promises none, and its libraries have read one. `after` true
lets the request take effect and only then hides its answer. `keep` true lets the request's idempotency key remember
the error, as Stripe does once it has begun. `times` is how often, null for until it is removed. `account` leaves the
requests on all other accounts alone.
`GET` lists them, `DELETE` removes them and lets go whoever waits.
"""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from flask import Flask, Response, g, jsonify, request
from msgspec import Meta

PATH = "/sandbox/faults"
TIMEOUT_SECONDS = 60.0
STEP_SECONDS = 0.05
_REFUSALS: dict[int | str, dict[str | None, str]] = {
    401: {
        None: "Invalid API Key provided: sk_test_***************89ab",
        "api_key_expired": "Expired API Key provided: sk_test_***************89ab",
    },
    403: {
        "more_permissions_required": "The provided key 'rk_test_***************89ab' does not have the required "
        "permissions for this endpoint on account 'acct_1PorticoSandbox00'. Having the 'rak_customer_portal_write' "
        "permission would allow this request to continue.",
        "account_invalid": "The provided key 'sk_test_***************89ab' does not have access to account "
        "'acct_1PorticoSandbox00' (or that account does not exist). Application access may have been revoked.",
        "secret_key_required": "This API call cannot be made with a publishable API key.",
    },
    409: {
        "lock_timeout": "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it.",
        "idempotency_key_in_use": "There is currently another in-progress request using this Idempotent Key.",
    },
    429: {
        "rate_limit": "Request rate limit exceeded.",
        "lock_timeout": "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it.",
    },
}
"""What Stripe refuses a request with, by status and `error.code`; the first code is the usual one.
https://docs.stripe.com/error-codes"""


class BadFault(ValueError):
    """The fault can't be understood; the text says what is wrong."""


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A fault as it is asked for."""

    match: Annotated[str, Meta(pattern=r"^\S+ +[/*]\S*$")]
    status: Annotated[int, Meta(ge=400, le=599)] | Literal["timeout"] | None = None
    delay_seconds: Annotated[float, Meta(ge=0, le=3600)] | None = None
    times: Annotated[int, Meta(gt=0)] | None = 1
    after: bool = False
    keep: bool = False
    code: str | None = None
    account: Annotated[str, Meta(pattern="^acct_")] | None = None
    retry_after: Annotated[int, Meta(ge=0, le=3600)] | None = None


@dataclass
class Fault:
    """One kind of trouble. `left` counts down; None lasts."""

    asked: Asked
    left: int | None

    @property
    def status(self) -> int | str | None:
        return self.asked.status

    @property
    def delay_seconds(self) -> float:
        """How long whom it hits waits."""
        usual = TIMEOUT_SECONDS if self.status == "timeout" else 0.0
        return usual if self.asked.delay_seconds is None else self.asked.delay_seconds

    def matches(self, method: str, path: str, account: str | None = None) -> bool:
        """Whether a request on an account is hit."""
        if self.asked.account not in (None, account):
            return False
        wanted, pattern = self.asked.match.split()
        return wanted.upper() in ("*", method) and fnmatch.fnmatchcase(path, pattern)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        shown = msgspec.to_builtins(self.asked)
        return {**shown, "delay_seconds": self.delay_seconds, "times": self.left}


def parse(given: Any) -> Fault:
    """A fault from its JSON; raises BadFault."""
    try:
        asked = msgspec.convert(given, Asked)
    except msgspec.ValidationError as error:
        raise BadFault(str(error)) from None
    if asked.code is not None and asked.code not in _REFUSALS.get(asked.status or 0, {}):
        raise BadFault(f"code: Stripe has no {asked.code!r} for the status {asked.status}")
    if asked.retry_after is not None and asked.status != 429:
        raise BadFault("retry_after: only with the status 429")
    return Fault(asked, asked.times)


class Faults:
    """The faults that are set, in the order they were set; the first that matches a request hits it.

    `keep` has the present request's idempotency key remember an answer; `account` says on which account it acts.
    """

    def __init__(
        self,
        keep: Callable[[Response], None] = lambda response: None,
        account: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._keep = keep
        self._account = account
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, given: Any) -> Fault:
        """Set one; raises BadFault."""
        fault = parse(given)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all; who waits in a time-out is let go."""
        with self._lock:
            self._faults.clear()

    def all(self) -> list[dict[str, Any]]:
        """Those that are set."""
        with self._lock:
            return [fault.shown() for fault in self._faults]

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits a request, counted."""
        with self._lock:
            if not self._faults:
                return None
            account = self._account()
            for fault in self._faults:
                if fault.matches(method, path, account) and fault.left != 0:
                    if fault.left is not None:
                        fault.left -= 1
                        if fault.left == 0 and fault.status != "timeout":
                            self._faults.remove(fault)
                    return fault
        return None

    def wait(self, fault: Fault) -> None:
        """Keep a request waiting, unless the faults are removed meanwhile."""
        end = time.monotonic() + fault.delay_seconds
        while (left := end - time.monotonic()) > 0:
            if fault.status == "timeout" and not self._stands(fault):
                break
            time.sleep(min(left, STEP_SECONDS))
        if fault.left == 0:
            with self._lock:
                self._faults = [one for one in self._faults if one is not fault]

    def _hit(self, fault: Fault) -> Response | None:
        """What the present request gets to hear; None when it was only kept waiting."""
        self.wait(fault)
        if fault.status is None:
            return None
        response = broken(fault, request.path)
        if fault.asked.keep:
            self._keep(response)
        return response

    def _stands(self, fault: Fault) -> bool:
        with self._lock:
            return any(one is fault for one in self._faults)

    def install(self, app: Flask) -> None:
        """Let every request of the app pass by here first, and serve `/sandbox/faults`."""

        @app.before_request
        def before() -> Response | None:
            if request.path == PATH:
                return None
            g.fault = fault = self.take(request.method, request.path)
            if fault is None or fault.asked.after:
                return None
            return self._hit(fault)

        @app.after_request
        def after(response: Response) -> Response:
            fault = g.pop("fault", None)
            if fault is None or not fault.asked.after:
                return response
            return self._hit(fault) or response

        @app.route(PATH, methods=["GET", "POST", "DELETE"])
        def faults() -> tuple[Response, int] | Response:
            if request.headers.get("Sec-Fetch-Site") == "cross-site":
                return Response(status=403)
            if request.method == "DELETE":
                self.clear()
            elif request.method == "POST":
                try:
                    self.add(request.get_json(silent=True))
                except BadFault as error:
                    return jsonify({"error": str(error)}), 400
            return jsonify({"faults": self.all()})


def broken(fault: Fault, path: str) -> Response:
    """The answer of a request that was hit, in the words of whom the sandbox plays there."""
    status = 504 if fault.status == "timeout" else int(fault.status or 500)
    stripes = path.startswith(("/v1/", "/v2/"))
    headers = (
        {} if fault.asked.retry_after is None else {"Retry-After": str(fault.asked.retry_after)}
    )
    if stripes:
        reasons = _REFUSALS.get(status, {None: "An unknown error occurred"})
        code = fault.asked.code or next(iter(reasons))
        type = "invalid_request_error" if status in _REFUSALS else "api_error"
        message = reasons[code]
        if fault.asked.account is not None:
            message = message.replace("acct_1PorticoSandbox00", fault.asked.account)
        error = {"message": message, "type": type, **({"code": code} if code else {})}
        document: dict[str, Any] = {"error": error}
        if code == "rate_limit":
            headers["Stripe-Rate-Limited-Reason"] = "global-rate"
    else:
        document = {"errors": [{"message": "fault on demand", "field": None, "help": None}]}
    response = Response(json.dumps(document), status, headers, content_type="application/json")
    if status == 429 and not stripes:
        response.headers["X-RateLimit-Reset"] = str(int(time.time()) + 1)
    return response
