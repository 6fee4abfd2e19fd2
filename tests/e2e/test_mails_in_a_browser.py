"""Every email in a real browser: no accessibility violation, nothing that runs off the screen, whole without images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from services.notifier.domain.kinds import Kind
from services.notifier.emails.letters import Letter
from services.notifier.emails.rendering import Renderer
from services.notifier.emails.samples import sample_letter
from services.notifier.ports import Business
from tests.fixtures.browser import violations

WIDTHS = (600, 320)
SCHEMES = ("light", "dark")
LONG = "Sonnenaufgang-Reinigungs-und-Haushaltshilfegesellschaft " * 4
NASTY = "<b>\"Zoë\" & 'Söhne'</b> שלום וברכה " + "W" * 170
renderer = Renderer()


@pytest.fixture(scope="module", params=[(width, scheme) for width in WIDTHS for scheme in SCHEMES])
def screen(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A mail reader of a width and a colour scheme, with no way out."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    yield context.new_page()
    context.close()


def letters(kind: Kind) -> list[Letter]:
    """The sample, in German with a pale colour and a logo that never loads, and with long amounts and names that strangers chose."""
    sample = sample_letter(kind)
    german = msgspec.structs.replace(sample_letter(kind, "de"), note=sample.note)
    pale = msgspec.structs.replace(
        german.business,
        color="#fde68a",
        logo_url="https://127.0.0.1:9/logo.png",
        locale="de",
        name="Müller & Söhne",
    )
    stranger = Business(name=LONG, email="a@b.example", website="https://x.example/" + "y" * 200)
    return [
        sample,
        msgspec.structs.replace(german, business=pale),
        msgspec.structs.replace(
            sample,
            customer_name=NASTY,
            description=NASTY if sample.description else None,
            business=stranger,
            note=NASTY if sample.note else None,
            number="N" * 60,
            amount=1_234_567_890,
            currency="huf",
            lines=tuple(
                dataclasses.replace(line, amount=617_283_945, currency="huf")
                for line in sample.lines
            ),
            link=sample.link and sample.link + "x" * 120,
        ),
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_an_email_is_readable_by_everybody(screen: Page, kind: Kind) -> None:
    """axe finds nothing, and no name is so long that a line has to be scrolled."""
    wide = (screen.viewport_size or {})["width"] == WIDTHS[0]
    dark = screen.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    for number, letter in enumerate(letters(kind)):
        screen.set_content(renderer.render(letter).html)
        # axe takes a second: colours on the wide screen, long words on the phone by day
        if number < 2 if wide else number == 2 and not dark:
            assert violations(screen) == []
        overflow = screen.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{overflow} px too wide"
