"""Jinja, with everything that is constant made when a template is compiled and not when it is drawn.

Each language has an environment of its own, so a text without variables is a constant of the compiled template: its
translation is written into the code, and stands there as one piece with the HTML around it. Drawing a page took a
third less from that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup


class _Translated(NodeTransformer):
    """Replaces `_("text")` by the text in the environment's language."""

    def __init__(self, gettext: Callable[[str], str], kind: type[str]) -> None:
        self._gettext, self._kind = gettext, kind

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        if not isinstance(node.node, nodes.Name) or node.node.name not in ("_", "gettext"):
            return node
        if len(node.args) != 1 or node.kwargs or node.dyn_args or node.dyn_kwargs:
            return node
        (text,) = node.args
        if not isinstance(text, nodes.Const) or not isinstance(text.value, str):
            return node
        # As Jinja's own gettext does it: ours are trusted, and may say "100%%".
        return nodes.Const(self._kind(self._gettext(text.value)) % {}, lineno=node.lineno)


class TranslatedEnvironment(Environment):
    """An environment of one language. Install its `gettext` before the first template is loaded."""

    _texts: Callable[[str], str] | None = None

    def translate_with(self, gettext: Callable[[str], str]) -> None:
        """Use `gettext` for the texts that are constants."""
        self._texts = gettext

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        if self._texts is not None:
            kind = str if self.autoescape is False else Markup
            source = _Translated(self._texts, kind).visit(source)
        return super()._generate(source, *args, **kwargs)
