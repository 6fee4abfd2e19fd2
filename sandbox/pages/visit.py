"""One visit to the portal: the session, what its configuration allows, and where it leads back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sandbox.pages import billing
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError


class SessionGone(Exception):
    """The link behind this visit has expired, or never existed."""


@dataclass(frozen=True)
class Visit:
    """A live portal session; ``secret`` is the part of its URL that stands for it."""

    stripe: AccountApi
    secret: str
    session: Json

    @classmethod
    def open(cls, stripe: AccountApi, secret: str) -> Visit:
        """Use the session behind ``secret``; raises :class:`SessionGone`."""
        # The id stands in API answers and events; only the URL's secret opens the page.
        session = None if secret.startswith("bps_") else stripe.portal_session(secret, use=True)
        if session is None or session["expired"]:
            raise SessionGone
        visit = cls(stripe, secret, session)
        if visit.customer.get("deleted"):
            raise SessionGone
        return visit

    @property
    def customer_id(self) -> str:
        """Whose billing this is."""
        return str(self.session["customer"])

    @cached_property
    def customer(self) -> Json:
        """The customer, as Stripe's API shows it now."""
        try:
            return self.stripe.call("GET", f"/v1/customers/{self.customer_id}")
        except StripeError as error:
            raise SessionGone from error

    @cached_property
    def configuration(self) -> Json:
        """The portal configuration of this session."""
        return self.stripe.call(
            "GET", f"/v1/billing_portal/configurations/{self.session['configuration']}"
        )

    @property
    def on_behalf_of(self) -> str | None:
        """The account on whose behalf everything is billed that this visit shows; None: it shows all there is."""
        account: str | None = self.session.get("on_behalf_of")
        return account

    @cached_property
    def brand(self) -> billing.Brand:
        """Whose page it is."""
        return billing.brand(self.stripe, self.on_behalf_of)

    @property
    def business(self) -> str:
        """The public name of whose page it is; empty when there is none."""
        return self.brand.name

    def feature(self, name: str) -> Json:
        """A feature of the configuration; ``{}`` (so: off) when it is not mentioned."""
        found = (self.configuration.get("features") or {}).get(name)
        return found if isinstance(found, dict) else {}

    def allows(self, name: str) -> bool:
        """Whether the business lets its customers do this."""
        return bool(self.feature(name).get("enabled"))

    @property
    def flow(self) -> Json | None:
        """The deep link of this session, as ``{"type": "payment_method_update", …}``, or None."""
        flow = self.session.get("flow")
        return flow if isinstance(flow, dict) and flow.get("type") else None

    @property
    def flow_type(self) -> str:
        """The deep link's type, empty when the visit starts on the first page."""
        return str(self.flow["type"]) if self.flow else ""

    def flow_subscription(self) -> str | None:
        """The subscription that a cancelling or pausing deep link is about."""
        details: Any = (self.flow or {}).get(self.flow_type) or {}
        subscription: str | None = details.get("subscription")
        return subscription

    @property
    def return_url(self) -> str | None:
        """Where the visit came from."""
        url = self.session.get("return_url") or self.configuration.get("default_return_url")
        return str(url) if url else None

    @property
    def home(self) -> str:
        """The path of this visit's first page."""
        return f"{self.stripe.prefix}/p/session/{self.secret}"

    def after_flow(self, done: str) -> str:
        """Where a finished deep link leads, by its ``after_completion``; ``done`` says what was done."""
        completion = (self.flow or {}).get("after_completion") or {}
        if completion.get("type") == "redirect":
            return str((completion.get("redirect") or {}).get("return_url") or self.home)
        if completion.get("type") == "hosted_confirmation":
            return f"{self.home}/done"
        return f"{self.home}/overview?done={done}"

    @property
    def confirmation(self) -> str:
        """The business's own words for a finished deep link."""
        completion = (self.flow or {}).get("after_completion") or {}
        return str((completion.get("hosted_confirmation") or {}).get("custom_message") or "")
