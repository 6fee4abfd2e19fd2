"""Jinja, with everything that is constant made when a template is compiled and not when it is drawn.

Each language has an environment of its own, so a text is a constant of the compiled template: its translation is written into
the code, and stands there as one piece with the HTML around it, broken only where it names something. Drawing a page took a
third less from that alone. What follows a dot is an attribute, never a key, and our functions want no context of Jinja's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from jinja2 import Environment, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape

from shared.text import without_turns

_NAMED: Final = re.compile(r"%\((\w+)\)s")
_SPECIAL: Final = re.compile("[&<>'\"]")
_GETTEXT: Final = ("_", "gettext", "ngettext", "pgettext", "npgettext")


class _Translated(NodeTransformer):
    """Writes texts in the environment's language: `_("text")`, and `{% trans %}` as what stands between the things it names."""

    def __init__(self, gettext: Callable[[str], str], kind: type[str]) -> None:
        self._gettext, self._kind = gettext, kind

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 (Jinja's name)
        node.nodes = [piece for each in node.nodes for piece in self._pieces(each)]
        self.generic_visit(node)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        if _text_of(node) is None:
            return node
        pieces = list(self._pieces(node))
        alone = len(pieces) == 1 and isinstance(pieces[0], nodes.Const)
        return pieces[0] if alone else nodes.Concat(pieces, lineno=node.lineno)

    def _pieces(self, node: nodes.Expr) -> Iterator[nodes.Expr]:
        text = _text_of(node)
        if text is None:
            yield node
            return
        values = {each.key: each.value for each in node.kwargs}  # type: ignore[attr-defined]
        for number, piece in enumerate(_NAMED.split(self._gettext(text))):
            if number % 2:
                yield values[piece]
            elif piece:
                yield self._constant(piece, node)

    def _constant(self, text: str, node: nodes.Node) -> nodes.Const:
        # As Jinja's own gettext does it: ours are trusted, and may say "100%%".
        return nodes.Const(self._kind(text) % {}, lineno=node.lineno)


def _text_of(node: nodes.Node) -> str | None:
    """The constant text that a node translates, whatever it names in it; None where it does anything else."""
    if not (isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name)):
        return None
    if node.node.name not in ("_", "gettext") or node.dyn_args or node.dyn_kwargs:
        return None
    text = node.args[0] if len(node.args) == 1 else None
    return text.value if isinstance(text, nodes.Const) and isinstance(text.value, str) else None


def _counts(node: nodes.Call) -> bool:
    """Whether a call is `ngettext("one", "%(num)s of them", number)`, without anything else that it names."""
    return (
        isinstance(node.node, nodes.Name)
        and node.node.name == "ngettext"
        and len(node.args) == 3
        and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    )


def _extended(template: nodes.Template) -> str | None:
    """The name of the template that this one extends; ours say it outside of every block and condition."""
    for one in template.body:
        if isinstance(one, nodes.Extends) and isinstance(one.template, nodes.Const):
            return str(one.template.value)
    return None


def _copied(part: Any) -> Any:
    """A part of a parsed template, which whoever compiles it may change."""
    if isinstance(part, nodes.Node):
        copy: nodes.Node = object.__new__(type(part))
        copy.__dict__ = {name: _copied(value) for name, value in part.__dict__.items()}
        return copy
    return [_copied(one) for one in part] if type(part) is list else part


class _Inherited(NodeTransformer):
    """Puts the blocks of a template that extends another one in their places there."""

    def __init__(self, blocks: dict[str, nodes.Block]) -> None:
        self._blocks = blocks

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802 (Jinja's name)
        body = self._blocks.get(node.name, node).body
        scope = nodes.Scope(body, lineno=node.lineno)
        return self.generic_visit(scope)


class _Direct(CodeGenerator):
    """Writes attributes, calls and escaping as Python has them. Jinja's own ask at each what kind of thing it is: whether a
    name after a dot is a key, whether a function wants the context."""

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 (Jinja's name)
        self.visit(node.node, frame)
        self.write(f".{node.attr}")

    def visit_Call(  # noqa: N802 (Jinja's name)
        self, node: nodes.Call, frame: Frame, forward_caller: bool = False
    ) -> None:
        if getattr(self.environment, "numbered", None) is not None and _counts(node):
            node = nodes.Call(nodes.EnvironmentAttribute("counted"), node.args, [], None, None)
        wants_context = isinstance(node.node, nodes.Name) and node.node.name in _GETTEXT
        if wants_context or forward_caller or node.dyn_args or node.dyn_kwargs:
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.visit(node.node, frame)
        self.write("(")
        for given in (*node.args, *node.kwargs):
            self.visit(given, frame)
            self.write(", ")
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.autoescape and not frame.eval_ctx.volatile:
            self.write(f"environment.escaped({finalize.src or ''}")
        else:
            super()._output_child_pre(node, frame, finalize)


def escaped(value: Any) -> str:
    """A value as HTML shows it: escaped, and of a text nothing that turns the direction of our own words. Few texts have
    anything to escape, and markupsafe takes a while to find that."""
    if type(value) is str:
        text = value if value.isascii() else without_turns(value)
        return escape(text) if _SPECIAL.search(text) else text
    if type(value) is int:
        return str(value)
    return value if type(value) is Markup else escape(value)


def trusted(html: str) -> Markup:
    """HTML of our own, or made of what is `escaped`. It is a quarter of what `Markup()` costs, which asks what it is given for HTML."""
    return str.__new__(Markup, html)


class TranslatedEnvironment(Environment):
    """An environment of one language. Install its `gettext` before the first template is loaded."""

    code_generator_class = _Direct
    escaped = staticmethod(escaped)
    _texts: Callable[[str], str] | None = None
    numbered: Callable[[str, str, int], str] | None = None
    """`ngettext`, for texts that name their number alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parsed: dict[str, nodes.Template] = {}

    def translate_with(
        self,
        gettext: Callable[[str], str],
        ngettext: Callable[[str, str, int], str] | None = None,
    ) -> None:
        """Use `gettext` for the texts that are constants, `ngettext` for those that name their number alone."""
        self._texts, self.numbered = gettext, ngettext

    def counted(self, one: str, many: str, number: int) -> str:
        """As Jinja's own ngettext does it, which asks for a context first."""
        assert self.numbered is not None
        text = self.numbered(one, many, number) % {"num": number}
        return text if self.autoescape is False else trusted(text)

    def make_globals(self, d: Any) -> Any:
        """What all templates have, as a plain dictionary: each drawing copies it."""
        return {**self.globals, **(d or {})}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """A template that extends another one as one whole: what it sets, then the other one with its blocks. Jinja itself looks the
        other one up for each drawing, and hands each piece on through both."""
        template = super()._parse(source, name, filename)
        if _extended(template) is None:
            return template
        blocks: dict[str, nodes.Block] = {}
        sets: list[nodes.Node] = []
        while (other := _extended(template)) is not None:
            for block in template.find_all(nodes.Block):
                blocks.setdefault(block.name, block)
            sets += (
                one for one in template.body if isinstance(one, nodes.Assign | nodes.AssignBlock)
            )
            assert self.loader is not None
            source, filename, _ = self.loader.get_source(self, other)
            template = self._parse_extended(source, other, filename)
        whole: nodes.Template = _Inherited(blocks).visit(template)
        whole.body = [nodes.Scope([*sets, *whole.body], lineno=1)]
        return whole

    def _parse_extended(self, source: str, name: str, filename: str | None) -> nodes.Template:
        """What others extend, parsed once for all of them: that takes ten times as long as a copy of it."""
        if source not in self._parsed:
            self._parsed[source] = super()._parse(source, name, filename)
        copy: nodes.Template = _copied(self._parsed[source])
        return copy

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        if self._texts is not None:
            kind = str if self.autoescape is False else Markup
            source = _Translated(self._texts, kind).visit(source)
        return super()._generate(source, *args, **kwargs)
