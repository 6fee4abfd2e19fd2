"""The folder of a language: its catalogue says everything, and its `language.toml` what CLDR doesn't."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg

from shared.l10n.catalogues import translations
from shared.l10n.grammar import Grammar, first_that_fits, grammar
from shared.l10n.locales import DOMAIN, LOCALES, SOURCE, parse_locale
from tests.fixtures.languages import (
    LANGUAGES,
    TEMPLATE,
    TRANSLATED,
    catalogue,
    forms,
    messages,
    read,
)

ROOT = Path(__file__).parents[4]
PLACE = re.compile(r"%\(\w+\)[sd]")
ENGLISH = re.compile(r"\b(the|please|your|because)\b", re.IGNORECASE)
"""Words of every longer English sentence here, and of no other language's."""
SEARCHED = ("services", "shared")
EVERY_TRANSLATION = pytest.mark.parametrize("language", TRANSLATED)


@pytest.mark.whole
def test_the_template_is_up_to_date() -> None:
    """A text that was changed or added without `make texts` would never be translated; one that is gone would be translated on and on."""
    with (LOCALES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = {
        message
        for _, _, message, _, _ in extract_from_dir(
            ROOT,
            method_map=methods,
            options_map=options,
            directory_filter=lambda path: Path(path).relative_to(ROOT).parts[0] in SEARCHED,
        )
    }
    plurals = {message[0] for message in found if isinstance(message, tuple)}
    assert {message.id for message in messages(read(TEMPLATE))} == found - plurals


def test_every_folder_is_a_language() -> None:
    """And each but the source's has its catalogue: a misspelt folder would speak to nobody."""
    folders = {path.name for path in LOCALES.iterdir() if path.is_dir()}
    assert folders == set(LANGUAGES)
    for folder in folders:
        assert str(parse_locale(folder)) == folder
        assert {path.name for path in (LOCALES / folder).rglob("*") if path.is_file()} == (
            {"language.toml"} | ({f"{DOMAIN}.po"} if folder != SOURCE else set())
        )


@EVERY_TRANSLATION
def test_a_catalogue_is_whole(language: str) -> None:
    """Every text of the template, each plural form, none unchecked, none that is used no more."""
    catalog = catalogue(language)
    assert {message.id for message in messages(catalog)} == {
        message.id for message in messages(read(TEMPLATE))
    }
    assert not catalog.obsolete
    for message in messages(catalog):
        said = forms(message.string)
        assert all(said), message.id
        assert not message.fuzzy, message.id
        assert len(said) == (catalog.num_plurals if message.pluralizable else 1), message.id


@EVERY_TRANSLATION
def test_a_translation_fills_in_what_the_source_fills_in(language: str) -> None:
    """Names, dates and amounts stand in the translation too; only a singular may say its number in a word."""
    for message in messages(catalogue(language)):
        wanted = {found for form in forms(message.id) for found in PLACE.findall(form)}
        for number, form in enumerate(forms(message.string)):
            spelled_out = message.pluralizable and number == 0
            # `on_day` is the day with the word before it, for languages where that depends on the day.
            found = set(PLACE.findall(form.replace("%(on_day)s", "%(day)s")))
            assert wanted - found <= ({"%(num)d", "%(num)s"} if spelled_out else set()), form
            assert found <= wanted, form
            assert form.replace("%(", "").count("%") == 0, form
            assert form == form.strip()


@EVERY_TRANSLATION
def test_no_translation_has_english_in_it(language: str) -> None:
    """Such as the next text, where two edits of a catalogue were put together wrongly."""
    for message in messages(catalogue(language)):
        for form in forms(message.string):
            assert not ENGLISH.search(form), form


@EVERY_TRANSLATION
def test_each_number_has_its_form(language: str) -> None:
    """What stands for one never stands for two; two and five differ only where the language says so."""
    locale = parse_locale(language)
    assert locale is not None
    one, two, five = (
        translations(locale).ngettext(
            "Your payment didn’t go through", "%(num)s payments didn’t go through", number
        )
        for number in (1, 2, 5)
    )
    assert one != two
    assert (two == five) is (catalogue(language).num_plurals == 2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_says_what_its_texts_are_looked_through_for(language: str) -> None:
    """Its word for a card, and how it addresses customers: without these the tests of its words would look for nothing."""
    style = grammar(language).style
    assert style.card == style.card.lower() != ""
    for pattern in style.instead:
        assert not re.search(pattern, "")
    if language != SOURCE:
        assert style.formal
        assert style.informal


def test_a_misspelt_line_of_a_language_is_refused() -> None:
    """It would be left out without a word."""
    with pytest.raises(msgspec.ValidationError, match="artcle"):
        msgspec.toml.decode("[days]\nartcle = []", type=Grammar)


def test_a_text_that_has_a_plural_is_found_alone() -> None:
    """Whichever Python runs: a subject that stood in another mail with a number beside it was English under 3.11.2."""
    german = translations(parse_locale("de"))
    assert german.gettext("Please confirm your payment") == "Bitte bestätigen Sie Ihre Zahlung"
    assert german.gettext("nobody has said this") == "nobody has said this"


def test_the_first_rule_that_finds_something_is_the_only_one() -> None:
    """A rule for a few days comes before the one for all."""
    rules = (("^8", "l’8"), ("^", "il "))
    assert first_that_fits(rules, "8 dicembre") == "l’8 dicembre"
    assert first_that_fits(rules, "9 dicembre") == "il 9 dicembre"
    assert first_that_fits((), "9 dicembre") == "9 dicembre"
