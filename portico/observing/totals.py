"""What was observed, counted: emails, customers, charges, and money by currency and by what Stripe did meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from portico.figures import money
from portico.observing.reading import FORGIVEN, MEANWHILE, UNKNOWN, Charge, Observed

ENDS: Final = (*MEANWHILE.values(), FORGIVEN, UNKNOWN)
"""What may have become of an invoice."""


@dataclass
class Sums:
    """Money of invoices, each counted once, by currency and by what became of it. Currencies are not added up."""

    amounts: dict[str, Counter[str]] = field(default_factory=dict)
    invoices: Counter[str] = field(default_factory=Counter)
    """How many there are, by what became of them."""
    _seen: set[int] = field(default_factory=set)

    def add(self, one: Observed) -> None:
        """Count its invoice, unless that was counted."""
        invoice = one.invoice
        if invoice is None or (key := hash((one.row.account, invoice.id))) in self._seen:
            return
        self._seen.add(key)
        self.invoices[invoice.end] += 1
        if invoice.currency and invoice.amount:
            self.amounts.setdefault(invoice.currency, Counter())[invoice.end] += invoice.amount

    def of(self, *ends: str) -> list[str]:
        """The amounts of what came to these ends (all, if none is named), as people write them, a currency each."""
        sums = {
            currency: sum(ends_[end] for end in (ends or ENDS))
            for currency, ends_ in sorted(self.amounts.items())
        }
        return [money(amount, currency) for currency, amount in sums.items() if amount]

    def view(self) -> dict[str, Any]:
        """As JSON: amounts in the currency's minor unit."""
        return {
            "invoices": sum(self.invoices.values()),
            "by_end": {end: self.invoices[end] for end in ENDS if self.invoices[end]},
            "amounts": {
                currency: {
                    "total": sum(ends.values()),
                    **{end: ends[end] for end in ENDS if ends[end]},
                }
                for currency, ends in sorted(self.amounts.items())
            },
        }


@dataclass
class Totals:
    """Of everything that was read so far."""

    mails: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Emails by why they would have gone."""
    owed: Sums = field(default_factory=Sums)
    """Of the emails."""
    charges: int = 0
    charged: Sums = field(default_factory=Sums)
    """Of the charges."""
    _customers: set[int] = field(default_factory=set)

    @property
    def customers(self) -> int:
        """Whom the emails are about."""
        return len(self._customers)

    def add(self, one: Observed) -> None:
        """Count an email, or a charge."""
        if isinstance(one, Charge):
            self.charges += 1
            self.charged.add(one)
            return
        self.mails += 1
        self.kinds[one.why] += 1
        self.owed.add(one)
        row = one.row
        whose = row.stripe_customer_id or row.customer_id
        self._customers.add(hash((row.account, row.on_behalf_of, whose)))

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mails": self.mails,
            "customers": self.customers,
            "kinds": dict(self.kinds.most_common()),
            "owed": self.owed.view(),
            "charges": self.charges,
            "charged": self.charged.view(),
        }
