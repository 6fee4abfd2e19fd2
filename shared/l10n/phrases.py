"""What pages and emails say in the same words: prices, and the first of several things."""

from __future__ import annotations

from babel.support import NullTranslations

from shared.contracts.prices import Price
from shared.l10n.dates import Days
from shared.l10n.money import money


def several(first: str, more: int, words: NullTranslations) -> str:
    """`Weekly home cleaning and 2 more`: the first of several things, and how many others there are. Markup stays markup."""
    if not first or more < 1:
        return first
    text = words.ngettext("%(what)s and %(num)s more", "%(what)s and %(num)s more", more)
    return type(first)(text) % {"what": first, "num": more}


def price_phrase(said: Price, days: Days, words: NullTranslations) -> str:
    """`$149.00 every month`, with what comes on top and how long a discount lasts."""
    if said.amount is None:
        return words.gettext("Billed by usage")
    text = _every(said.amount, said, days, words)
    if said.until is not None and said.afterwards is not None:
        text = words.gettext("%(price)s until %(day)s (discount included), then %(amount)s") % {
            "price": text,
            "day": days.date(said.until),
            "amount": money(said.afterwards, said.currency, days.locale),
        }
    elif said.discount is not None:
        text = words.gettext("%(price)s, discount included") % {"price": text}
    if said.usage:
        text = words.gettext("%(price)s, plus usage") % {"price": text}
    return text


def _every(amount: int, said: Price, days: Days, words: NullTranslations) -> str:
    count = said.interval_count
    if said.interval == "day":
        text = words.ngettext("%(amount)s every day", "%(amount)s every %(num)s days", count)
    elif said.interval == "week":
        text = words.ngettext("%(amount)s every week", "%(amount)s every %(num)s weeks", count)
    elif said.interval == "month":
        text = words.ngettext("%(amount)s every month", "%(amount)s every %(num)s months", count)
    elif said.interval == "year":
        text = words.ngettext("%(amount)s every year", "%(amount)s every %(num)s years", count)
    else:
        text = "%(amount)s"
    return text % {"amount": money(amount, said.currency, days.locale), "num": count}
