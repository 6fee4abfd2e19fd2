"""The page's languages: every catalogue says everything, and nothing that the page doesn't."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from services.portal.domain.notice import Notice, State, Tone
from services.portal.handlers.cancelling import Asking
from services.portal.texts import LOCALES, choose_locale, languages, texts_in
from services.portal.web import request_views, views
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import PaymentMethod
from shared.contracts.prices import price
from tests.unit.portal.builders import NOW, TOKEN, WANTS_METHOD, ago, business, snapshot
from tests.unit.portal.test_request_views import SUBSCRIPTION
from tests.unit.portal.test_views import owed

LANGUAGES = {"de", "es", "fr", "it", "nl", "pl", "pt_BR"}
CARD_IN = {
    "de": "karte",
    "en": "card",
    "es": "tarjeta",
    "fr": "carte",
    "it": "carta",
    "nl": "kaart",
    "pl": "kart",
    "pt_BR": "cartão",
}
PLACE = re.compile(r"%\(\w+\)s")


def catalogue(path: Path, language: str | None = None) -> dict[str, Message]:
    with path.open("rb") as file:
        read: Catalog = read_po(file, locale=language)
    return {
        message.id[0] if isinstance(message.id, tuple) else message.id: message
        for message in read
        if message.id
    }


def forms(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


SOURCE = catalogue(LOCALES / "portal.pot")


def of(language: str) -> dict[str, Message]:
    return catalogue(LOCALES / language / "LC_MESSAGES" / "portal.po", language)


def test_the_page_speaks_eight_languages() -> None:
    """English is the source, the others are catalogues."""
    assert languages() == LANGUAGES | {"en"}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_catalogue_is_complete_and_not_stale(language: str) -> None:
    """Each text of the page is translated, none is fuzzy, and none is left over from a page that is no more."""
    found = of(language)
    assert set(found) == set(SOURCE)
    assert [key for key, message in found.items() if not all(forms(message))] == []
    assert [key for key, message in found.items() if message.fuzzy] == []


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_translation_keeps_what_is_filled_in(language: str) -> None:
    """Names, dates and amounts stand in the translation too; a plural form of one thing may leave out its number."""
    for key, message in of(language).items():
        places = set(PLACE.findall(" ".join((key, *message.id) if message.pluralizable else [key])))
        for form in forms(message):
            # The day with the word before it, for languages where that depends on the day.
            form = form.replace("%(on_day)s", "%(day)s")
            missing = places - set(PLACE.findall(form))
            assert missing <= ({"%(num)s"} if message.pluralizable else set()), (key, form)
            assert set(PLACE.findall(form)) <= places, (key, form)
            assert "%" not in PLACE.sub("", form), (key, form)


@pytest.mark.parametrize("language", sorted(LANGUAGES | {"en"}))
@pytest.mark.parametrize("tone", [Tone.DECLINED, Tone.STILL_DECLINED])
@pytest.mark.parametrize("step", sorted(WANTS_METHOD))
def test_a_bank_account_is_never_called_a_card(language: str, tone: Tone, step: NextStep) -> None:
    """In no language; and its bank and its end are named."""
    account = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")
    line = owed(State(tone.value), method=account, step=step)
    view = views.MeView(snapshot(), Notice(tone, (line,)), TOKEN, Locale.parse(language), NOW)
    html = views.me(view, session_origins=()).html.partition("<footer>")[0]
    seen = re.sub(r"<style.*?</style>|<[^>]*>", "", html, flags=re.DOTALL)
    assert CARD_IN[language] not in seen.lower()
    assert "STRIPE TEST BANK" in seen
    assert "6789" in seen


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_each_number_has_its_form(language: str) -> None:
    """As many plural forms as the language has, and what stands for two never stands for one."""
    wanted = 3 if language == "pl" else 2
    texts = texts_in(Locale.parse(language))
    for message in of(language).values():
        if message.pluralizable:
            assert len(forms(message)) == wanted
    one, two, five = (
        texts.ngettext(
            "Your payment didn’t go through", "%(num)s payments didn’t go through", number
        )
        for number in (1, 2, 5)
    )
    assert one != two
    assert (two == five) is (language != "pl")


def test_polish_counts_as_poles_do() -> None:
    """2 to 4 have a form of their own, but not 12 to 14; 22 again."""
    texts = texts_in(Locale.parse("pl"))

    def months(number: int) -> str:
        return texts.ngettext(
            "%(amount)s every month", "%(amount)s every %(num)s months", number
        ).rpartition(" ")[2]

    assert [months(number) for number in (1, 2, 4, 5, 12, 14, 22, 25)] == [
        "miesiąc",
        "miesiące",
        "miesiące",
        "miesięcy",
        "miesięcy",
        "miesięcy",
        "miesiące",
        "miesięcy",
    ]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_pages_in_every_language_are_whole_and_small(language: str) -> None:
    """No English sentence is left on the page, the amounts are the language's own, and it stays under 20 KB."""
    locale = Locale.parse(language)
    of_page: dict[str, Any] = {"token": TOKEN, "locale": locale, "now": NOW}
    found = snapshot(business=business(may_cancel=False), subscriptions=(SUBSCRIPTION,))
    line = owed(State.DECLINED, since=ago(days=2))
    notice = Notice(Tone.DECLINED, (line,))
    page = views.me(views.MeView(snapshot=found, notice=notice, **of_page), session_origins=())
    asked = request_views.asked(found, SUBSCRIPTION, TOKEN, locale, Asking.ASKED, NOW)
    for one in (page, asked):
        assert len(one.html.encode()) < 20_000
        for key in SOURCE:
            if len(key) > 25 and "%" not in key:
                assert key not in one.html
    assert f'<html lang="{language.replace("_", "-")}"' in page.html
    said = price(SUBSCRIPTION.terms)
    assert said is not None
    texts = texts_in(locale)
    assert texts.price(said, texts.days("UTC", NOW)) in page.html


def test_the_customers_language_wins_over_the_browsers() -> None:
    """Customer, browser, business, English: the first one that the page speaks, with its territory."""
    assert str(choose_locale(["pt_BR", "de"])) == "pt_BR"
    assert str(choose_locale(["ja", "nl-BE", "de"])) == "nl_BE"
    assert str(choose_locale([None, "ja", "xx"])) == "en"
