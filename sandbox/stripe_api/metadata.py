"""What a request changes of an object: plain fields as they come, and metadata as Stripe merges it."""

from __future__ import annotations

from typing import Any


def merged(old: dict[str, str], given: dict[str, str] | None) -> dict[str, str]:
    """The metadata after a request: an empty value removes a key, None (an empty string sent) removes all."""
    if given is None:
        return {}
    result = {**old, **given}
    return {key: value for key, value in result.items() if value != ""}


def take(obj: dict[str, Any], params: dict[str, Any], *fields: str) -> None:
    """Put what is given of these fields, and of the metadata, into an object (not saved here)."""
    for field in fields:
        if field in params:
            obj[field] = params[field]
    if "metadata" in params:
        obj["metadata"] = merged(obj["metadata"], params["metadata"])
