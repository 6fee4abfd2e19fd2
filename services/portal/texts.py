"""Words, amounts, dates and times in the customer's language. English is the source; catalogues are PO files
under `locales/`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from babel import Locale

from services.portal.domain.snapshot import Subscription
from shared.contracts.payments import MethodKind, PaymentMethod
from shared.contracts.prices import Price, price
from shared.l10n import brands, catalogues, locales
from shared.l10n.dates import Days, zone_label
from shared.l10n.locales import SOURCE
from shared.l10n.money import money

LOCALES: Final = Path(__file__).parent / "locales"
DOMAIN: Final = "portal"


def languages() -> frozenset[str]:
    """What the page speaks: languages, or where the texts are one country's a locale (`pt_BR`)."""
    return catalogues.available(LOCALES, DOMAIN) | {SOURCE}


def choose_locale(preferences: Iterable[str | None]) -> Locale:
    """The first preference whose language the page speaks, else English in their part of the world."""
    return locales.choose_locale(preferences, languages())


def catalogue(locale: Locale) -> str:
    """The name of the catalogue that speaks to a locale."""
    return catalogues.name(LOCALES, DOMAIN, locale)


class Texts:
    """Everything that depends on the language. Make it with `texts_in`."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.catalogue = catalogues.translations(LOCALES, DOMAIN, locale)
        self.gettext = self.catalogue.gettext
        self.ngettext = self.catalogue.ngettext
        self.pgettext = self.catalogue.pgettext

    @property
    def lang(self) -> str:
        """The value of HTML's `lang`."""
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        """The value of HTML's `dir`."""
        return self.locale.text_direction

    def money(self, amount: int, currency: str) -> str:
        """An amount in Stripe's minor units, as people write it."""
        return money(amount, currency, self.locale)

    def days(self, zone: str, now: dt.datetime) -> Days:
        """How days and hours are written for somebody in this time zone."""
        return Days(self.locale, zone, now)

    def several(self, first: str, more: int) -> str:
        """`Weekly home cleaning and 2 more`: the first of several things, and how many others there are."""
        if more < 1:
            return first
        text = self.ngettext("%(what)s and %(num)s more", "%(what)s and %(num)s more", more)
        return type(first)(text) % {"what": first, "num": more}

    def price(self, said: Price, days: Days) -> str:
        """`$149.00 every month`, with what comes on top and how long a discount lasts."""
        if said.amount is None:
            return self.gettext("Billed by usage")
        text = self._every(said.amount, said)
        if said.until is not None and said.afterwards is not None:
            text = self.gettext("%(price)s until %(day)s (discount included), then %(amount)s") % {
                "price": text,
                "day": days.date(said.until),
                "amount": self.money(said.afterwards, said.currency),
            }
        elif said.discount is not None:
            text = self.gettext("%(price)s, discount included") % {"price": text}
        if said.usage:
            text = self.gettext("%(price)s, plus usage") % {"price": text}
        return text

    def _every(self, amount: int, said: Price) -> str:
        count = said.interval_count
        if said.interval == "day":
            text = self.ngettext("%(amount)s every day", "%(amount)s every %(num)s days", count)
        elif said.interval == "week":
            text = self.ngettext("%(amount)s every week", "%(amount)s every %(num)s weeks", count)
        elif said.interval == "month":
            text = self.ngettext("%(amount)s every month", "%(amount)s every %(num)s months", count)
        elif said.interval == "year":
            text = self.ngettext("%(amount)s every year", "%(amount)s every %(num)s years", count)
        else:
            text = "%(amount)s"
        return text % {"amount": self.money(amount, said.currency), "num": count}

    def subscription(self, subscription: Subscription, days: Days) -> str:
        """`Fortnightly clean, $149.00 every month`: its name and its price, as far as they may be said."""
        said = price(subscription.terms)
        parts = (subscription.description, said and self.price(said, days))
        return ", ".join(part for part in parts if part)

    def method(self, method: PaymentMethod, today: dt.date) -> str | None:
        """`Visa •••• 4242 · expired 03/2026`, `Chase •••• 6789`, `PayPal`; None for what has no name."""
        if method.kind is MethodKind.CARD:
            return self._card(method, today)
        if method.kind is not MethodKind.BANK:
            return brands.wallet(method.type)
        if method.last4 is None:
            return self.gettext("Bank account")
        return brands.masked(method.bank or self.gettext("Bank account"), method.last4)

    def _card(self, card: PaymentMethod, today: dt.date) -> str | None:
        if card.last4 is None:
            return None
        text = brands.masked(brands.card_brand(card.brand) or self.gettext("Card"), card.last4)
        if card.exp_month is None or card.exp_year is None:
            return text
        month = f"{card.exp_month:02}/{card.exp_year}"
        if card.expired(today):
            return text + " · " + self.gettext("expired %(month)s") % {"month": month}
        return text + " · " + self.gettext("expires %(month)s") % {"month": month}

    def zone_label(self, zone: str) -> str:
        """`Pacific Time`."""
        return zone_label(zone, self.locale)


@lru_cache(maxsize=256)
def _texts(locale: str) -> Texts:
    return Texts(Locale.parse(locale))


def texts_in(locale: Locale) -> Texts:
    """The texts of a locale."""
    return _texts(str(locale))
