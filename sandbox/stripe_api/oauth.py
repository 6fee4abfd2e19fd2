"""Connecting an account that exists already: the code that a business brings back, and what the platform does with it.

https://docs.stripe.com/connect/oauth-reference
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from sandbox.stripe_api import connections
from sandbox.stripe_api.api import StripeApi
from sandbox.stripe_api.callers import identify
from sandbox.stripe_api.directory import client_id
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.places import Place
from sandbox.stripe_api.store import Object

CODE_SECONDS: Final = 5 * 60
CODE = "oauth_code"
SCOPE = "read_write"


class OAuthError(Exception):
    """A refusal: `error` is one of OAuth's words, `text` says what is wrong. The wording was partly not verified."""

    def __init__(self, error: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.error = error
        self.text = text
        self.status = status


@dataclass(frozen=True)
class Request:
    """What a platform asks a business for."""

    livemode: bool
    redirect_uri: str
    state: str | None

    @classmethod
    def read(cls, api: StripeApi, query: dict[str, str]) -> Request:
        """The request in the query of `/oauth/authorize`; raises OAuthError, which Stripe shows on its own page.

        Without `scope` it is `read_only`, which is for extensions.
        """
        modes = {client_id(livemode=mode): mode for mode in (False, True)}
        livemode = modes.get(query.get("client_id", ""))
        if livemode is None:
            raise OAuthError(
                "invalid_client", "No application matches the supplied client identifier"
            )
        if query.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code")
        if query.get("scope", "read_only") != SCOPE:
            raise OAuthError("invalid_scope", f"This platform may only ask for the scope {SCOPE}")
        known = api.engine.directory.redirect_uris
        uri = query.get("redirect_uri") or next(iter(known), "")
        if uri not in known or (livemode and not uri.startswith("https://")):
            raise OAuthError(
                "invalid_redirect_uri",
                f"Invalid redirect URI '{uri}'. Ensure this uri exactly matches one of the uris specified in your "
                "application settings",
            )
        return cls(livemode, uri, query.get("state"))

    def denied(self) -> str:
        """Where the business goes that said no."""
        text = "The user denied your request"
        return self._back(error="access_denied", error_description=text)

    def granted(self, api: StripeApi, account: str) -> str:
        """Where the business goes that said yes, with a code; raises OAuthError if its account can't be connected."""
        engine = api.engine
        found = engine.directory.account(account)
        if found is None or Place(account).is_platform:
            raise OAuthError("invalid_request", "There is no such business to connect")
        if found["controlled"] == "another":
            raise OAuthError(
                "invalid_request", "This account is controlled by another platform already"
            )
        code: Object = {
            "id": new_id("ac", 32),
            "object": CODE,
            "account": account,
            "livemode": self.livemode,
            "created": engine.now(),
            "spent": False,
        }
        with engine.work():
            engine.directory.store.save(code)
        return self._back(scope=SCOPE, code=code["id"])

    def _back(self, **query: str) -> str:
        state = {"state": self.state} if self.state is not None else {}
        joint = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{joint}{urlencode({**query, **state})}"


def answer(
    api: StripeApi, what: str, authorization: str | None, params: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """`POST /oauth/token` and `POST /oauth/deauthorize`: (status, JSON). The key may also come as `client_secret`."""
    handler = {"token": _token, "deauthorize": _deauthorize}[what]
    if params.get("client_secret"):
        authorization = f"Bearer {params['client_secret']}"
    try:
        with api.engine.work():
            return 200, handler(api, _platform(api, authorization), params)
    except OAuthError as error:
        return error.status, {"error": error.error, "error_description": error.text}


def _platform(api: StripeApi, authorization: str | None) -> Place:
    try:
        return identify(api, authorization, None).home
    except StripeError as error:
        raise OAuthError("invalid_client", error.message, 401) from error


def _token(api: StripeApi, home: Place, params: dict[str, Any]) -> dict[str, Any]:
    """A code for the account that it stands for: once, within five minutes, with a key of its mode.

    Sent a second time it takes the connection away again.
    """
    if params.get("grant_type") != "authorization_code":
        raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code")
    engine = api.engine
    code = engine.directory.store.get(str(params.get("code") or ""))
    if code is None or code["object"] != CODE or not home.is_platform:
        raise OAuthError(
            "invalid_grant", f"Authorization code does not exist: {params.get('code')}"
        )
    if code["livemode"] != home.livemode:
        mode = Place(code["account"], code["livemode"]).mode
        raise OAuthError("invalid_grant", f"This authorization code is for a {mode} mode key")
    if code["spent"]:
        connections.disconnect(api, code["account"])
        raise OAuthError(
            "invalid_grant",
            "This authorization code has already been used. All tokens issued with this code have been revoked.",
        )
    if engine.now() >= code["created"] + CODE_SECONDS:
        raise OAuthError("invalid_grant", f"Authorization code expired: {code['id']}")
    code["spent"] = True
    engine.directory.store.save(code)
    connections.connect(api, code["account"], livemode=home.livemode)
    place = home._replace(account=code["account"])
    application = client_id(livemode=home.livemode)
    return {
        "access_token": engine.directory.make_key(place, application=application)["id"],
        "livemode": home.livemode,
        "refresh_token": new_id("rt"),
        "token_type": "bearer",
        "stripe_publishable_key": new_id(f"pk_{home.mode}"),
        "stripe_user_id": code["account"],
        "scope": SCOPE,
    }


def _deauthorize(api: StripeApi, home: Place, params: dict[str, Any]) -> dict[str, Any]:
    """The platform lets an account go."""
    account = str(params.get("stripe_user_id") or "")
    if params.get("client_id") != client_id(livemode=home.livemode) or not home.is_platform:
        raise OAuthError(
            "invalid_client", "No application matches the supplied client identifier", 401
        )
    if api.engine.directory.connection(account) != home.mode:
        raise OAuthError(
            "invalid_client",
            f"This application is not connected to stripe account {account}, or that account does not exist.",
            401,
        )
    found = api.engine.directory.account(account)
    if found is not None and found["controlled"] == "platform":
        raise OAuthError(
            "no_deauth_on_controlled_account", "You cannot deauthorize an account that you control"
        )
    connections.disconnect(api, account)
    return {"stripe_user_id": account}
