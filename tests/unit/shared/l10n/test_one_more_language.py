"""One more language is one more folder: no line of code or of a test is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.l10n.locales import LOCALES, languages
from tests.fixtures.languages import texts

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[4]
NEW = "gsw"
"""Swiss German, which CLDR knows and nobody writes bills in; its folder is a copy of the German one."""
DRAW = """
import dataclasses
from shared.l10n.locales import choose_locale, languages
from services.notifier.emails.rendering import Renderer
from services.notifier.emails.samples import sample_letter
from services.notifier.domain.kinds import Kind
from services.portal.web import views

locale = choose_locale(["gsw-CH", "fr"])
mail = Renderer().render(sample_letter(Kind.PAYMENT_FAILED, "gsw-CH"))
page = views.page_not_found(locale)
print(*sorted(languages()), mail.html, mail.text, page.html, dict(page.headers)["Content-Language"], sep="\\n")
"""


@pytest.fixture
def with_one_more(tmp_path: Path) -> Path:
    """The product as it is, with the new folder."""
    for room in ("services", "shared"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / LOCALES.relative_to(ROOT)
    shutil.copytree(folder / "de", folder / NEW)
    return tmp_path


def test_one_more_language_is_one_more_folder(with_one_more: Path) -> None:
    """Found by itself, page and email speak it: words, dates and amounts."""
    assert NEW not in languages()
    drawn = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRAW],
        cwd=with_one_more,
        env={**os.environ, "PYTHONPATH": str(with_one_more)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    german = texts("de")
    assert drawn.splitlines()[: len(languages()) + 1] == sorted({*languages(), NEW})
    assert drawn.count('<html lang="gsw-CH"') == 2
    assert german["Update your payment method"][0] in drawn
    assert german["This link doesn’t work"][0] in drawn
    assert "am Friitig 27. Novämber" in drawn
    assert "149.00\xa0$" in drawn
    assert drawn.rstrip().endswith("gsw-CH")
