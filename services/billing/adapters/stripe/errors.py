"""From Stripe's errors to ours. With `stripe_gateway` the only module that imports stripe.

The library sets `code` on errors of 400, 402 and 404 alone; of all others it stands in the error object, `error.error.code`
(stripe 16.1.0, `_api_requestor.py`). https://docs.stripe.com/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import stripe  # noqa: TID251
from prometheus_client import Counter

from services.billing.domain.declines import decline_reason
from services.billing.domain.errors import (
    StripeBusy,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.paying import Payment, declined
from shared.contracts.rpc.errors import (
    PortalConfigurationMissing,
    StripeRefused,
    StripeUnavailable,
    UnknownStripeCustomer,
)

ERRORS: Final = Counter(
    "portico_stripe_errors_total",
    "Requests that Stripe did not grant, by what that means (the error's name) and Stripe's own code, or other",
    ["error", "code"],
)

CALLS: Final = Counter(
    "portico_stripe_calls_total",
    "Calls to Stripe, with the library's own retries one, by outcome: ok, or the error's name",
    ["outcome"],
)

MISSING_CODES: Final = ("resource_missing", "invoice_upcoming_none")
KEY_CODES: Final = frozenset(
    {"account_invalid", "api_key_expired", "platform_api_key_expired", "secret_key_required"}
)
"""It is the key, whatever the status: expired, revoked, of the wrong kind, or its account is out of reach."""
RIGHT_MISSING: Final = "more_permissions_required"
"""A restricted key lacks a right."""
BUSY_CODES: Final = frozenset({"idempotency_key_in_use", "lock_timeout"})
"""Somebody else holds the object, or the key, at this moment; comes with 409, and with 429 of an object."""
OTHER_CODES: Final = frozenset(
    {
        "authentication_required",
        "card_declined",
        "expired_card",
        "invoice_not_editable",
        "invoice_payment_intent_requires_action",
        "livemode_mismatch",
        RIGHT_MISSING,
        "parameter_invalid_empty",
        "parameter_missing",
        "parameter_unknown",
        "payment_intent_unexpected_state",
        "rate_limit",
        "resource_already_exists",
        "url_invalid",
    }
)
COUNTED_CODES: Final = KEY_CODES | BUSY_CODES | OTHER_CODES | {*MISSING_CODES}
"""The codes that the metric of errors tells apart; Stripe has hundreds, and adds to them. The log has each as it is."""
LONGEST_WAIT: Final = 60.0
"""Seconds, whatever `Retry-After` says."""
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")


@contextmanager
def stripe_errors(
    *,
    customer: str | None = None,
    configuration: str | None = None,
    missing: type[Exception] | None = None,
    forbidden: type[Exception] | None = None,
    key_refused: type[StripeKeyRefused] = StripeKeyRefused,
) -> Iterator[None]:
    """Turn the library's errors into ours.

    `customer` and `configuration` are the ids that the request names, to tell which of them Stripe does not know;
    `missing` is what the absence of the requested object itself means, `forbidden` what a refusal means that is not about the
    rights of our key, `key_refused` what that of the key itself does. The new errors carry Stripe's type, code
    and parameter, never its message: that may quote an e-mail address or part of a key.
    """
    outcome = "ok"
    try:
        yield
    except stripe.StripeError as error:
        ours = meaning_of(error, customer, configuration, missing, forbidden, key_refused)
        outcome, code = type(ours).__name__, _code(error) or "none"
        known = code if code in COUNTED_CODES or code == "none" else "other"
        ERRORS.labels(outcome, known).inc()
        raise ours from None
    except RecursionError:
        outcome = StripeUnavailable.__name__
        raise StripeUnavailable("an answer that is nested too deeply") from None
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        CALLS.labels(outcome).inc()


def meaning_of(
    error: stripe.StripeError,
    customer: str | None = None,
    configuration: str | None = None,
    missing: type[Exception] | None = None,
    forbidden: type[Exception] | None = None,
    key_refused: type[StripeKeyRefused] = StripeKeyRefused,
) -> Exception:
    """Our error for one of the library's; the arguments are those of `stripe_errors`."""
    summary, code = summary_of(error), _code(error)
    if code in KEY_CODES or isinstance(error, stripe.AuthenticationError):
        return key_refused(summary)
    if code in BUSY_CODES or error.http_status == 409:
        return StripeBusy(summary)
    if isinstance(error, stripe.PermissionError):
        if forbidden is not None and code != RIGHT_MISSING:
            return forbidden(summary)
        return StripePermissionMissing(summary)
    if isinstance(error, stripe.RateLimitError):
        limited = StripeRateLimited(summary)
        limited.retry_after = _retry_after(error)
        return limited
    if isinstance(error, stripe.InvalidRequestError):
        return _refusal(error, customer, configuration, missing)
    if isinstance(error, stripe.CardError | stripe.IdempotencyError):
        return StripeRefused(summary)
    # No connection, no answer in time, 5xx, or an answer that is no JSON.
    return StripeUnavailable(summary)


def _refusal(
    error: stripe.InvalidRequestError,
    customer: str | None,
    configuration: str | None,
    missing: type[Exception] | None,
) -> Exception:
    summary = summary_of(error)
    message = str(error.user_message or "")
    if (
        configuration and error.param == "configuration"
    ):  # unknown, or switched off in the dashboard
        return PortalConfigurationMissing(f"{configuration}: {summary}")
    if error.code in MISSING_CODES or error.http_status == 404:
        if configuration and configuration in message:
            return PortalConfigurationMissing(f"{configuration}: {summary}")
        if customer and (error.param == "customer" or customer in message):
            return UnknownStripeCustomer(f"{customer}: {summary}")
        if missing is not None:
            return missing(f"{missing()} ({summary})")  # first what it means: a person reads it
    return StripeRefused(summary)


def summary_of(error: stripe.StripeError) -> str:
    """The error in a line: what it is, and by which id Stripe's people find the request; never its message."""
    parts = [type(error).__name__]
    for name, value in (
        ("status", error.http_status),
        ("code", _code(error)),
        ("param", getattr(error, "param", None)),
        ("request", error.request_id),
    ):
        if value:
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def _retry_after(error: stripe.StripeError) -> float | None:
    told = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        return min(max(0.0, float(told["retry-after"])), LONGEST_WAIT)  # "nan" is 0.0
    except (KeyError, TypeError, ValueError):
        return None


def _code(error: stripe.StripeError) -> str | None:
    """Stripe's code for the error; None where it has none, or says something that is no code."""
    told = error.code or getattr(error.error, "code", None)
    return told if isinstance(told, str) and _CODE.fullmatch(told) else None


def payment_of(error: stripe.CardError) -> Payment:
    """What a declined payment came to."""
    decline_code = getattr(error.error, "decline_code", None) if error.error else None
    return declined(decline_reason(error.code, decline_code))


def is_replayed(error: stripe.APIError) -> bool:
    """Whether Stripe answered from memory, which it marks. https://docs.stripe.com/api/idempotent_requests"""
    return bool((error.headers or {}).get("Idempotent-Replayed") == "true")
