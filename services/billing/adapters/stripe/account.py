"""The Stripe account itself, as far as set-up and `portico doctor` look at it: endpoints, rights, clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from services.billing.adapters.stripe.gateway import StripeGateway
from services.billing.domain.errors import StripePermissionMissing
from services.billing.stripe_events.payloads import attribute
from shared.settings import Secret

ENDPOINT_PAGE: Final = 100
MADE_FOR, CONNECTED = "portico_accounts", "connected"
"""In an endpoint's metadata."""


@dataclass(frozen=True)
class WebhookEndpoint:
    """A webhook endpoint as Stripe holds it."""

    id: str
    url: str
    enabled: bool
    api_version: str | None
    """None: whatever the account's default is, which somebody can change in the dashboard."""
    events: frozenset[str]
    made_for_connected: bool = False
    """Whether we made it for connected accounts. Of one that was made in the dashboard nobody can tell."""

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """Which of these event types it does not deliver."""
        return [] if "*" in self.events else sorted(set(wanted) - self.events)

    def hears(self, wanted: Sequence[str]) -> bool:
        """Whether it delivers all of these event types."""
        return not self.missing(wanted)


@dataclass(frozen=True)
class KeyOwner:
    """The account that a key is of, as it tells of itself."""

    id: str
    statement: str | None = None
    """What its customers' statements call its charges (`settings.payments.statement_descriptor`); None: it has not said."""


class StripeAccount:
    """`Account` on Stripe's API: reads, and the one write that set-up needs."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._api = gateway.api
        self._errors = gateway.errors
        self.api_version = gateway.api_version
        self.livemode = gateway.livemode

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        """All endpoints of the account in the mode of our key."""
        with self._errors():
            found = self._api.webhook_endpoints.list({"limit": ENDPOINT_PAGE})
            return [_endpoint(one) for one in found.auto_paging_iter()]

    def create_webhook_endpoint(
        self, url: str, events: Sequence[str], *, connect: bool = False
    ) -> tuple[WebhookEndpoint, Secret]:
        """A new endpoint of our API version, and its signing secret, which Stripe tells only here. `connect`: for connected accounts,
        which Stripe does not tell back; metadata does."""
        of_connected = {"connect": True, "metadata": {MADE_FOR: CONNECTED}} if connect else {}
        with self._errors():
            made = self._api.webhook_endpoints.create(
                {
                    "url": url,
                    "enabled_events": list(events),
                    "api_version": self.api_version,
                    "description": "Portico",
                    **of_connected,
                }
            )
        return _endpoint(made), Secret(str(made.secret))

    def update_webhook_endpoint(self, endpoint_id: str, events: Sequence[str]) -> WebhookEndpoint:
        """Make it deliver these events, and switch it on."""
        with self._errors():
            return _endpoint(
                self._api.webhook_endpoints.update(
                    endpoint_id, {"enabled_events": list(events), "disabled": False}
                )
            )

    def now(self) -> dt.datetime:
        """Stripe's clock, to the second, from the `Date` header of an answer."""
        with self._errors():
            answer = self._api.customers.list({"limit": 1})
        return parsedate_to_datetime(answer.last_response.headers["Date"]).astimezone(dt.UTC)

    def key_owner(self) -> KeyOwner | None:
        """Whose our key is; None where a restricted key may not say (https://docs.stripe.com/api/accounts/retrieve)."""
        try:
            with self._errors():
                found = self._api.accounts.retrieve_current()
        except StripePermissionMissing:
            return None
        statement = attribute(found, "settings", "payments", "statement_descriptor")
        return KeyOwner(str(found.id), statement or None)

    def account_id(self) -> str | None:
        """The id of the account that our key is of, `acct_…`, as `key_owner` knows it."""
        owner = self.key_owner()
        return owner.id if owner else None

    def lacking_rights(self) -> list[str]:
        """What our key may not read, by Stripe's resource names; a restricted key may lack some.

        Only reading is tried: no check may change anything.
        """
        probes: dict[str, Callable[[dict[str, Any]], Any]] = {
            "customers": self._api.customers.list,
            "invoices": self._api.invoices.list,
            "subscriptions": self._api.subscriptions.list,
            "events": self._api.events.list,
            "webhook_endpoints": self._api.webhook_endpoints.list,
            "billing_portal.configurations": self._api.billing_portal.configurations.list,
        }
        lacking = []
        for name, probe in probes.items():
            try:
                with self._errors():
                    probe({"limit": 1})
            except StripePermissionMissing:
                lacking.append(name)
        return lacking


def _endpoint(found: Any) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=found.id,
        url=found.url,
        enabled=found.status == "enabled",
        api_version=getattr(found, "api_version", None),
        events=frozenset(found.enabled_events),
        made_for_connected=getattr(getattr(found, "metadata", None), MADE_FOR, None) == CONNECTED,
    )
