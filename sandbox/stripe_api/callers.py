"""Whose key it is, and on which account it acts: Stripe's 401 and 403.

https://docs.stripe.com/keys, https://docs.stripe.com/connect/authentication
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from sandbox.stripe_api.account_settings import chosen
from sandbox.stripe_api.api import AccountApi, StripeApi
from sandbox.stripe_api.directory import client_id
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.places import OWN, Place
from sandbox.stripe_api.rights import Rights
from sandbox.stripe_api.store import Object

_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9_]{3,}\Z")


@dataclass(frozen=True)
class Caller:
    """Who asks: `world` is where the request acts, `home` whose key it is.

    `application` is the platform's when it acts on another's account. `rights` are a restricted key's; None: all.
    """

    world: AccountApi
    home: Place
    application: str | None
    rights: Rights | None


def identify(api: StripeApi, authorization: str | None, account: str | None) -> Caller:
    """The caller behind the headers `Authorization` and `Stripe-Account`; raises Stripe's 401 or 403.

    As Stripe does: own keys of an account act on it alone; the platform's act on each account that is connected to it.
    """
    key = _key(authorization)
    with api.engine.lock:
        known = api.engine.directory.key(key)
        home = _home(api, key, known)
        return _caller(api, key, known, home, account or home.account)


def _caller(api: StripeApi, key: str, known: Object | None, home: Place, account: str) -> Caller:
    target = home._replace(account=account)
    application = known["application"] if known else None
    if target != home:
        if not (home.is_platform and api.engine.directory.reachable(target)):
            raise _no_access(key, account)
        application = client_id(livemode=home.livemode)
    for place in {home, target}:
        if chosen(api.at(place)).revoked:
            raise _no_access(key, account)
    rights = None
    if known is not None and known["permissions"] is not None:
        granted = known["permissions"] if target == home else known["connect_permissions"]
        rights = Rights(masked(key), account, frozenset(granted))
    return Caller(api.at(target), home, application, rights)


def _home(api: StripeApi, key: str, known: Object | None) -> Place:
    """Whose key it is. A test key that nobody made is the first account's, unless that was switched off."""
    if known is None:
        if key[3:7] == "test" and api.engine.directory.chosen.any_key:
            return OWN
        raise StripeError(f"Invalid API Key provided: {masked(key)}", status=401, keep=False)
    if known["revoked"]:
        raise StripeError(
            f"Expired API Key provided: {masked(key)}",
            status=401,
            code="api_key_expired",
            keep=False,
        )
    return Place(known["account"], known["livemode"])


def _key(header: str | None) -> str:
    """The key in a header, by Bearer or Basic; raises Stripe's 401."""
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
        raise StripeError(f"Invalid API Key provided: {masked(key)}", status=401, keep=False)
    return key


def masked(key: str) -> str:
    """A key as Stripe's errors name it."""
    return key[:8] + "*" * max(len(key) - 12, 0) + key[-4:] if len(key) > 12 else "****"


def _no_access(key: str, account: str) -> StripeError:
    return StripeError(
        f"The provided key '{masked(key)}' does not have access to account '{account}' (or that account "
        "does not exist). Application access may have been revoked.",
        status=403,
        code="account_invalid",
        keep=False,
    )
