"""What the HTTP API answers where it can't do as it is asked: problem details (RFC 9457), with a code for programs."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from shared.contracts import host_api
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    RpcError,
    StripeCustomerConflict,
    TemporarilyUnavailable,
)
from shared.nameko_ext.http_answers import Answer

CODES: Final[dict[str, int]] = {
    "invalid_request": 400,
    "invalid_argument": 400,
    "unauthorized": 401,
    "insufficient_scope": 403,
    "installation_key_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "stripe_customer_conflict": 409,
    "request_in_progress": 409,
    "request_too_large": 413,
    "address_too_long": 414,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "rate_limited": 429,
    "head_too_large": 431,
    "internal_error": 500,
    "unavailable": 503,
}
"""Every code with its HTTP status. A code's meaning never changes; new ones may come."""
_OF_ERROR: Final[dict[type[RpcError], str]] = {
    InvalidArgument: "invalid_argument",
    NotFound: "not_found",
    StripeCustomerConflict: "stripe_customer_conflict",
    TemporarilyUnavailable: "unavailable",
}
_OF_STATUS: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    414: "address_too_long",
    431: "head_too_large",
}
_FIELD: Final = re.compile(
    r"([\w.\[\]-]++): (.*+)|(?:missing|unknown argument) ([\w.\[\]-]++)", re.DOTALL
)
"""How a detail names the field that it is about."""


class Refused(Exception):
    """A request that is not done, and why."""

    def __init__(self, code: str, detail: str, **headers: str) -> None:
        """`headers` as `Retry_After="30"`."""
        super().__init__(detail)
        self.code, self.detail, self.headers = code, detail, headers


def problem(code: str, detail: str, **headers: str) -> Answer:
    """An error's answer, with the field that it is about where the detail names one, as InvalidArgument's do."""
    status = CODES[code]
    found = _FIELD.fullmatch(detail) if status in (400, 404) else None
    about = host_api.Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=[host_api.FieldProblem(field=found[1] or found[3], detail=found[2] or detail)]
        if found
        else [],
    )
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    content = [("Content-Type", "application/problem+json"), *more]
    return Answer(msgspec.json.encode(about) + b"\n", status, content)


def of_refusal(refused: Refused) -> Answer:
    """The answer to a request that is not done."""
    return problem(refused.code, refused.detail, **refused.headers)


def of_error(error: RpcError) -> Answer:
    """What a handler refuses, as RPC would say it."""
    return problem(_OF_ERROR[type(error)], str(error))


def of_http(error: HTTPException) -> Answer:
    """What the server itself refuses."""
    if isinstance(error, RequestRedirect):
        return problem("not_found", "There is nothing at this address.")
    allowed = {name: value for name, value in error.get_headers() if name.lower() == "allow"}
    return of_status(error.code or 400, **allowed)


def of_status(status: int, **headers: str) -> Answer:
    """What the server refuses by a status alone."""
    code = _OF_STATUS.get(status, "invalid_request")
    return problem(code, _DETAILS[code], **headers)


_DETAILS: Final = {
    "invalid_request": "This is no request that can be read.",
    "not_found": "There is nothing at this address.",
    "method_not_allowed": "This address takes other methods.",
    "request_timeout": "The request did not come in time.",
    "request_too_large": "The request is too large.",
    "address_too_long": "The address is too long.",
    "head_too_large": "The request has too many headers, or one that is too long.",
}


def unauthorized() -> Answer:
    """One answer for every key that is not good: missing, mangled, unknown, revoked or expired."""
    return problem(
        "unauthorized",
        "Expected a good key: Authorization: Bearer portico_…",
        WWW_Authenticate='Bearer realm="portico"',
    )


def unavailable(seconds: int) -> Answer:
    """Not now; the same request may be made again."""
    return problem(
        "unavailable",
        "Portico can't do this at the moment; try again.",
        Retry_After=str(seconds),
    )


def internal_error() -> Answer:
    """Something failed in our house; its log tells more."""
    return problem("internal_error", "Something failed inside Portico; its log tells more.")
