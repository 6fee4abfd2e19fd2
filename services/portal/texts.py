"""Words, amounts, dates and times of a page in the customer's language."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from babel import Locale

from services.portal.domain.snapshot import Subscription
from shared.contracts.payments import MethodKind, PaymentMethod
from shared.contracts.prices import Price, price
from shared.l10n import brands
from shared.l10n.catalogues import translations
from shared.l10n.dates import Days, zone_label
from shared.l10n.locales import catalogue_of
from shared.l10n.money import money
from shared.l10n.phrases import price_phrase, several


class Texts:
    """Everything that depends on the language. Make it with `texts_in`."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.catalogue = translations(locale)
        self.gettext = self.catalogue.gettext
        self.ngettext = self.catalogue.ngettext
        self.pgettext = self.catalogue.pgettext
        self.spoken = catalogue_of(locale)
        """The language of the texts, which may not be that of dates and amounts."""
        self.lang = str(locale).replace("_", "-")
        """The value of HTML's `lang`."""
        self.direction = locale.text_direction
        """The value of HTML's `dir`."""

    def money(self, amount: int, currency: str) -> str:
        """An amount in Stripe's minor units, as people write it."""
        return money(amount, currency, self.locale)

    def days(self, zone: str, now: dt.datetime) -> Days:
        """How days and hours are written for somebody in this time zone."""
        return Days(self.locale, zone, now)

    def several(self, first: str, more: int) -> str:
        """`Weekly home cleaning and 2 more`: the first of several things, and how many others there are."""
        return several(first, more, self.catalogue)

    def price(self, said: Price, days: Days) -> str:
        """`$149.00 every month`, with what comes on top and how long a discount lasts."""
        return price_phrase(said, days, self.catalogue)

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
def texts_in(locale: Locale) -> Texts:
    """The texts of a locale."""
    return Texts(locale)
