"""Pages of a list: `limit`, `starting_after`, `ending_before`, `has_more`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

DEFAULT_LIMIT = 10
MAX_LIMIT = 100


def page(
    world: World,
    key: tuple[str, ...],
    params: dict[str, Any],
    where: Callable[[Object], bool] | None = None,
    *,
    url: str,
) -> Object:
    """One page of the objects under an index key, newest first, of those that `where` lets through."""
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise StripeError(
            f"Invalid limit: {limit} must be between 1 and {MAX_LIMIT}.", param="limit", keep=False
        )
    after, before = params.get("starting_after"), params.get("ending_before")
    for cursor, name in ((after, "starting_after"), (before, "ending_before")):
        if cursor is not None:
            found = world.store.get(cursor)
            if found is None or found["object"] != key[0]:
                raise missing(key[0], cursor, name)
    created = params.get("created")
    chosen: list[Object] = []
    has_more = False
    for obj in world.store.newest(*key, after=after, before=before):
        if created is not None and not _created(obj, created):
            continue
        if where is not None and not where(obj):
            continue
        if len(chosen) == limit:
            has_more = True
            break
        chosen.append(public(obj))
    if before is not None:
        chosen.reverse()
    return {"object": "list", "data": chosen, "has_more": has_more, "url": url}


def narrowed(kind: str, params: dict[str, Any], *fields: str) -> tuple[str, ...]:
    """The index key of a list of one kind, narrowed to what the first of these parameters names that is given."""
    for field in fields:
        if params.get(field):
            return (kind, field, params[field])
    return (kind,)


def _created(obj: Object, wanted: int | dict[str, int]) -> bool:
    at = obj["created"]
    if isinstance(wanted, int):
        return bool(at == wanted)
    return bool(
        at > wanted.get("gt", -1)
        and at >= wanted.get("gte", 0)
        and at < wanted.get("lt", at + 1)
        and at <= wanted.get("lte", at)
    )
