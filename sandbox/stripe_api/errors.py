"""Stripe's error objects. See https://docs.stripe.com/api/errors."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """A request that Stripe answers with an error.

    `status` is the HTTP status, `type`, `code`, `decline_code` and `param` are Stripe's words for what is wrong,
    `extra` holds further fields of the error object (`payment_intent`, `payment_method`, …).
    `keep` says whether an idempotency key remembers this answer: Stripe keeps what went wrong while the request
    was carried out, and forgets what it refused before.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        keep: bool = True,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.decline_code = decline_code
        self.keep = keep
        self.extra = extra

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """The JSON document that goes over the wire."""
        error: dict[str, Any] = {}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.decline_code:
            error["decline_code"] = self.decline_code
        error["message"] = self.message
        if self.param:
            error["param"] = self.param
        if request_id:
            error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        error["type"] = self.type
        return {"error": {**error, **self.extra}}

    @classmethod
    def parse(cls, status: int, body: dict[str, Any]) -> StripeError:
        """The error that an answer of `status` with this JSON document stands for."""
        fields = dict(body["error"])
        fields.pop("doc_url", None)
        fields.pop("request_log_url", None)
        return cls(fields.pop("message", ""), status=status, **fields)


NAMES = {
    "payment_method": "PaymentMethod",
    "billing_portal.configuration": "configuration",
    "setup_intent": "setupintent",
    "test_helpers.test_clock": "test clock",
    "webhook_endpoint": "webhook endpoint",
    "invoice_payment": "invoice payment",
}
"""How Stripe's messages call an object, where that is not simply its `object`."""


def missing(
    kind: str, id: str, param: str | None = None, *, twin: str | None = None
) -> StripeError:
    """No such object: 404 for the one the URL names, 400 where the parameter `param` names it.

    `twin` is the mode, `test` or `live`, in which the account has one with this id.
    """
    hint = ""
    if twin is not None:
        used = "test" if twin == "live" else "live"
        hint = f"; a similar object exists in {twin} mode, but a {used} mode key was used to make this request."
    return StripeError(
        f"No such {NAMES.get(kind, kind)}: '{id}'{hint}",
        status=400 if param else 404,
        code="resource_missing",
        param=param or "id",
    )


def parameter_missing(param: str) -> StripeError:
    """A required parameter is not there."""
    return StripeError(
        f"Missing required param: {param}.", code="parameter_missing", param=param, keep=False
    )


def parameter_invalid(param: str, message: str, code: str | None = None) -> StripeError:
    """A parameter whose value can't be used."""
    return StripeError(message, code=code, param=param, keep=False)
