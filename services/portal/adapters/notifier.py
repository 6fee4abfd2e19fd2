"""The notifier over RPC: the emails that the portal asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.portal.adapters.failures import FAILURES, reason
from services.portal.ports import MailUnavailable, ServiceAway
from shared.contracts.accounts import StripeId, account_argument, by_account
from shared.contracts.rpc import notifier
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.notifier import Notification


class RpcFreshLinkMailer:
    """Has the notifier mail a customer their current link, to the address on file."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def send_fresh_link(self, customer_id: str) -> None:
        """Ask for the mail. Raises MailUnavailable."""
        try:
            self._notifier.send_fresh_link(customer_id=customer_id)
        except FAILURES as error:
            raise MailUnavailable(reason(error)) from error


class RpcMail:
    """`Mail` over the notifier's RPC."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def _ask(self, method: str, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        try:
            getattr(self._notifier, method)(kind=kind, customer_id=customer_id, context=context)
        except FAILURES as error:
            raise MailUnavailable(reason(error)) from error

    def to_business(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """See `Mail.to_business`."""
        self._ask("send_business_mail", kind, customer_id, context)

    def to_customer(self, kind: str, customer_id: str, context: dict[str, Any]) -> None:
        """See `Mail.to_customer`."""
        self._ask("send_customer_mail", kind, customer_id, context)


class RpcEmails:
    """Emails about invoices, over the notifier's RPC."""

    def __init__(self, notifier: Any) -> None:
        self._notifier = notifier

    def of_invoices(self, invoices: Sequence[StripeId]) -> list[Notification]:
        """Every email about these invoices, newest first, sent or not. Raises ServiceAway."""
        found: list[Notification] = []
        for account, ids in by_account(invoices).items():
            try:
                found += notifier.EMAILS_OF_INVOICES.call(
                    self._notifier, invoice_ids=ids, **account_argument(account)
                )
            except (*FAILURES, UnreadableAnswer) as error:
                raise ServiceAway(reason(error)) from error
        return found
