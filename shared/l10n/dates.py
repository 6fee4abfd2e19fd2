"""Days and hours as people write them, by CLDR's patterns: one way each for pages, mails and the command line.

A sentence carries whole words (`Friday, November 27`), rows of facts and lists carry the short form (`Fri, Nov 27`); a
short form never ends a sentence, as half of the languages abbreviate with a full stop. The year stands only where it
isn't this one.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.core import get_global
from babel.dates import (
    format_time,
    get_timezone_location,
    get_timezone_name,
    match_skeleton,
    parse_pattern,
)

from shared.l10n.grammar import DayRules, first_that_fits, grammar
from shared.l10n.locales import catalogue_of

REMEMBERED: Final = 4096
"""How many answers are kept: many customers have a visit on the same day at the same hour, and CLDR's patterns cost more
than all the rest of a page."""


_WESTWARDS: Final = re.compile(r"GMT([+-])([1-9]\d?)")
_WORLD: Final = "001"
"""The territory of zones that are of none."""


@lru_cache(REMEMBERED)
def zone(name: str | None) -> dt.tzinfo:
    """The time zone of that name; UTC for one that does not exist."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


@lru_cache(REMEMBERED)
def zone_label(name: str, locale: Locale) -> str:
    """What people call a time zone: `Pacific Time`; by its city where CLDR knows no more of it. Zones that are mere offsets have no
    such name: `UTC`, `UTC−5`. One that does not exist is what `zone` takes for it."""
    here = zone(name)
    if here is dt.UTC:
        return "UTC"
    if "/" not in name or name.startswith("Etc/"):
        return _offset_label(name.removeprefix("Etc/"))
    territory = get_global("zone_territories").get(get_global("zone_aliases").get(name, name))
    if territory in (None, _WORLD):
        return get_timezone_location(here, locale=locale, return_city=True)
    return get_timezone_name(here, locale=locale)


def _offset_label(name: str) -> str:
    """The names of offsets count the hours to the west, as POSIX does, and people those to the east: `GMT+5` is `UTC−5`."""
    found = _WESTWARDS.fullmatch(name)
    if found is None:
        return name
    return _utc(dt.timedelta(hours=-int(found[1] + found[2])))


def _utc(offset: dt.timedelta) -> str:
    """`UTC−7`, `UTC+10:30`."""
    hours, minutes = divmod(round(abs(offset) / dt.timedelta(minutes=1)), 60)
    sign = "\N{MINUS SIGN}" if offset < dt.timedelta(0) else "+"
    return f"UTC{sign}{hours}" + (f":{minutes:02}" if minutes else "")


@lru_cache(REMEMBERED)
def full_day(day: dt.date, locale: Locale, *, year: bool) -> str:
    """The day in whole words: `Friday, November 27`, `viernes 27 de noviembre`."""
    pattern = (
        locale.date_formats["full"].pattern if year else _whole_words(_pattern("MMMMEEEEd", locale))
    )
    if not _rules(locale).comma_after_weekday:
        pattern = pattern.replace("EEEE, ", "EEEE ")
    return _written(pattern, day, locale)


@lru_cache(REMEMBERED)
def date(day: dt.date, locale: Locale, *, year: bool) -> str:
    """The day in whole words, without its weekday: `November 27`."""
    pattern = locale.date_formats["long"].pattern if year else _pattern("MMMMd", locale)
    return _written(pattern, day, locale)


@lru_cache(REMEMBERED)
def short_day(day: dt.date, locale: Locale, *, year: bool) -> str:
    """The day as rows of facts and lists have it: `Fri, Nov 27`, `ven. 27 nov.`"""
    return _written(_pattern("yMMMEd" if year else "MMMEd", locale), day, locale)


@lru_cache(REMEMBERED)
def brief_day(day: dt.date, locale: Locale, *, year: bool) -> str:
    """The day as lists have it where the weekday is no matter: `Nov 27`."""
    return _written(_pattern("yMMMd" if year else "MMMd", locale), day, locale)


@lru_cache(REMEMBERED)
def full_month(day: dt.date, locale: Locale) -> str:
    """Its month and year: `November 2026`."""
    return _written(_pattern("yMMMM", locale), day, locale)


@lru_cache(REMEMBERED)
def short_month(day: dt.date, locale: Locale) -> str:
    """Its month alone: `Nov`."""
    return _written("LLL", day, locale)


@lru_cache(REMEMBERED)
def clock(time: dt.time, locale: Locale) -> str:
    """An hour: `9:00 AM`, `09:00`."""
    return format_time(time, "short", locale=locale)


@lru_cache(REMEMBERED)
def on(day: str, locale: Locale) -> str:
    """A day in whole words with the word before it that says when something happens: `on Friday, November 27`."""
    return first_that_fits(_rules(locale).on, day)


class Days:
    """Moments as somebody of a language reads them, in their time zone (UTC for an unknown one) and at their time."""

    __slots__ = ("_zone", "locale", "this_year")

    def __init__(self, locale: Locale, zone_name: str | None, now: dt.datetime) -> None:
        """`now` says which year needs no mention."""
        self.locale = locale
        self._zone = zone(zone_name)
        self.this_year = self.local(now).year

    def local(self, moment: dt.datetime) -> dt.datetime:
        """The moment in their time zone; as it is within hours of the calendar's ends, where theirs may lie beyond."""
        try:
            return moment.astimezone(self._zone)
        except OverflowError:
            return moment

    def full(self, moment: dt.datetime) -> str:
        """For a sentence, with the weekday: `Friday, November 27`."""
        day = self.local(moment).date()
        return full_day(day, self.locale, year=day.year != self.this_year)

    def date(self, moment: dt.datetime) -> str:
        """For a sentence, without the weekday: `November 27`."""
        day = self.local(moment).date()
        return date(day, self.locale, year=day.year != self.this_year)

    def short(self, moment: dt.datetime) -> str:
        """For rows of facts and lists: `Fri, Nov 27`."""
        day = self.local(moment).date()
        return short_day(day, self.locale, year=day.year != self.this_year)

    def on_full(self, moment: dt.datetime) -> str:
        """`full` with the word before it, for languages where that depends on the day: `na terça-feira, 1º de dezembro`,
        `no sábado, 5 de dezembro`."""
        return self.on(self.full(moment))

    def on_date(self, moment: dt.datetime) -> str:
        """`date` with the word before it: `il 7 dicembre`, `l’8 dicembre`."""
        return self.on(self.date(moment))

    def on(self, day: str) -> str:
        """A day in whole words, as `full` and `date` write it, with the word before it."""
        return on(day, self.locale)

    def month(self, moment: dt.datetime) -> str:
        """`Nov`."""
        return short_month(self.local(moment).date(), self.locale)

    def hours(self, start: dt.datetime, end: dt.datetime | None) -> str:
        """`9:00 AM – 11:00 AM`; with the date of the end when that is another day. An hour that the day has twice, when summer time ends,
        says which it is: `1:30 AM (UTC−7)`."""
        begin = self.local(start)
        text = self._hour(begin)
        if end is None:
            return text
        finish = self.local(end)
        closing = self._hour(finish)
        if finish.date() != begin.date():
            closing = f"{self.short(end)}, {closing}"
        return f"{text} – {closing}"

    def _hour(self, local: dt.datetime) -> str:
        text = clock(local.time(), self.locale)
        offset = local.utcoffset()
        if offset is None or offset == local.replace(fold=1 - local.fold).utcoffset():
            return text
        return f"{text} ({_utc(offset)})"


def _pattern(skeleton: str, locale: Locale) -> str:
    """CLDR's pattern for the fields of a skeleton, in the widths that CLDR happens to have it in."""
    found = match_skeleton(skeleton, locale.datetime_skeletons)
    return str(locale.datetime_skeletons[found].pattern)


def _outside_quotes(pattern: str, change: Callable[[str], str]) -> str:
    """The pattern with its fields changed and its quoted words (`'de'`) left alone."""
    parts = pattern.split("'")
    return "'".join(part if at % 2 else change(part) for at, part in enumerate(parts))


def _whole_words(pattern: str) -> str:
    """The same fields in whole words, as CLDR's algorithm widens them and Babel doesn't
    (https://unicode.org/reports/tr35/tr35-dates.html#Matching_Skeletons)."""
    return _outside_quotes(
        pattern, lambda part: re.sub("[ML]+", "MMMM", re.sub("[Ec]+", "EEEE", part))
    )


def _rules(locale: Locale) -> DayRules:
    return grammar(catalogue_of(locale)).days


def _written(pattern: str, day: dt.date, locale: Locale) -> str:
    first = _rules(locale).first
    if first and day.day == 1:
        pattern = _outside_quotes(
            pattern, lambda part: re.sub(r"(?<!d)d(?!d)", f"d'{first}'", part)
        )
    return parse_pattern(pattern).apply(day, locale)
