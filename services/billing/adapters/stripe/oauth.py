"""Connecting an account that exists already, and letting it go: Stripe's OAuth (https://docs.stripe.com/connect/oauth-reference).

A code is spent once: sent a second time it takes the connection away. So nothing here is sent twice, on any layer: the library's
retries are off, and a time-out means that the business begins again. The tokens in Stripe's answer are not kept: the platform's
key with `Stripe-Account` does all that they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import stripe  # noqa: TID251
import stripe.oauth_error  # noqa: TID251
import urllib3

from services.billing.adapters.stripe.client import oauth_client
from services.billing.adapters.stripe.errors import stripe_errors, summary_of
from services.billing.adapters.stripe.transport import PooledClient
from services.billing.domain.errors import StripeKeyRefused
from services.billing.domain.paying import is_live_key
from shared.contracts.accounts import Account
from shared.contracts.rpc.errors import (
    AccountControlled,
    AccountNotConnected,
    AccountOfOtherMode,
    BillingError,
    CodeRefused,
    ConnectNotSetUp,
    StripeRefused,
    StripeUnavailable,
)
from shared.http_client import HttpPool

TIMEOUT: Final = (2.0, 3.4)
"""Connect and read, in seconds, while somebody at the business waits."""
CONTROLLED: Final = "no_deauth_on_controlled_account"
OTHER_MODE: Final = re.compile(r"\b(test|live)[ -]?mode\b", re.IGNORECASE)
"""How Stripe says that a code is of the other mode than the key: by its text alone, the error is the same."""


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """What a code stood for."""

    account: Account
    livemode: bool


class StripeConnect:
    """A platform's OAuth at Stripe, or at a stand-in at `connect_base`. Holds no connection between two calls: there are few."""

    def __init__(self, api_key: str, client_id: str | None, connect_base: str) -> None:
        """`client_id`: the platform's `ca_…`; None: it connects nobody."""
        self._key, self._client_id, self._base = api_key, client_id, connect_base
        self.livemode = is_live_key(api_key)

    def __repr__(self) -> str:
        return f"StripeConnect(livemode={self.livemode})"

    def connect(self, code: str) -> ConnectedAccount:
        """Spend a code, once. Raises CodeRefused, AccountOfOtherMode, ConnectNotSetUp, StripeRefused; StripeUnavailable where it
        is not known whether the account is connected: never call again with this code."""
        with self._oauth() as (oauth, told), _oauth_errors(told, CodeRefused):
            answer = oauth.token({"grant_type": "authorization_code", "code": code})
            account = getattr(answer, "stripe_user_id", None)
            livemode = getattr(answer, "livemode", None)
        if not isinstance(account, str) or not account.startswith("acct_"):
            raise StripeRefused("Stripe's answer names no account")
        if livemode is not self.livemode:
            with suppress(BillingError):  # nothing is done on it anyway: no row says that we may
                self.disconnect(Account(account))
            raise AccountOfOtherMode
        return ConnectedAccount(Account(account), self.livemode)

    def disconnect(self, account: Account) -> None:
        """Let an account go. Raises AccountNotConnected (so it is gone already), AccountControlled, ConnectNotSetUp,
        StripeUnavailable, StripeRefused."""
        with self._oauth() as (oauth, told), _oauth_errors(told, StripeRefused):
            oauth.deauthorize({"stripe_user_id": account})

    @contextmanager
    def _oauth(self) -> Iterator[tuple[Any, dict[str, str]]]:
        """The library's client, and where the OAuth error of an answer will stand: of one that it doesn't know it raises
        AttributeError and drops it (stripe 16.1.0, `specific_v1_api_error`)."""
        if self._client_id is None:
            raise ConnectNotSetUp
        told: dict[str, str] = {}

        def note(method: str, headers: Mapping[str, str], answer: urllib3.BaseHTTPResponse) -> None:
            if answer.status >= 400:
                told.update(_words_of(answer))

        with closing(
            HttpPool(
                self._base,
                words=("oauth", "token", "deauthorize"),
                connections=1,
                timeouts=TIMEOUT,
                trusted=stripe.ca_bundle_path,
            )
        ) as pool:
            http_client = PooledClient(self._base, pool, TIMEOUT, note)
            yield oauth_client(self._key, self._client_id, self._base, http_client), told


@contextmanager
def _oauth_errors(told: dict[str, str], refused: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong into our errors; an `invalid_grant` is `refused`. Never with Stripe's text: it quotes the code."""
    with stripe_errors():
        try:
            yield
        except stripe.oauth_error.InvalidClientError as error:
            if "not connected" in told.get("error_description", ""):
                raise AccountNotConnected from None
            raise StripeKeyRefused(
                f"{summary_of(error)}: STRIPE_CLIENT_ID and STRIPE_API_KEY must be of one platform and one mode"
            ) from None
        except stripe.oauth_error.InvalidGrantError:
            if OTHER_MODE.search(told.get("error_description", "")):
                raise AccountOfOtherMode from None
            raise refused() from None
        except stripe.oauth_error.OAuthError as error:
            raise StripeRefused(summary_of(error)) from None
        except (AttributeError, KeyError, TypeError):
            if not told:
                raise StripeUnavailable("an answer that can't be read") from None
            if told.get("error") == CONTROLLED:
                raise AccountControlled from None
            raise StripeRefused(f"Stripe refuses: {told.get('error', '')[:60]}") from None


def _words_of(answer: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """`error` and `error_description` of a refusal, where they are texts."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    return {
        name: value
        for name in ("error", "error_description")
        if isinstance(value := body.get(name), str)
    }
