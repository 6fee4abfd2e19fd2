"""Form-encoded bracket parameters: `a[b]=1&c[]=2&d[0][e]=3` to nested dicts and lists of strings."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe_api.errors import StripeError

MAX_DEPTH = 10
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode(encoded: str) -> dict[str, Any]:
    """The nested parameters of one query string or form body.

    `a[]` appends to a list; `a[0]`, `a[1]` stay a dict with numeric keys until the parameter's type says that it
    is a list (`params.check`). Raises StripeError for a name that is not well formed.
    """
    result: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True, max_num_fields=5000):
        match = _KEY.match(name)
        if match is None:
            raise StripeError(f"Invalid parameter name: {name[:80]}", keep=False)
        parts = [match.group(1), *_PART.findall(match.group(2))]
        if len(parts) > MAX_DEPTH:
            raise StripeError(f"Parameter nested too deeply: {parts[0]}", keep=False)
        _put(result, parts, value)
    return result


def _put(target: dict[str, Any], parts: list[str], value: str) -> None:
    for index, part in enumerate(parts[:-1]):
        following = parts[index + 1]
        if following == "":
            _append(target, part, parts[index + 2 :], value)
            return
        child = target.get(part)
        if not isinstance(child, dict):
            child = target[part] = {}
        target = child
    target[parts[-1]] = value


def _append(target: dict[str, Any], name: str, rest: list[str], value: str) -> None:
    items = target.get(name)
    if not isinstance(items, list):
        items = target[name] = []
    if not rest:
        items.append(value)
        return
    # As Rack reads `a[][b]=1&a[][c]=2&a[][b]=3`: a key that is there already begins the next element.
    if not items or not isinstance(items[-1], dict) or (len(rest) == 1 and rest[0] in items[-1]):
        items.append({})
    _put(items[-1], rest, value)
