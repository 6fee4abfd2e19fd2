"""What a mail's template sets for itself and never changes, such as its colours, is written into the compiled template.

A mail names its colours and fonts a hundred and forty times, and would else look each up and escape it anew in every drawing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from shared.templating import TranslatedEnvironment


class _Constants(NodeTransformer):
    """Replaces the names of `{% set name = … %}` whose value is known at once, and which is set nowhere else, by the value."""

    def __init__(self, environment: Environment, known: Mapping[str, str]) -> None:
        self._context = nodes.EvalContext(environment)
        self._known = dict(known)

    def visit_Template(self, node: nodes.Template) -> nodes.Node:  # noqa: N802 (Jinja's name)
        stored = Counter(name.name for name in node.find_all(nodes.Name) if name.ctx == "store")
        for each in _own(node):
            if isinstance(each, nodes.Assign) and isinstance(each.target, nodes.Name):
                self._note(each, stored)
        self.generic_visit(node)
        return node

    def _note(self, setting: nodes.Assign, stored: Counter[str]) -> None:
        name: str = setting.target.name  # type: ignore[attr-defined]
        try:
            value = self.visit(setting.node).as_const(self._context)
        except nodes.Impossible:
            return
        if stored[name] == 1 and isinstance(value, str):
            self._known[name] = value

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 (Jinja's name)
        if node.ctx != "load" or node.name not in self._known:
            return node
        return nodes.Const(self._known[node.name], lineno=node.lineno)


def _own(template: nodes.Template) -> list[nodes.Node]:
    """What stands in a template for itself. One that extends another is a single scope around both (`TranslatedEnvironment`)."""
    body: list[nodes.Node] = template.body
    if len(body) == 1 and isinstance(body[0], nodes.Scope):
        return list(body[0].body)
    return body


class MailEnvironment(TranslatedEnvironment):
    """An environment of one language, whose templates' constants are known when they are compiled."""

    constants: Mapping[str, str]
    """Those of the language, besides what templates set."""

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Constants(self, self.constants).visit(source), *args, **kwargs)
