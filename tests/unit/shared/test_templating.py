"""Templates: what is constant is written when they are compiled, and what others have written is escaped all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from jinja2 import DictLoader, StrictUndefined, UndefinedError
from markupsafe import Markup, escape

from shared.templating import TranslatedEnvironment, escaped, trusted

HOSTILE = """<script>alert('1')</script> "&amp;" <b onclick=x> {{ 7*7 }} {% raw %} %(name)s 100%"""
TURNED = "invoice\u202egnp.exe"
GERMAN = {
    "Hello, %(name)s": "Guten Tag, %(name)s",
    "From %(a)s to %(b)s": "Bis %(b)s ab %(a)s, 100%% (%(b)s)",
    "Only %(name)s & us": "Nur wir",
    "Plain": "Schlicht & <i>gut</i>",
}


@dataclass(frozen=True)
class Business:
    """Something with attributes."""

    name: str


def german(text: str) -> str:
    return GERMAN.get(text, text)


def draw(
    source: str,
    *,
    autoescape: bool = True,
    asked: Callable[[str], str] = german,
    **values: Any,
) -> str:
    """What a template gives; `asked` is the gettext that it finds while it is drawn."""
    environment = TranslatedEnvironment(
        loader=DictLoader({"t": source}),
        autoescape=autoescape,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        asked,
        lambda one, many, n: one if n == 1 else many,
        newstyle=True,
    )
    environment.translate_with(german)
    return environment.get_template("t").render(**values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ name }}",
        "{{ business.name }}",
        "{{ who(name) }}",
        "{{ name or 'nobody' }}",
        "{% trans %}Hello, {{ name }}{% endtrans %}",
        "{% trans name=business.name %}Hello, {{ name }}{% endtrans %}",
        "{{ ngettext('%(name)s', '%(name)s', 1, name=name) }}",
        "{% set copy = business.name %}{{ copy }}",
        "{% set said = _('Hello, %(name)s', name=name) %}{{ said }}",
        "{% set said = _('%(name)s', name=name) %}{{ said }}",
        "{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(_('Hello, %(name)s', name=name)) }}",
        "{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(name) }}",
        "{% for each in [business] %}{{ each.name }}{{ loop.index }}{% endfor %}",
    ],
)
def test_what_others_have_written_is_escaped(source: str) -> None:
    """Wherever it stands: as it is, of an object, from a function, in a text, in a macro, in a loop."""
    drawn = draw(source, name=HOSTILE, business=Business(HOSTILE), who=lambda name: name)
    assert str(escape(HOSTILE)) in drawn
    assert "<script>" not in drawn
    assert "onclick=x>" not in drawn


def test_markup_stays_as_it_is() -> None:
    """What is known to be HTML is not escaped again, and a text of ours may have some."""
    assert (
        draw("{{ it }}{{ _('Plain') }}", it=Markup("<b>&amp;</b>"))
        == "<b>&amp;</b>Schlicht & <i>gut</i>"
    )


def test_no_text_turns_the_direction_of_ours() -> None:
    """Of a text, nothing that turns the direction of what comes after it; also where it is named in a text of ours."""
    assert draw("{{ name }}|{% trans %}Hello, {{ name }}{% endtrans %}", name=TURNED) == (
        "invoicegnp.exe|Guten Tag, invoicegnp.exe"
    )


def test_a_translation_names_things_in_its_own_order() -> None:
    """Twice, or not at all; "100%%" is a percent sign, as Jinja's own gettext has it."""
    source = "{% trans a=a, b=b %}From {{ a }} to {{ b }}{% endtrans %}"
    assert draw(source, a="<1>", b=2) == "Bis 2 ab &lt;1&gt;, 100% (2)"
    assert draw("{% trans %}Only {{ name }} & us{% endtrans %}", name="X") == "Nur wir"


@pytest.mark.parametrize(
    "source",
    [
        "{{ _('Hello, %(name)s', name=name) }}",
        "{% trans %}Hello, {{ name }}{% endtrans %}",
        "{% set said = _('Hello, %(name)s', name=name) %}{{ said }}",
        "{{ who(_('Hello, %(name)s', name=name)) }}",
        "{{ _('Hello, %(name)s', name=name) if name else '' }}",
    ],
)
def test_a_text_is_looked_up_once_a_language(source: str) -> None:
    """When the template is compiled, wherever it stands: drawing asks for none."""

    def nobody(text: str) -> str:
        raise LookupError(text)

    drawn = draw(source, asked=nobody, name="Ada & Co", who=lambda text: text)
    assert drawn == "Guten Tag, Ada &amp; Co"


def test_plain_text_is_not_escaped() -> None:
    """Subjects and the text part of a mail."""
    source = "{{ business.name }} {% trans name=business.name %}Hello, {{ name }}{% endtrans %}"
    assert draw(source, autoescape=False, business=Business("A & B")) == "A & B Guten Tag, A & B"


@pytest.mark.parametrize("source", ["{{ nobody }}", "{{ nobody.name }}", "{{ nobody() }}"])
def test_what_is_not_there_is_an_error(source: str) -> None:
    """A template that names what nobody gave it fails, and does not leave a gap."""
    with pytest.raises(UndefinedError):
        draw(source)


@pytest.mark.parametrize(
    "value", ["", "plain", "é&<", HOSTILE, Markup("<b>"), 5, None, 1.5, "'", '"', ">"]
)
def test_escaped_is_escape(value: Any) -> None:
    """markupsafe's own, but for the time it takes."""
    assert escaped(value) == str(escape(value))


BASE = "<{% block a %}base {{ n }}{% endblock %}|{% block b %}{% endblock %}{{ said }}>"


@pytest.mark.parametrize(
    ("child", "drawn"),
    [
        ('{% extends "base" %}', "<base 1|&amp;>"),
        ('{% extends "base" %}{% set x = n + 1 %}{% block b %}{{ x }}{% endblock %}', "<base 1|2&amp;>"),
        (
            '{% extends "base" %}{% set x %}<i>{{ said }}</i>{% endset %}'
            "{% block a %}{% for n in (7, 8) %}{% set said = n %}{{ said }}{% endfor %}{{ x }}{% endblock %}",
            "<78<i>&amp;</i>|&amp;>",
        ),
        ('{% extends "middle" %}{% block b %}b{% endblock %}', "<base 1|b&amp;>"),
        ('{% extends "middle" %}{% block inner %}i{% endblock %}', "<base 1|[i]&amp;>"),
    ],
)  # fmt: skip
def test_a_template_that_extends_another_is_one_whole(child: str, drawn: str) -> None:
    """Its blocks stand in the other one's places, also over two levels and within each other; what it sets is theirs, and what they
    set is nobody else's."""
    environment = TranslatedEnvironment(
        loader=DictLoader(
            {
                "base": BASE,
                "middle": '{% extends "base" %}{% block b %}[{% block inner %}{% endblock %}]{% endblock %}',
                "t": child,
            }
        ),
        autoescape=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("t")
    assert (template.render(n=1, said="&"), dict(template.blocks)) == (drawn, {})


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("autoescape", "last"), [(True, "&amp;"), (False, "&")])
def test_texts_with_a_number_are_jinjas_own(number: int, autoescape: bool, last: str) -> None:
    """Whether they are asked for past Jinja's context or, as they name something else too, with it."""
    source = (
        '{{ ngettext("One & <i>100%%</i>", "%(num)s & <i>100%%</i>", n) }}'
        '{{ ngettext("one %(x)s", "%(num)s %(x)s", n, x=x) }}'
    )
    environment = TranslatedEnvironment(
        loader=DictLoader({"t": source}), autoescape=autoescape, extensions=["jinja2.ext.i18n"]
    )

    def choose(one: str, many: str, n: int) -> str:
        return one if n == 1 else many

    environment.install_gettext_callables(german, choose, newstyle=True)  # type: ignore[attr-defined]
    environment.translate_with(german, choose)
    said = {1: f"One & <i>100%</i>one {last}", 2: f"2 & <i>100%</i>2 {last}"}
    assert environment.get_template("t").render(n=number, x="&") == said[number]


def test_numbers_and_our_own_html_stay_as_they_are() -> None:
    """A number has nothing to escape, nor what is `trusted`; true and false are no numbers to anybody."""
    assert [escaped(12), escaped(True), escaped(None)] == ["12", "True", "None"]
    assert escaped(trusted("<b>")) == "<b>"
    assert trusted("<b>") + "<" == "<b>&lt;"


def test_of_two_that_extend_one_each_has_its_own_blocks() -> None:
    """What they extend is parsed once, and neither finds in it what the other one put there."""
    first = '{% extends "base" %}{% set x = 1 %}{% block a %}{{ _("Plain") }}{{ x }}{% endblock %}'
    second = '{% extends "base" %}{% block b %}second{% endblock %}'
    environment = TranslatedEnvironment(
        loader=DictLoader({"base": BASE, "first": first, "second": second}),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    environment.translate_with(german)
    drawn = [
        environment.get_template(name).render(n=1, said=2) for name in ("first", "second", "base")
    ]
    assert drawn == ["<Schlicht & <i>gut</i>1|2>", "<base 1|second2>", "<base 1|2>"]
    assert len(environment._parsed) == 1
