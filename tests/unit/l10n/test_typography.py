"""Characters as the typographers of each language want them, in the files and in what is drawn of them."""

from __future__ import annotations

import re

import pytest
from babel import Locale

from services.notifier.domain.kinds import Kind
from services.notifier.emails.samples import sample_letter
from shared.l10n.catalogues import translations
from shared.l10n.money import money
from shared.l10n.typography import labelled, typeset
from tests.fixtures.languages import LANGUAGES, texts
from tests.unit.l10n.drawn import all_mails, all_pages
from tests.unit.notifier.conftest import RENDERER

EVERY = pytest.mark.parametrize("language", LANGUAGES)
NOT_FRENCH = (
    r"(?<!\u202f)[;?!](?![;?!\w])",  # no narrow no-break space before it
    r"(?<!\u00a0):(?!\S)",
    r"«(?!\u00a0)|(?<!\u00a0)»",
    r"[Ee]-mail",
    r"(?<!·)[ \u00a0\u202f]{2}(?!·)",
)


def faults(text: str) -> list[str]:
    """The places of a French text that a typographer would mark."""
    return [
        text[max(0, found.start() - 30) : found.end() + 10]
        for pattern in NOT_FRENCH
        for found in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize(
    ("typed", "set_"),
    [
        ("Payé, merci !", "Payé, merci\u202f!"),
        ("Vraiment?", "Vraiment\u202f?"),
        ("E-mail :", "E\u2011mail\u00a0:"),
        ("Ici : « là » ; ou (où ?)", "Ici\u00a0: «\u00a0là\u00a0»\u202f; ou (où\u202f?)"),
        ("%(name)s écrit :", "%(name)s écrit\u00a0:"),
        ("à 09:30 sur https://x.example/?a=1", "à 09:30 sur https://x.example/?a=1"),
        ("adresse e-mail, deux e-mails", "adresse e\u2011mail, deux e\u2011mails"),
    ],
)
def test_french_is_set_as_french_printers_do(typed: str, set_: str) -> None:
    """No line begins with a sign, however the translator typed it; addresses and times are left alone."""
    assert typeset(typed, "fr") == set_
    assert typeset(set_, "fr") == set_
    assert typeset(typed, "en") == typed


@pytest.mark.whole
@pytest.mark.parametrize(
    ("language", "typed", "set_"),
    [
        ("de", "E-Mail-Adresse", "E\u2011Mail-Adresse"),
        ("it", "via e-mail", "via e\u2011mail"),
        ("nl", "E-mailadres, e-mails", "E\u2011mailadres, e\u2011mails"),
        ("pl", "e-mailem", "e\u2011mailem"),
        ("pt_BR", "dois e-mails", "dois e\u2011mails"),
    ],
)
def test_no_line_ends_within_the_word_for_an_email(language: str, typed: str, set_: str) -> None:
    """A letter and a hyphen would stand alone at its end; other hyphens may end a line."""
    assert typeset(typed, language) == typeset(set_, language) == set_
    for text in (*all_mails(language), *all_pages(language)):
        assert re.findall(r".{0,30}\b[Ee]-[Mm]ail.{0,10}", text) == []


@pytest.mark.whole
def test_every_french_text_is_set_so() -> None:
    """Each text of the catalogue, each mail and each page, in their subjects and labels too."""
    french = translations(Locale("fr"))
    for key in texts("fr"):
        assert faults(french.gettext(key)) == []
    for text in (*all_mails("fr"), *all_pages("fr")):
        assert faults(text) == []


@pytest.mark.whole
@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "fr"])
def test_elsewhere_no_space_stands_before_a_sign(language: str) -> None:
    """What is right in French is a slip in every other language."""
    for text in (*all_mails(language), *all_pages(language)):
        assert re.findall(r".{0,30}[ \u00a0\u202f][:;?!](?=\s)", text) == []


@EVERY
def test_no_text_has_a_typewriters_signs(language: str) -> None:
    """Apostrophes and quotes are curly, an ellipsis is one character, no dash is a hyphen, no space is doubled."""
    for forms in texts(language).values():
        for form in forms:
            assert not re.search(r"""['"`´]|\.\.|\s-\s|--| {2}""", form), form


@pytest.mark.whole
@EVERY
def test_no_sentence_ends_twice(language: str) -> None:
    """Abbreviations with a full stop stand in rows and lists, never before the end of a sentence; whatever the day."""
    for text in (*all_mails(language), *all_pages(language)):
        assert re.findall(r".{0,40}\.[\u200b-\u200f\u2066-\u2069]*\.", text) == []


@pytest.mark.whole
@EVERY
def test_an_amount_is_never_broken(language: str) -> None:
    """No ordinary space stands inside one, in any currency, in subjects and facts too."""
    for currency in ("usd", "eur", "pln", "brl", "chf", "kwd", "idr"):
        assert " " not in money(123_456_789, currency, Locale.parse(language))
    due = money(14900, "usd", Locale.parse(language))
    reminder = RENDERER.render(sample_letter(Kind.PAYMENT_REMINDER, language))
    assert due in reminder.subject
    assert f'white-space:nowrap;">{due}</td>' in reminder.html


@pytest.mark.whole
@EVERY
def test_a_card_in_a_row_reads_as_on_stripes_pages(language: str) -> None:
    """`Visa •••• 4242` in the mail's box of facts and on the page, the same in every language."""
    card = "Visa ••••\u00a04242"
    assert any(re.search(rf": {card}$", text, re.MULTILINE) for text in all_mails(language))
    assert any(f"\n{card} · " in text for text in all_pages(language))


def test_a_label_has_its_colon_as_the_language_writes_it() -> None:
    """French has a space before it."""
    assert labelled("Facture", "fr") == "Facture\u00a0:"
    assert labelled("Invoice", "en") == "Invoice:"
