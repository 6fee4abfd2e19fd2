"""The page in every language."""

from __future__ import annotations

import re
from typing import Any

import pytest
from babel import Locale

from services.portal.domain.notice import Notice, State, Tone
from services.portal.handlers.cancelling import Asking
from services.portal.texts import texts_in
from services.portal.web import request_views, views
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import PaymentMethod
from shared.contracts.prices import price
from shared.l10n.grammar import grammar
from tests.fixtures.languages import LANGUAGES, TRANSLATED
from tests.fixtures.languages import texts as texts_of
from tests.unit.portal.builders import NOW, TOKEN, WANTS_METHOD, ago, business, snapshot
from tests.unit.portal.test_request_views import SUBSCRIPTION
from tests.unit.portal.test_views import owed

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("tone", [Tone.DECLINED, Tone.STILL_DECLINED])
@pytest.mark.parametrize("step", sorted(WANTS_METHOD))
def test_a_bank_account_is_never_called_a_card(language: str, tone: Tone, step: NextStep) -> None:
    """In no language; and its bank and its end are named."""
    account = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")
    line = owed(State(tone.value), method=account, step=step)
    view = views.MeView(snapshot(), Notice(tone, (line,)), TOKEN, Locale.parse(language), NOW)
    html = views.me(view, session_origins=()).html.partition("<footer>")[0]
    seen = re.sub(r"<style.*?</style>|<[^>]*>", "", html, flags=re.DOTALL)
    assert grammar(language).style.card not in seen.lower()
    assert "STRIPE TEST BANK" in seen
    assert "6789" in seen


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


@pytest.mark.parametrize("language", TRANSLATED)
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
        for key in texts_of("en"):
            if len(key) > 25 and "%" not in key:
                assert key not in one.html
    assert f'<html lang="{language.replace("_", "-")}"' in page.html
    said = price(SUBSCRIPTION.terms)
    assert said is not None
    texts = texts_in(locale)
    assert texts.price(said, texts.days("UTC", NOW)) in page.html
