"""Words, amounts, dates and times in the customer's language. English is the source; catalogues are PO files
under `locales/`, read as they are (no compiled files to forget).
"""

from __future__ import annotations

import datetime as dt
import gettext
import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import (
    format_date,
    format_skeleton,
    format_time,
    get_timezone,
    get_timezone_name,
)
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from services.portal.domain.snapshot import Subscription
from shared.contracts.payments import MethodKind, PaymentMethod
from shared.contracts.prices import Price, price
from shared.l10n import brands, locales
from shared.l10n.locales import SOURCE
from shared.l10n.money import money

LOCALES: Final = Path(__file__).parent / "locales"
DOMAIN: Final = "portal"


@lru_cache(maxsize=1)
def languages() -> frozenset[str]:
    """The languages that the page speaks."""
    return frozenset({SOURCE, *(path.parent.parent.name for path in LOCALES.glob("*/*/*.po"))})


def choose_locale(preferences: Iterable[str | None]) -> Locale:
    """The first preference whose language the page speaks, else English in their part of the world."""
    return locales.choose_locale(preferences, lambda language: language in languages())


@lru_cache(maxsize=64)
def _catalogue(language: str) -> gettext.NullTranslations:
    path = LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not path.exists():
        return gettext.NullTranslations()
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language, domain=DOMAIN)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@lru_cache(maxsize=256)
def _zone_label(locale: Locale, zone: str) -> str:
    # CLDR names regions; zones that are mere offsets have none.
    if "/" not in zone or zone.startswith("Etc/"):
        return str(zone).removeprefix("Etc/")
    return get_timezone_name(get_timezone(zone), locale=locale)


# What pages say again and again is remembered: many customers have a visit on the same day at the same hour, and
# CLDR's patterns cost more than all the rest of a page.


@lru_cache(maxsize=256)
def _zone(name: str) -> dt.tzinfo:
    return get_timezone(name)


@lru_cache(maxsize=4096)
def _date(skeleton: str, day: dt.date, locale: Locale) -> str:
    return format_skeleton(skeleton, dt.datetime.combine(day, dt.time()), locale=locale)


@lru_cache(maxsize=1024)
def _month(month: int, locale: Locale) -> str:
    return format_date(dt.date(2000, month, 1), "LLL", locale=locale)


@lru_cache(maxsize=4096)
def _time(moment: dt.time, locale: Locale) -> str:
    return format_time(moment, "short", locale=locale)


class Texts:
    """Everything that depends on the language. Make it with `texts_in`."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.catalogue = _catalogue(locale.language)
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

    def day(self, moment: dt.datetime, zone: str, now: dt.datetime) -> str:
        """The date, with the year only when it isn't this one: `March 3`."""
        local, today = self._local(moment, zone), self._local(now, zone)
        return _date("MMMMd" if local.year == today.year else "yMMMMd", local.date(), self.locale)

    def weekday_and_day(self, moment: dt.datetime, zone: str, now: dt.datetime) -> str:
        """The date with its weekday: `Tue, Mar 3`."""
        local, today = self._local(moment, zone), self._local(now, zone)
        return _date("MMMEd" if local.year == today.year else "yMMMEd", local.date(), self.locale)

    def month_short(self, moment: dt.datetime, zone: str) -> str:
        """`Mar`."""
        return _month(self._local(moment, zone).month, self.locale)

    def day_of_month(self, moment: dt.datetime, zone: str) -> str:
        """`3`."""
        return str(self._local(moment, zone).day)

    def hours(
        self, start: dt.datetime, end: dt.datetime | None, zone: str, now: dt.datetime
    ) -> str:
        """`9:00 AM – 11:00 AM`; with the date of the end when that is another day."""
        begin = self._local(start, zone)
        text = _time(begin.time(), self.locale)
        if end is None:
            return text
        finish = self._local(end, zone)
        closing = _time(finish.time(), self.locale)
        if finish.date() != begin.date():
            closing = f"{self.weekday_and_day(end, zone, now)}, {closing}"
        return f"{text} – {closing}"

    def price(self, said: Price, zone: str, now: dt.datetime) -> str:
        """`$149.00 every month`, with what comes on top and how long a discount lasts."""
        if said.amount is None:
            return self.gettext("Billed by usage")
        text = self._every(said.amount, said)
        if said.until is not None and said.afterwards is not None:
            text = self.gettext("%(price)s until %(day)s (discount included), then %(amount)s") % {
                "price": text,
                "day": self.day(said.until, zone, now),
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

    def subscription(self, subscription: Subscription, zone: str, now: dt.datetime) -> str:
        """`Fortnightly clean, $149.00 every month`: its name and its price, as far as they may be said."""
        said = price(subscription.terms)
        parts = (subscription.description, said and self.price(said, zone, now))
        return ", ".join(part for part in parts if part)

    def method(self, method: PaymentMethod, today: dt.date) -> str | None:
        """`Visa ending in 4242 · expired 03/2026`, `Bank account at Chase ending in 6789`, `PayPal`; None for what has no
        name."""
        if method.kind is MethodKind.CARD:
            return self._card(method, today)
        if method.kind is not MethodKind.BANK:
            return brands.wallet(method.type)
        text = self.gettext("Bank account")
        if method.last4:
            text = self.gettext("Bank account ending in %(last4)s")
            if method.bank:
                text = self.gettext("Bank account at %(bank)s ending in %(last4)s")
        return text % {"bank": method.bank, "last4": method.last4}

    def _card(self, card: PaymentMethod, today: dt.date) -> str | None:
        if card.last4 is None:
            return None
        brand = brands.card_brand(card.brand)
        text = self.gettext("Card ending in %(last4)s")
        if brand is not None:
            text = self.gettext("%(brand)s ending in %(last4)s")
        text = text % {"brand": brand, "last4": card.last4}
        if card.exp_month is None or card.exp_year is None:
            return text
        month = f"{card.exp_month:02}/{card.exp_year}"
        if card.expired(today):
            return text + " · " + self.gettext("expired %(month)s") % {"month": month}
        return text + " · " + self.gettext("expires %(month)s") % {"month": month}

    def zone_label(self, zone: str) -> str:
        """`Pacific Time`."""
        return _zone_label(self.locale, zone)

    @staticmethod
    def _local(moment: dt.datetime, zone: str) -> dt.datetime:
        return moment.astimezone(_zone(zone))


@lru_cache(maxsize=256)
def _texts(locale: str) -> Texts:
    return Texts(Locale.parse(locale))


def texts_in(locale: Locale) -> Texts:
    """The texts of a locale."""
    return _texts(str(locale))
