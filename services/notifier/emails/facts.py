"""The box of facts in an email: which there are, and how each is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from babel import Locale
from babel.support import NullTranslations

from services.notifier.domain.kinds import KINDS, FactName
from services.notifier.emails import formats, wording
from services.notifier.emails.letters import Letter, Line
from services.notifier.emails.skeletons import hole
from shared.contracts.invoices import LONGEST_PURPOSE
from shared.l10n.catalogues import Gettext
from shared.l10n.dates import Days
from shared.l10n.money import money
from shared.l10n.phrases import price_phrase, several


@dataclass(frozen=True)
class Fact:
    """One line of the box with the invoice's facts."""

    label: str
    value: str
    strong: bool = False
    whole: bool = False
    """It is never broken into lines: an amount."""
    number: str = ""
    """Of several alike: stands after the label."""
    detail: str = ""
    """What the label is about, in other words."""

    @property
    def shape(self) -> Hashable:
        """What two facts have in common that look alike."""
        return self.label, self.strong, self.whole, bool(self.number), bool(self.detail)

    def texts(self, number: int) -> dict[str, str]:
        """The texts of its holes: the `number`th fact's."""
        name = f"fact{number}"
        if not (self.number or self.detail):
            return {name: self.value}
        return {name: self.value, f"{name}_number": self.number, f"{name}_detail": self.detail}

    def with_holes(self, number: int) -> Fact:
        """The `number`th fact of this shape, whatever it tells."""
        name = f"fact{number}"
        return replace(
            self,
            value=hole(name),
            number=hole(f"{name}_number") if self.number else "",
            detail=hole(f"{name}_detail") if self.detail else "",
        )


@dataclass(frozen=True)
class _Box:
    """What the lines of the box of facts are made of."""

    letter: Letter
    locale: Locale
    days: Days
    words: NullTranslations

    @property
    def amount(self) -> str:
        return amount_of(self.letter, self.locale) or ""

    def line(self, line: Line) -> Fact:
        """One of several invoices."""
        return Fact(
            self.words.gettext("Invoice"),
            money(line.amount, line.currency, self.locale),
            whole=True,
            number=formats.plain_name(line.number) if line.number else "",
            detail=_several(line, self.words),
        )

    def due(self, label: str) -> Fact:
        """An amount that stands out."""
        return Fact(label, self.amount, strong=True, whole=True)

    def number(self) -> str:
        return formats.plain_name(self.letter.number) if self.letter.number else ""

    def appointment(self) -> str:
        coming = self.letter.next_appointment
        return f"{self.days.short(coming)}, {self.days.hours(coming, None)}" if coming else ""

    def short(self, moment: dt.datetime | None) -> str:
        return self.days.short(moment) if moment else ""


def _method(box: _Box, _: Gettext) -> Fact:
    return Fact(*(wording.method_fact(box.letter.method, _) or ("", "")))


FACTS: Final[dict[FactName, Callable[[_Box, Gettext], Fact]]] = {
    FactName.CUSTOMER: lambda box, _: Fact(
        _("Customer"), formats.person_name(box.letter.customer_name)
    ),
    FactName.ADDRESS: lambda box, _: Fact(
        _("Email address"), formats.plain_name(box.letter.customer_email or "", 254)
    ),
    FactName.AMOUNT_DUE: lambda box, _: box.due(_("Amount due")),
    FactName.UNPAID: lambda box, _: box.due(_("Unpaid")),
    FactName.AMOUNT_PAID: lambda box, _: box.due(_("Amount paid")),
    FactName.PAID_ON: lambda box, _: Fact(_("Paid on"), box.short(box.letter.paid_at)),
    FactName.PURPOSE: lambda box, _: Fact(
        _("For"),
        _several(box.letter, box.words),
    ),
    FactName.NUMBER: lambda box, _: Fact(_("Invoice"), box.number()),
    FactName.METHOD: _method,
    FactName.REASON: lambda box, _: Fact(_("Reason"), wording.reason(box.letter.decline, _) or ""),
    FactName.NUMBER_DUE: lambda box, _: Fact(_("Invoice"), box.number() if box.amount else ""),
    FactName.NEXT_APPOINTMENT: lambda box, _: Fact(_("Next appointment"), box.appointment()),
    FactName.SUBSCRIPTION: lambda box, _: Fact(
        _("Subscription"), formats.plain_name(box.letter.description or "")
    ),
    FactName.PRICE: lambda box, _: Fact(
        _("Price"), price_phrase(box.letter.price, box.days, box.words) if box.letter.price else ""
    ),
    FactName.PERIOD_END: lambda box, _: Fact(
        _("Current period until"), box.short(box.letter.ends_at)
    ),
    FactName.ENDS: lambda box, _: Fact(
        _("Ended on") if box.letter.ended else _("Ends on"), box.short(box.letter.ends_at)
    ),
    FactName.ENDPOINT: lambda box, _: Fact(_("Endpoint"), box.letter.endpoint_id or ""),
}
"""How each fact is written; `INVOICES` are many."""
OF_ONE_INVOICE: Final = frozenset(
    {FactName.PURPOSE, FactName.NUMBER, FactName.METHOD, FactName.REASON}
)
"""Facts that say nothing where an email is about several invoices: each has its own."""


def facts(
    letter: Letter, locale: Locale, words: NullTranslations
) -> Iterator[tuple[FactName, Fact]]:
    """The facts that the letter's kind shows, as far as they are known, from top to bottom."""
    box = _Box(letter, locale, Days(locale, letter.timezone, letter.now), words)
    for name in KINDS[box.letter.kind].facts:
        if name is FactName.INVOICES:
            yield from ((name, box.line(line)) for line in box.letter.lines)
        elif not (box.letter.lines and name in OF_ONE_INVOICE):
            fact = FACTS[name](box, box.words.gettext)
            if fact.value:
                yield name, fact


def _several(of: Letter | Line, words: NullTranslations) -> str:
    return several(formats.plain_name(of.purpose or "", LONGEST_PURPOSE), of.purpose_more, words)


def amount_of(letter: Letter, locale: Locale) -> str | None:
    if letter.amount is None or not letter.currency:
        return None
    return money(letter.amount, letter.currency, locale)
