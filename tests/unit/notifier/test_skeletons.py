"""Emails of one shape are drawn once: what differs between them is put in its place, escaped as it has to be there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest
from jinja2 import Environment, nodes

from services.notifier.domain.kinds import Kind
from services.notifier.emails import skeletons
from services.notifier.emails.rendering import TEMPLATES, Renderer
from services.notifier.emails.samples import sample_letter
from services.notifier.ports import Business
from shared.l10n.palette import palette

HOSTILE: Final = """</script><b>"O'Neil" & \\u0000url\\u0000 \u202e שלום {{ 7 }} 100%s"""
ASKED_OF: Final = frozenset({"ending", "direction"})
"""What templates compare: it is in the shape."""
HARMLESS: Final = frozenset({"combine", "tojson", "safe", "trim", "labelled", "list", "selectattr"})
"""Filters under which a hole stays one."""


@pytest.fixture(scope="module")
def warm() -> Renderer:
    """Templates are compiled once."""
    return Renderer()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("language", ["en", pytest.param("he", marks=pytest.mark.whole)])
def test_an_email_is_the_same_whoever_was_written_to_before(
    kind: Kind, language: str, warm: Renderer
) -> None:
    """Nothing of the email that a skeleton was drawn for stays in it."""
    first = sample_letter(kind, language)
    strange = Business(
        name=f"Studio {HOSTILE}",
        email="x@y.example",
        phone="+49 (0) 30 1",
        website="http://x.example/?a=1&b=<2>",
        color="#fafafa",
        service_note=f"Bring {HOSTILE}",
        timezone="Asia/Tokyo",
    )
    other = msgspec.structs.replace(
        first,
        customer_name=HOSTILE,
        business=strange,
        link=first.link and "http://127.0.0.1:8/me/OTHER?a=1&b='2'",
        amount=first.amount and first.amount + 99,
        purpose=first.purpose and HOSTILE,
        note=first.note and f"{HOSTILE}\n\n\n\n{HOSTILE}",
    )
    warm.render(first)
    assert warm.render(other) == Renderer(warm._environments).render(other)
    assert warm.render(first) == Renderer(warm._environments).render(first)


def test_what_others_have_written_is_escaped_where_it_stands() -> None:
    """In HTML as HTML has it, in its JSON as JSON in HTML has it; and nobody can name a hole."""
    business = Business(name=HOSTILE, email=None)
    letter = msgspec.structs.replace(sample_letter(Kind.PAYMENT_FAILED), business=business)
    html = Renderer().render(letter).html
    (said,) = re.findall(r'<script type="application/ld\+json">\n(.*?)\n</script>', html, re.DOTALL)
    assert json.loads(said)["publisher"]["name"] == HOSTILE.replace("\u202e", "").replace("  ", " ")
    assert "<bdi>&lt;/script&gt;&lt;b&gt;" in html
    assert "<b>" not in html


def test_what_a_mail_sets_for_itself_is_written_into_its_skeletons_template() -> None:
    """Colours and fonts are looked up neither for an email nor for a skeleton."""
    renderer, letter = Renderer(), sample_letter(Kind.PAYMENT_FAILED)
    renderer.render(letter)
    environment = next(each for (_, html), each in renderer._environments.items() if html)
    source, name = environment.loader.get_source(environment, "payment_failed/body.html")[:2]  # type: ignore[union-attr]
    code = str(environment.compile(source, "payment_failed/body.html", name, raw=True))
    assert not re.findall(r"escaped\([^\n]*l_1_(?:ink|font|body_font|start)\b", code)


def test_as_many_skeletons_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one makes room, and is drawn again when it is wanted."""
    monkeypatch.setattr("services.notifier.emails.rendering.MOST", 2)
    renderer = Renderer()
    letters = [sample_letter(kind) for kind in list(Kind)[:4]]
    drawn = [renderer.render(letter) for letter in letters]
    assert len(renderer._skeletons) == 2
    assert [renderer.render(letter) for letter in letters] == drawn


@pytest.mark.whole
@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.*")), ids=lambda path: path.stem)
def test_a_template_asks_of_a_text_only_whether_there_is_one(path: Path) -> None:
    """What it did with a text beyond that would be done with a hole."""
    source = path.read_text(encoding="utf-8")
    template = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source)
    assert {one.name for one in template.find_all(nodes.Filter)} <= HARMLESS
    compared = {one.expr for one in template.find_all(nodes.Compare)}
    assert {one.name for one in compared if isinstance(one, nodes.Name)} <= ASKED_OF
    assert all(isinstance(one, nodes.Name) for one in compared)
    assert not list(template.find_all(nodes.Getitem))
    for call in template.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name):
            assert call.node.name in ("_", "gettext", "ngettext")
        else:
            assert isinstance(call.node, nodes.Getattr)
            assert call.node.attr == "unescape"


def test_colours_are_a_hole_each() -> None:
    """All of a business's colours stand in a skeleton by their names."""
    texts = skeletons.color_texts(palette("#0f766e"))
    assert texts["light_button"] == "#0f766e"
    assert skeletons.COLORS.dark.on_button == skeletons.hole("dark_on_button")
