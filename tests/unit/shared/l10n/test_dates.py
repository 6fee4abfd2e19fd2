"""Days and hours, as people of each language write them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo, available_timezones

import pytest
from babel import Locale

from shared.l10n.dates import Days, brief_day, full_month, zone_label
from tests.fixtures.languages import LANGUAGES

NOW = dt.datetime(2026, 11, 24, 15, tzinfo=dt.UTC)


def days(locale: str, zone: str | None = "UTC") -> Days:
    return Days(Locale.parse(locale), zone, NOW)


def at(month: int, day: int, year: int = 2026) -> dt.datetime:
    return dt.datetime(year, month, day, 9, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("locale", "full", "with_year", "short", "on"),
    [
        ("en", "Tuesday, December 1", "Friday, January 1, 2027", "Tue, Dec 1", "on Tuesday, Dec"),
        ("en_GB", "Tuesday 1 December", "Friday, 1 January 2027", "Tue 1 Dec", "on Tuesday 1"),
        ("de", "Dienstag, 1. Dezember", "Freitag, 1. Januar 2027", "Di., 1. Dez.", "am Dienstag"),
        ("de_AT", "Dienstag, 1. Dezember", "Freitag, 1. Jänner 2027", "Di., 1. Dez.", "am Dien"),
        ("fr", "mardi 1er décembre", "vendredi 1er janvier 2027", "mar. 1er déc.", "le mardi 1er"),
        ("es", "martes 1 de diciembre", "viernes 1 de enero de 2027", "mar, 1 dic", "el martes 1"),
        ("es_MX", "martes 1 de diciembre", "viernes 1 de enero de 2027", "mar 1 de dic", "el mar"),
        ("it", "martedì 1º dicembre", "venerdì 1º gennaio 2027", "mar 1º dic", "martedì 1º"),
        ("nl", "dinsdag 1 december", "vrijdag 1 januari 2027", "di 1 dec", "op dinsdag 1"),
        ("pl", "wtorek, 1 grudnia", "piątek, 1 stycznia 2027", "wt., 1 gru", "we wtorek, 1"),
        (
            "pt_BR",
            "terça-feira, 1º de dezembro",
            "sexta-feira, 1º de janeiro de 2027",
            "ter., 1º de dez.",
            "na terça-feira, 1º de",
        ),
    ],
)
def test_a_day_in_a_sentence_is_whole_words_and_in_a_row_short(
    locale: str, full: str, with_year: str, short: str, on: str
) -> None:
    """With the year only where it isn't this one, and with the first of the month as the language has it."""
    written = days(locale)
    assert written.full(at(12, 1)) == full
    assert written.full(at(1, 1, 2027)) == with_year
    assert written.short(at(12, 1)) == short
    assert written.on_full(at(12, 1)).startswith(on)
    assert written.date(at(12, 1)) in full
    assert written.date(at(1, 1, 2027)).endswith("2027")


@pytest.mark.whole
@pytest.mark.parametrize("locale", [*LANGUAGES, "en_DE", "fr_CA"])
def test_no_day_of_the_year_ends_a_sentence_twice(locale: str) -> None:
    """A day in whole words has no abbreviation's full stop at its end, and every weekday is there in full."""
    written = days(locale)
    for number in range(366):
        moment = at(1, 1) + dt.timedelta(days=number)
        for text in (written.full(moment), written.date(moment), written.on_full(moment)):
            assert not text.endswith(".")
            assert not any(
                len(word) < 4 and word.endswith(".") and word[0].isalpha() for word in text.split()
            )


@pytest.mark.parametrize(
    ("locale", "day", "on"),
    [
        ("pt_BR", 5, "no sábado, 5 de dezembro"),
        ("pt_BR", 6, "no domingo, 6 de dezembro"),
        ("pt_BR", 7, "na segunda-feira, 7 de dezembro"),
        ("pl", 2, "w środę, 2 grudnia"),
        ("pl", 5, "w sobotę, 5 grudnia"),
        ("pl", 6, "w niedzielę, 6 grudnia"),
        ("it", 5, "sabato 5 dicembre"),
    ],
)
def test_on_a_day_follows_the_languages_grammar(locale: str, day: int, on: str) -> None:
    """The word before it, or the weekday's own ending, depends on the day."""
    assert days(locale).on_full(at(12, day)) == on


@pytest.mark.parametrize(
    ("locale", "day", "on"),
    [
        ("it", 8, "l’8 dicembre"),
        ("it", 11, "l’11 dicembre"),
        ("it", 1, "il 1º dicembre"),
        ("it", 18, "il 18 dicembre"),
        ("pt_BR", 1, "em 1º de dezembro"),
        ("pl", 1, "1 grudnia"),
        ("fr", 1, "le 1er décembre"),
    ],
)
def test_on_a_date_follows_the_languages_grammar(locale: str, day: int, on: str) -> None:
    """The same without a weekday."""
    assert days(locale).on_date(at(12, day)) == on


def test_a_day_is_the_readers_day() -> None:
    """Late in the evening in UTC it is tomorrow in Tokyo; an unknown zone is UTC."""
    moment = dt.datetime(2026, 11, 27, 20, tzinfo=dt.UTC)
    assert days("en", "Asia/Tokyo").full(moment) == "Saturday, November 28"
    assert days("en", "Mars/Olympus").full(moment) == "Friday, November 27"
    assert days("de", None).full(moment) == "Freitag, 27. November"


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Pacific/Kiritimati", dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.UTC), "Dec 31, 9999"),
        ("America/Los_Angeles", dt.datetime(1, 1, 1, tzinfo=dt.UTC), "Jan 1, 1"),
    ],
)
def test_a_moment_that_a_zone_puts_beyond_the_calendar_is_told_as_it_is(
    zone: str, moment: dt.datetime, day: str
) -> None:
    """A host may set "never" as the year 9999: a page in Kiribati, where that is the year 10000, has to be drawn all the same."""
    assert days("en", zone).short(moment).endswith(day)
    assert days("en", zone).hours(moment, moment)


def test_the_year_is_the_readers_year() -> None:
    """On New Year's Eve in New York it is still this year there."""
    eve = dt.datetime(2027, 1, 1, 2, tzinfo=dt.UTC)
    assert days("en", "America/New_York").date(eve) == "December 31"
    assert days("en", "UTC").date(eve) == "January 1, 2027"


def test_hours_name_the_day_of_the_end_where_it_is_another() -> None:
    """A night shift is not taken for an hour that ran backwards."""
    night = dt.datetime(2026, 12, 1, 22, tzinfo=dt.UTC)
    assert days("de").hours(night, night + dt.timedelta(hours=1)) == "22:00 – 23:00"
    assert days("de").hours(night, night + dt.timedelta(hours=8)) == "22:00 – Mi., 2. Dez., 06:00"
    assert days("de").hours(night, None) == "22:00"


@pytest.mark.parametrize(
    ("zone", "start", "said"),
    [
        ("America/Los_Angeles", (11, 1, 8, 30), "1:30 AM (UTC−7) – 1:30 AM (UTC−8)"),
        ("America/Los_Angeles", (11, 1, 7, 30), "12:30 AM – 1:30 AM (UTC−7)"),
        ("America/Los_Angeles", (11, 1, 9, 30), "1:30 AM (UTC−8) – 2:30 AM"),
        ("America/Los_Angeles", (3, 8, 9, 30), "1:30 AM – 3:30 AM"),
        ("Australia/Lord_Howe", (4, 4, 14, 0), "1:00 AM – 1:30 AM (UTC+10:30)"),
        ("Asia/Kolkata", (11, 1, 3, 30), "9:00 AM – 10:00 AM"),
    ],
)
def test_an_hour_that_a_day_has_twice_says_which_it_is(
    zone: str, start: tuple[int, int, int, int], said: str
) -> None:
    """When summer time ends, half past one comes again an hour later: a visit of that hour took no time, by the clock alone."""
    begin = dt.datetime(2026, *start, tzinfo=dt.UTC)
    hours = days("en", zone).hours(begin, begin + dt.timedelta(hours=1))
    assert hours.replace("\u202f", " ") == said


def test_a_zone_has_the_name_that_people_use() -> None:
    """And a mere offset its own."""
    assert zone_label("America/Los_Angeles", Locale.parse("en")) == "Pacific Time"
    assert zone_label("Etc/UTC", Locale.parse("de")) == "UTC"


@pytest.mark.parametrize("name", ["Europe/Atlantis", "XYZ"])
def test_a_zone_that_this_machine_does_not_know_is_said_as_what_stands_for_it(name: str) -> None:
    """Another machine may know it, or did when it was stored; the hours beside the name are UTC's."""
    locale = Locale.parse("en")
    noon = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
    assert (zone_label(name, locale), Days(locale, name, noon).local(noon).hour) == ("UTC", 12)


@pytest.mark.parametrize("name", [f"Etc/GMT{hours:+d}" for hours in range(-14, 13) if hours])
def test_an_offset_is_said_as_people_count(name: str) -> None:
    """Zones of the name `Etc/GMT+5` are five hours *behind*."""
    behind = ZoneInfo(name).utcoffset(dt.datetime(2026, 11, 1))
    assert behind is not None
    hours = behind // dt.timedelta(hours=1)
    assert zone_label(name, Locale.parse("en")) == f"UTC{hours:+d}".replace("-", "\N{MINUS SIGN}")


@pytest.mark.whole
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_time_zone_is_of_an_unknown_place(language: str) -> None:
    """New ones are known to a newer CLDR only: then their city is."""
    locale = Locale.parse(language)
    nowhere = [locale.territories[code] for code in ("ZZ", "001")]
    for name in sorted(available_timezones() | {"America/Coyhaique"}):
        label = zone_label(name, locale)
        assert label
        assert not any(place in label for place in nowhere), name


def test_lists_have_a_day_without_its_weekday_and_a_month_with_its_year() -> None:
    """The command line's and the sandbox's, by the same patterns."""
    day = at(12, 1).date()
    english = Locale.parse("en_US")
    assert brief_day(day, english, year=False) == "Dec 1"
    assert brief_day(day, english, year=True) == "Dec 1, 2026"
    assert full_month(day, english) == "December 2026"
    assert brief_day(day, Locale("fr"), year=False) == "1er déc."
