"""The colours of a business: readable on every ground of pages and mails, the same on both."""

from __future__ import annotations

import msgspec
import pytest
from babel import Locale
from hypothesis import example, given
from hypothesis import strategies as st

from services.notifier.domain.kinds import Kind
from services.notifier.emails.samples import sample_letter
from services.portal.domain.notice import Notice, Tone
from services.portal.web import views
from shared.l10n.palette import DARK_GROUNDS, DEFAULT_COLOR, LIGHT_GROUNDS, contrast, palette
from tests.unit.notifier.conftest import RENDERER
from tests.unit.portal.builders import NOW, TOKEN, business, snapshot

hexes = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(hexes)
@example("#000000")
@example("#ffffff")
@example("#ffe600")
def test_any_colour_stays_readable(color: str) -> None:
    """Whatever the colour: 4.5 for text on every ground and on the button, 3 for the button's outline, light and dark."""
    found = palette(color)
    for shades, grounds in ((found.light, LIGHT_GROUNDS), (found.dark, DARK_GROUNDS)):
        assert contrast(shades.on_button, shades.button) >= 4.5
        assert all(contrast(shades.text, ground) >= 4.5 for ground in grounds)
        assert all(contrast(shades.edge, ground) >= 3 for ground in grounds)


def test_the_button_keeps_the_businesss_colour() -> None:
    """Where it can be seen, the colour is the button's in the dark too: it is not washed out as text has to be."""
    found = palette("#0f766e")
    assert found.light.button == found.dark.button == "#0f766e"
    assert found.dark.on_button == "#ffffff"
    assert found.dark.text != "#0f766e"


@pytest.mark.parametrize("color", [None, "", "red", "#12", "#12345g", "url(x)", "#fff;}"])
def test_what_is_no_colour_becomes_the_default(color: str | None) -> None:
    """Nothing but six or three hexadecimal digits gets into a style."""
    assert palette(color).light.button == DEFAULT_COLOR
    assert palette("#ABC") == palette("#aabbcc")


@pytest.mark.parametrize("color", ["#0f766e", "#ffe600", "#000000", None])
def test_page_and_mail_have_the_same_colours(color: str | None) -> None:
    """The button that led to the page looks as the one on it, light and dark."""
    found = palette(color)
    drawn = snapshot(business=business(color=color))
    view = views.MeView(drawn, Notice(Tone.WELL), TOKEN, Locale("en"), NOW)
    page = views.me(view, session_origins=()).html
    letter = sample_letter(Kind.PAYMENT_FAILED)
    branded = msgspec.structs.replace(letter.business, color=color)
    mail = RENDERER.render(msgspec.structs.replace(letter, business=branded)).html
    for shades in (found.light, found.dark):
        assert f"--button:{shades.button};--on-button:{shades.on_button}" in page
        assert f"background-color:{shades.button}" in mail.replace(": ", ":")
        assert f"color:{shades.on_button}" in mail.replace(": ", ":")
