"""Stripe's answers read past the library: it makes an object of each part of each object, ten times as long as reading the JSON takes.

Of pages of lists nothing but ids and ages is read here: an object stays bytes.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec

from services.billing.domain.list_sizes import ObjectPage
from shared.contracts.rpc.errors import StripeUnavailable
from shared.text import decode_json


class Fields(SimpleNamespace):
    """An object of Stripe's, with what it holds as attributes, as the library's own has it; `items`, too."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def read_object(body: bytes | str) -> Fields:
    """One object. Raises StripeUnavailable for what is none; RecursionError."""
    try:
        found = json.loads(body, object_hook=lambda fields: Fields(**fields))
    except ValueError:
        found = None
    if not isinstance(found, Fields):
        raise StripeUnavailable("an answer that is no object")
    return found


class _Object(msgspec.Struct, frozen=True):
    id: str
    created: int = 0


class _List(msgspec.Struct, frozen=True):
    data: tuple[msgspec.Raw, ...]
    has_more: bool = False


_list = msgspec.json.Decoder(_List)
_object = msgspec.json.Decoder(_Object)


def read_page(body: bytes | str) -> ObjectPage:
    """Take an answer apart. Raises StripeUnavailable for what is no list."""
    try:
        found = decode_json(_list, body)
        bodies = [bytes(one) for one in found.data]
        ends = [_object.decode(one) for one in (bodies[:1] + bodies[-1:])]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise StripeUnavailable("an answer that is no list") from None
    return ObjectPage(
        objects=bodies,
        more=found.has_more,
        last=ends[-1].id if ends else None,
        newest=ends[0].created if ends else 0,
        oldest=ends[-1].created if ends else 0,
    )
