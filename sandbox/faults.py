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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, g, jsonify, request

PATH = "/sandbox/faults"
TIMEOUT_SECONDS = 60.0
STEP_SECONDS = 0.05
_REFUSALS: dict[int, dict[str | None, str]] = {
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


@dataclass
class Fault:
    """One kind of trouble. `left` counts down; None lasts."""

    method: str
    path: str
    status: int | str | None
    delay_seconds: float
    left: int | None
    after: bool = False
    keep: bool = False
    code: str | None = None
    account: str | None = None
    retry_after: int | None = None

    def matches(self, method: str, path: str, account: str | None = None) -> bool:
        """Whether a request on an account is hit."""
        if self.account is not None and self.account != account:
            return False
        return self.method in ("*", method) and fnmatch.fnmatchcase(path, self.path)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "match": f"{self.method} {self.path}",
            "status": self.status,
            "delay_seconds": self.delay_seconds,
            "times": self.left,
            "after": self.after,
            "keep": self.keep,
            "code": self.code,
            **({"account": self.account} if self.account is not None else {}),
            **({"retry_after": self.retry_after} if self.retry_after is not None else {}),
        }


def parse(given: Any) -> Fault:
    """A fault from its JSON; raises BadFault."""
    if not isinstance(given, Mapping):
        raise BadFault("expected an object")
    unknown = set(given) - {
        "match",
        "status",
        "delay_seconds",
        "times",
        "after",
        "keep",
        "code",
        "account",
        "retry_after",
    }
    if unknown:
        raise BadFault(f"unknown: {', '.join(sorted(unknown))}")
    words = str(given.get("match", "")).split()
    if len(words) != 2 or not words[1].startswith(("/", "*")):
        raise BadFault('match: expected a method and a path, such as "POST /v1/customers"')
    status = given.get("status")
    if status not in (None, "timeout") and not (type(status) is int and 400 <= status <= 599):
        raise BadFault('status: expected 400 to 599, or "timeout"')
    delay = given.get("delay_seconds", TIMEOUT_SECONDS if status == "timeout" else 0)
    if type(delay) not in (int, float) or not 0 <= delay <= 3600:
        raise BadFault("delay_seconds: expected a number from 0 to 3600")
    times = given.get("times", 1)
    if times is not None and not (type(times) is int and times > 0):
        raise BadFault("times: expected a number above 0, or null")
    flags = {name: given.get(name, False) for name in ("after", "keep")}
    for name, flag in flags.items():
        if type(flag) is not bool:
            raise BadFault(f"{name}: expected true or false")
    code = given.get("code")
    if code is not None and code not in _REFUSALS.get(status if type(status) is int else 0, {}):
        raise BadFault(f"code: Stripe has no {code!r} for the status {status}")
    account = given.get("account")
    if account is not None and not str(account).startswith("acct_"):
        raise BadFault("account: expected the id of one, acct_…")
    retry_after = given.get("retry_after")
    if retry_after is not None and not (
        status == 429 and type(retry_after) is int and 0 <= retry_after <= 3600
    ):
        raise BadFault("retry_after: expected whole seconds from 0 to 3600, with the status 429")
    return Fault(
        words[0].upper(),
        words[1],
        status,
        float(delay),
        times,
        code=code,
        account=account,
        retry_after=retry_after,
        **flags,
    )


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
        if fault.keep:
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
            if fault is None or fault.after:
                return None
            return self._hit(fault)

        @app.after_request
        def after(response: Response) -> Response:
            fault = g.pop("fault", None)
            if fault is None or not fault.after:
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
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if stripes:
        reasons = _REFUSALS.get(status, {None: "An unknown error occurred"})
        code = fault.code or next(iter(reasons))
        type = "invalid_request_error" if status in _REFUSALS else "api_error"
        message = reasons[code]
        if fault.account is not None:
            message = message.replace("acct_1PorticoSandbox00", fault.account)
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
