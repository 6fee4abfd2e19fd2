"""Where a business goes to connect its Stripe account, and where Stripe leads it back to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urlsplit

from werkzeug.http import dump_cookie

from services.portal.domain.connecting import STATE_LASTS

RETURN_PATH: Final = "/connect/stripe/return"
"""Entered, behind PUBLIC_URL, among the redirect URIs of the platform's Connect settings: Stripe compares it letter by letter."""
SCOPE: Final = "read_write"


class ConnectPage:
    """Stripe's page for connecting, and the addresses and the cookie around it."""

    def __init__(self, public_url: str, client_id: str | None, base: str) -> None:
        self._public_url = public_url.rstrip("/")
        self._client_id, self._base = client_id, base
        # A `__Host-` cookie comes from this host alone, over TLS alone: nobody else can plant one. On plain http, which is this
        # machine's own, browsers take none.
        self._secure = self._public_url.startswith("https://")
        self.cookie_name = "__Host-portico-connect" if self._secure else "portico-connect"

    @property
    def is_set_up(self) -> bool:
        """Whether businesses can connect accounts here at all."""
        return self._client_id is not None

    @property
    def origins(self) -> tuple[str, ...]:
        """Where the form leads to, redirects of Stripe's own pages included: browsers hold those against the form, too."""
        parts = urlsplit(self._base)
        own = f"{parts.scheme}://{parts.netloc}"
        return (own, "https://*.stripe.com") if own.endswith(".stripe.com") else (own,)

    def link(self, secret: str) -> str:
        """The address of our own page for a business."""
        return f"{self._public_url}/connect/{secret}"

    def address(self, state: str) -> str:
        """Stripe's page (https://docs.stripe.com/connect/oauth-reference)."""
        query = {
            "response_type": "code",
            "client_id": self._client_id or "",
            "scope": SCOPE,
            "redirect_uri": f"{self._public_url}{RETURN_PATH}",
            "state": state,
        }
        return f"{self._base}/oauth/authorize?{urlencode(query)}"

    def cookie(self, value: str) -> str:
        """The header that gives a browser its cookie. `Lax`: it comes back with Stripe's redirect, and with no request that another
        page makes in the background."""
        return dump_cookie(
            self.cookie_name,
            value,
            max_age=STATE_LASTS,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
