"""Metadata as Stripe merges it."""

from __future__ import annotations


def merged(old: dict[str, str], given: dict[str, str] | None) -> dict[str, str]:
    """The metadata after a request: an empty value removes a key, None (an empty string sent) removes all."""
    if given is None:
        return {}
    result = {**old, **given}
    return {key: value for key, value in result.items() if value != ""}
