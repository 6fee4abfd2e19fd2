"""The one way to Stripe's API: every call is made on an account that its caller has named.

Stripe takes the account as an option of a request, not as a parameter: among the parameters it is one field more, and the call
runs on the platform (stripe 16.1.0, `_request_options.py`; https://docs.stripe.com/connect/authentication).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import stripe  # noqa: TID251

from shared.contracts.accounts import Account, in_account
from shared.settings import Secret

IDEMPOTENCY_KEY: Final = "idempotency_key"


class Library(NamedTuple):
    """The library's client; it is called through `OnAccount` alone."""

    api: Any
    """Its resources and their methods."""
    body: Callable[..., bytes | str]
    """GET of a path with parameters: the answer's body as Stripe sent it. The library makes no objects of it, of which a page of a list
    has thousands: 30 to 90 ms of CPU a page, in which a process answers nobody. (`bodies` reads it.)"""


def stripe_client(
    api_key: str, api_base: str, http_client: stripe.HTTPClient, *, retries: int
) -> Library:
    """The library's client for Stripe's API."""
    client: Any = stripe.StripeClient(
        api_key,
        base_addresses={"api": api_base},
        max_network_retries=retries,
        http_client=http_client,
    )

    def body(path: str, params: dict[str, Any], *, options: dict[str, Any]) -> bytes | str:
        found: bytes | str = client.raw_request("get", path, **params, **options).body
        return found

    return Library(client.v1, body)


def oauth_client(
    api_key: str, client_id: str | None, connect_base: str, http_client: stripe.HTTPClient
) -> Any:
    """The library's client for OAuth, which is the platform's own and on no account. It never sends anything twice: a code that is
    spent twice takes the connection away (https://docs.stripe.com/connect/oauth-reference)."""
    return stripe.StripeClient(
        api_key,
        client_id=client_id,
        base_addresses={"connect": connect_base},
        max_network_retries=0,
        http_client=http_client,
    ).oauth


class OnAccount:
    """The library's resources and methods, with every call made on `account`.

    `api.invoices.pay(id, params, options={"idempotency_key": …})`: options go by name, as the wrapper adds to them. A key is put
    into the account, too: whether accounts share Stripe's memory of keys is not documented.
    """

    def __init__(self, target: Any, account: Account, key: Secret | None = None) -> None:
        """`key`: the account's own; without one the platform's key acts in its name."""
        self._target = target
        self._account = account
        self._key = key

    def __getattr__(self, name: str) -> OnAccount:
        return OnAccount(getattr(self._target, name), self._account, self._key)

    def __call__(self, *arguments: Any, options: dict[str, Any] | None = None) -> Any:
        return self._target(*arguments, options=self._options(options or {}))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        made = dict(options)
        if IDEMPOTENCY_KEY in made:
            made[IDEMPOTENCY_KEY] = in_account(self._account, made[IDEMPOTENCY_KEY])
        if self._key is not None:
            made["api_key"] = self._key.reveal()
        elif self._account:
            made["stripe_account"] = self._account
        return made
