"""The part of a payment method that its type names: `card`, `us_bank_account`, `sepa_debit`, …"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from sandbox.stripe_api.routing import Params
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.test_methods import Spec


def details(spec: Spec, given: Params, now: int) -> Object:
    """The details of a payment method that behaves as `spec`; `given` are those the caller sent for its type."""
    return _SHAPES[spec.type](spec, given, now)


def _card(spec: Spec, given: Params, now: int) -> Object:
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    year = int(given.get("exp_year", today.year + 3))
    return {
        "brand": spec.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass" if given.get("cvc") else "unchecked",
        },
        "country": "US",
        "display_brand": spec.brand,
        "exp_month": int(given.get("exp_month", today.month)),
        "exp_year": year + 2000 if year < 100 else year,
        "fingerprint": spec.fingerprint,
        "funding": "credit",
        "generated_from": None,
        "last4": spec.last4,
        "networks": {"available": [spec.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _us_bank_account(spec: Spec, given: Params, now: int) -> Object:
    return {
        "account_holder_type": given.get("account_holder_type", "individual"),
        "account_type": given.get("account_type", "checking"),
        "bank_name": spec.brand,
        "financial_connections_account": None,
        "fingerprint": spec.fingerprint,
        "last4": spec.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": given.get("routing_number", "110000000"),
        "status_details": {},
    }


def _sepa_debit(spec: Spec, given: Params, now: int) -> Object:
    return {
        "bank_code": spec.brand,
        "branch_code": "",
        "country": spec.number[:2],
        "fingerprint": spec.fingerprint,
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": spec.last4,
    }


def _acss_debit(spec: Spec, given: Params, now: int) -> Object:
    return {
        "bank_name": spec.brand,
        "fingerprint": spec.fingerprint,
        "institution_number": given.get("institution_number", "000"),
        "last4": spec.last4,
        "transit_number": given.get("transit_number", "11000"),
    }


def _bacs_debit(spec: Spec, given: Params, now: int) -> Object:
    return {
        "fingerprint": spec.fingerprint,
        "last4": spec.last4,
        "sort_code": given.get("sort_code", spec.brand),
    }


def _au_becs_debit(spec: Spec, given: Params, now: int) -> Object:
    return {
        "bsb_number": given.get("bsb_number", spec.brand),
        "fingerprint": spec.fingerprint,
        "last4": spec.last4,
    }


_SHAPES: dict[str, Callable[[Spec, Params, int], Object]] = {
    "card": _card,
    "us_bank_account": _us_bank_account,
    "sepa_debit": _sepa_debit,
    "acss_debit": _acss_debit,
    "bacs_debit": _bacs_debit,
    "au_becs_debit": _au_becs_debit,
}
