"""Which entrypoint a request is for: werkzeug's rules, and a look-up where that is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.routing import Map, Rule


class Routes:
    """Rules whose endpoints are entrypoints. Addresses without placeholders, and those that end with their only one, a text, are looked up:
    werkzeug's matcher takes ten times as long, and has the rest."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        rules = list(rules)
        # Bound once, and without a word of the client's: only whole addresses would need its host and scheme.
        self._matcher = Map(rules).bind("localhost")
        self._fixed: dict[tuple[str, str], Any] = {}
        self._ending: dict[tuple[str, str], tuple[Any, str]] = {}
        for rule in rules:
            before, _, name = rule.rule.partition("<")
            for method in rule.methods or ():
                if not name:
                    self._fixed[method, before] = rule.endpoint
                elif name.endswith(">") and name[:-1].isidentifier():
                    self._ending[method, before] = rule.endpoint, name[:-1]

    def find(self, method: str, path: str, query: str) -> tuple[Any, Mapping[str, Any]]:
        """The endpoint, and what the address names. Raises HTTPException where there is none."""
        endpoint = self._fixed.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        before, slash, value = path.rpartition("/")
        ending = self._ending.get((method, before + slash)) if value else None
        if ending is not None:
            endpoint, name = ending
            return endpoint, {name: value}
        found: tuple[Any, Mapping[str, Any]] = self._matcher.match(path, method, query_args=query)
        return found
