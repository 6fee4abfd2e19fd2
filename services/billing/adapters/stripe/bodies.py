"""Pages of Stripe's lists as Stripe sent them: an object is bytes, of which nothing but its id and its age is read here."""

from __future__ import annotations

import msgspec

from services.billing.domain.list_sizes import ObjectPage
from shared.contracts.rpc.errors import StripeUnavailable
from shared.text import decode_json


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
