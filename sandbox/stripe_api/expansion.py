"""What was asked to be expanded: ids replaced by the objects, and fields that appear only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

MAX_LEVELS = 4
INCLUDED: dict[tuple[str, str], Callable[[World, Object], Any]] = {}
"""Fields that appear only when they are expanded, as (object, field)."""


def included(kind: str, field: str) -> Callable[[Callable[[World, Object], Any]], Any]:
    """Register a field that is computed when it is expanded."""

    def register(function: Callable[[World, Object], Any]) -> Any:
        INCLUDED[(kind, field)] = function
        return function

    return register


def expand(world: World, obj: Object, paths: list[str]) -> Object:
    """The object with the ids at `paths` (`customer`, `data.payment.payment_intent`) replaced by the objects."""
    tree: dict[str, Any] = {}
    for path in paths:
        parts = path.split(".")
        levels = [part for part in parts if part != "data"]
        if len(levels) > MAX_LEVELS:
            raise StripeError(
                f"You cannot expand more than {MAX_LEVELS} levels of a property. Property: {path}",
                param="expand",
                keep=False,
            )
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
    expanded: Object = _expand(world, obj, tree, "")
    return expanded


def _expand(world: World, value: Any, tree: dict[str, Any], path: str) -> Any:
    if not tree or value is None:
        return value
    if isinstance(value, list):
        return [_expand(world, item, tree, path) for item in value]
    if isinstance(value, str):
        found = world.store.get(value)
        if found is None:
            raise _not_expandable(path)
        value = public(found)
    if not isinstance(value, dict):
        raise _not_expandable(path)
    result = dict(value)
    for name, below in tree.items():
        where = f"{path}.{name}" if path else name
        result[name] = _field(world, value, name, below, where)
    return result


def _field(world: World, value: Object, name: str, below: dict[str, Any], where: str) -> Any:
    compute = INCLUDED.get((str(value.get("object")), name))
    if compute is not None:
        return _expand(world, compute(world, value), below, where)
    if name not in value:
        raise _not_expandable(where)
    inner = value[name]
    if isinstance(inner, str):
        found = world.store.get(inner)
        if found is None:
            raise _not_expandable(where)
        inner = public(found)
    elif isinstance(inner, list) and inner and isinstance(inner[0], str):
        inner = [public(found) for id in inner if (found := world.store.get(id)) is not None]
    elif not isinstance(inner, (dict, list, type(None))):
        raise _not_expandable(where)
    return _expand(world, inner, below, where)


def _not_expandable(path: str) -> StripeError:
    return StripeError(f"This property cannot be expanded ({path}).", param="expand", keep=False)
