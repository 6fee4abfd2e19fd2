"""What the portal needs from outside, by role."""

from __future__ import annotations

from typing import Protocol


class BillingUnavailable(Exception):
    """No billing page can be opened now. `reason` is one word for logs and metrics, never a URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MailUnavailable(Exception):
    """The mail could not be asked for; nothing was sent. `reason` is one word for logs and metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BillingPages(Protocol):
    """Opens Stripe's hosted page for a customer."""

    def open(
        self, stripe_customer_id: str, *, return_url: str, flow: str | None, locale: str | None
    ) -> str:
        """The address of a page made for this click. It is a secret and dies within minutes: never keep or log it.

        `flow` is None or `payment_method_update`; `locale` is a BCP 47 tag. Raises BillingUnavailable.
        """
        ...


class FreshLinkMailer(Protocol):
    """Mails a customer their current link, to the address on file."""

    def send_fresh_link(self, customer_id: str) -> None:
        """Ask for the mail. Raises MailUnavailable."""
        ...
