"""The real billing pages and the real mailer: RPC calls to billing and notifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from services.portal.ports import BillingUnavailable, MailUnavailable
from shared.rpc import RemoteFault, RpcTimeout, RpcUnavailable

BILLING_SECONDS: Final = 4.5
"""How long a click waits for billing: its own limit is 4 s, the customer's answer comes within 5."""
MAIL_SECONDS: Final = 4.0


def _reason(error: Exception) -> str:
    return error.error if isinstance(error, RemoteFault) else type(error).__name__


class RpcBillingPages:
    """`BillingPages` over billing's RPC. Leads only to `origins`, whatever the answer says."""

    def __init__(self, billing: Any, origins: Sequence[str]) -> None:
        self._billing = billing
        self._origins = frozenset(origins)

    def open(
        self, stripe_customer_id: str, *, return_url: str, flow: str | None, locale: str | None
    ) -> str:
        """See `BillingPages.open`."""
        try:
            answer = self._billing.create_portal_session(
                stripe_customer_id=stripe_customer_id,
                return_url=return_url,
                flow=flow,
                locale=locale,
            )
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise BillingUnavailable(_reason(error)) from error
        address = answer.get("url") if isinstance(answer, dict) else None
        if not isinstance(address, str) or _origin(address) not in self._origins:
            # Neither an open redirect nor a page that the browser's form-action would block silently.
            raise BillingUnavailable("UnexpectedOrigin")
        return address


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


class RpcFreshLinkMailer:
    """`FreshLinkMailer` over notifier's RPC."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def send_fresh_link(self, customer_id: str) -> None:
        """See `FreshLinkMailer.send_fresh_link`."""
        try:
            self._notifier.send_fresh_link(customer_id=customer_id)
        except (RpcTimeout, RpcUnavailable, RemoteFault) as error:
            raise MailUnavailable(_reason(error)) from error
