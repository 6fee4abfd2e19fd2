"""Emails that were not sent and charges that were not made, page by page, with whom the portal knows them by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from portico.cli.rpc import Caller, Fault, ask, read
from services.notifier.domain.kinds import TO_BUSINESS, occasion
from shared.contracts.accounts import Account, StripeCustomer, by_merchant, merchant_arguments
from shared.contracts.invoices import InvoiceStatus, settlement
from shared.contracts.rpc import billing, notifier, portal
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.billing import ObservedCharge
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.notifier import ObservedNotification
from shared.contracts.rpc.recipients import Recipient

PAGE: Final = 200
"""Rows of one call: as many are held at a time."""
BUSINESSES: Final = 1000
"""Businesses of one call."""
BEGINNING: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Nothing was observed before."""

MEANWHILE: Final = {
    InvoiceStatus.PAID.value: "paid",
    InvoiceStatus.VOID.value: "voided",
    InvoiceStatus.UNCOLLECTIBLE.value: "written off",
    InvoiceStatus.OPEN.value: "still open",
}
"""What became of the invoice at Stripe."""
FORGIVEN: Final = "forgiven"
UNKNOWN: Final = "not known"
OVER: Final = frozenset({"paid", "voided", FORGIVEN})


class Addressee(NamedTuple):
    """Whom something would have gone to."""

    name: str
    detail: str
    """Their masked address, or whom it is about; empty: not known."""

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


class Invoice(NamedTuple):
    """What something would have been about."""

    id: str
    """Stripe's, `in_…`."""
    number: str | None
    """The one printed on it."""
    amount: int
    """In the currency's minor unit: what was paid, forgiven or voided of it, else what remains; of a charge, what was to be charged."""
    currency: str
    end: str
    """What Stripe did with it since, in words."""

    @property
    def over(self) -> bool:
        """Nothing is owed any more: an email about it is not sent."""
        return self.end in OVER


@dataclass(frozen=True, slots=True)
class Mail:
    """An email that was not sent."""

    row: ObservedNotification
    whom: Recipient | None
    """The customer it is about; None: the portal knows nobody of that name any more."""

    @property
    def id(self) -> str:
        """`ntf_…`."""
        return self.row.notification_id

    @property
    def at(self) -> dt.datetime:
        """When it would have gone."""
        return self.row.observed_at

    @property
    def why(self) -> str:
        """What it would have been about."""
        return occasion(self.row.kind)

    @property
    def to(self) -> Addressee:
        """Who would have got it."""
        about = customer(self)
        if self.row.kind not in TO_BUSINESS:
            return about
        return Addressee(self.row.business_id, f"about {about.name}")

    @property
    def invoice(self) -> Invoice | None:
        """What it is about; None: no invoice."""
        told = self.row.invoice
        if self.row.invoice_id is None or told is None:
            return None
        end = meanwhile(told.status, told.amount_paid, told.amount_credited)
        came_to = {
            "paid": settlement(told).paid,
            FORGIVEN: told.amount_credited,
            "voided": told.amount_due,
        }
        amount = came_to.get(end, told.amount_remaining)
        return Invoice(self.row.invoice_id, told.number, amount, told.currency, end)

    def view(self) -> dict[str, Any]:
        """As JSON: what the notifier told, and who it is about."""
        return _view(self)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge that was not made."""

    row: ObservedCharge
    whom: Recipient | None
    """Whose card it would have been charged to."""

    @property
    def at(self) -> dt.datetime:
        """When it would have been made."""
        return self.row.at

    @property
    def why(self) -> str:
        """What it would have been made for."""
        return "A new payment method was set"

    @property
    def to(self) -> Addressee:
        """Who would have been charged."""
        return customer(self)

    @property
    def invoice(self) -> Invoice:
        """What would have been paid with it."""
        row = self.row
        end = meanwhile(row.invoice_status, row.amount_paid, row.amount_credited)
        return Invoice(row.invoice_id, row.number, row.amount, row.currency, end)

    def view(self) -> dict[str, Any]:
        """As JSON: what billing told, and who it is about."""
        return _view(self)


Observed = Mail | Charge
"""Something that was not done."""


def meanwhile(status: str | None, paid: int | None, credited: int | None) -> str:
    """What Stripe did with an invoice since, in words: paid without any money is one that a credit note let go."""
    if status == InvoiceStatus.PAID and paid == 0 and credited:
        return FORGIVEN
    return MEANWHILE.get(status or "", UNKNOWN)


def customer(one: Observed) -> Addressee:
    """Whom it is about, with their address as the portal tells it."""
    if one.whom is None:
        return Addressee(one.row.stripe_customer_id or "nobody who is known", "")
    return Addressee(one.whom.name, one.whom.email)


def _view(one: Observed) -> dict[str, Any]:
    told: dict[str, Any] = plain(one.row)
    return told | {
        "customer": plain(one.whom) if one.whom else None,
        "meanwhile": one.invoice.end if one.invoice else None,
    }


@dataclass(frozen=True)
class Reading:
    """What was observed since a moment, oldest first; of one business, or of all. At most a page of it is held."""

    call: Caller
    since: dt.datetime | None = None
    """None: as long as it is kept."""
    business: str | None = None
    """The host's own id; None: all businesses."""
    addresses: bool = False
    """Whether customers' addresses are told whole."""

    def mails(self) -> Iterator[Mail]:
        """Emails, business by business. Raises Fault, Unavailable."""
        if self.business is not None:
            yield from self._mails_of(self.business)
            return
        last: Mail | None = None
        try:
            for mail in self._mails_of(None):
                last = mail
                yield mail
        except Fault as fault:
            # In a roll a notifier of the release before may be asked, which lists one business at a time.
            if not _wants_a_business(fault) or (last and not last.row.business_id):
                raise
            if last is not None:
                yield from self._mails_of(last.row.business_id, last.id)
            for business_id in self._businesses(last.row.business_id if last else None):
                yield from self._mails_of(business_id)

    def _mails_of(self, business_id: str | None, after: str | None = None) -> Iterator[Mail]:
        while True:
            told = ask(
                self.call,
                notifier.OBSERVED,
                business_id=business_id,
                **({"since": self.since.isoformat()} if self.since else {}),
                limit=PAGE,
                starting_after=after,
            )
            rows = told.notifications
            for row, whom in zip(rows, self._recipients(rows), strict=True):
                yield Mail(row, whom)
            if not told.has_more:
                return
            after = rows[-1].notification_id

    def _businesses(self, after: str | None) -> Iterator[str]:
        """By their ids, those after one."""
        while True:
            page = ask(self.call, portal.BUSINESSES_MODES, after=after, limit=BUSINESSES)
            yield from (one.business_id for one in page)
            if len(page) < BUSINESSES:
                return
            after = page[-1].business_id

    def charges(self) -> Iterator[Charge]:
        """Charges, over all accounts; of one business those of whom it is a customer's. Raises Fault, Unavailable."""
        since = self.since or BEGINNING
        after: str | None = None
        while True:
            told = ask(
                self.call,
                billing.OBSERVED_CHARGES,
                since=since.isoformat(),
                limit=PAGE,
                starting_after=after,
            )
            for row, whom in zip(told.charges, self._recipients(told.charges), strict=True):
                if self.business is None or (whom and whom.business_id == self.business):
                    yield Charge(row, whom)
            if told.next is None:
                return
            after = told.next

    def _recipients(self, rows: Sequence[Any]) -> list[Recipient | None]:
        """Who the rows are about, in their order; a call for each merchant, all under way at once."""
        whose = [_customer_of(row) for row in rows]
        more = {"addresses": True} if self.addresses else {}
        calls = [
            (
                merchant,
                self.call.send(
                    "portal", "recipients", customers=ids, **merchant_arguments(*merchant), **more
                ),
            )
            for merchant, ids in by_merchant(one for one in whose if one is not None).items()
        ]
        found: dict[StripeCustomer | None, Recipient] = {}
        for merchant, call_id in calls:
            told = read(portal.RECIPIENTS, self.call.wait(call_id))
            found |= {
                StripeCustomer(merchant.account, id, merchant.on_behalf_of): one
                for id, one in told.items()
            }
        return [found.get(one) for one in whose]


def _wants_a_business(fault: Fault) -> bool:
    return fault.means(InvalidArgument) and fault.message.startswith("business_id")


def _customer_of(row: Any) -> StripeCustomer | None:
    """Whom a row is about, by the id that it names them with: Stripe's, or else Portico's."""
    id = row.stripe_customer_id or getattr(row, "customer_id", None)
    return StripeCustomer(Account(row.account), id, row.on_behalf_of) if id else None
