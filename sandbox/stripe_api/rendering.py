"""From a stored object to the one that is shown: without its private fields; lists; what has changed."""

from __future__ import annotations

from sandbox.stripe_api.store import Object


def public(obj: Object) -> Object:
    """The object without the fields that only the sandbox knows (a leading underscore)."""
    return {key: value for key, value in obj.items() if key[0] != "_"}


def deleted(obj: Object) -> Object:
    """What is answered about an object that is gone."""
    return {"id": obj["id"], "object": obj["object"], "deleted": True}


def diff(before: Object, after: Object) -> Object:
    """`previous_attributes` of an updated event: what each changed field was; nested objects field by field."""
    changed: Object = {}
    for key in before.keys() | after.keys():
        if key[0] == "_":
            continue
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.get("object") != "list":
            # A key that was not there was null, which is how a receiver can tell a new metadata entry.
            changed[key] = diff(old, new)
        else:
            changed[key] = old
    return changed


def as_list(items: list[Object], url: str) -> Object:
    """A list object that holds everything there is."""
    return {"object": "list", "data": items, "has_more": False, "url": url}
