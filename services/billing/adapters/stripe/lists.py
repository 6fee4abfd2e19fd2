"""Stripe's lists as `ObjectLists`: bodies of objects as Stripe sent them, which nothing but the translation reads."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec

from services.billing.adapters.stripe.gateway import PAGE, StripeGateway
from services.billing.domain.errors import ObjectGone
from services.billing.domain.list_sizes import ObjectPage
from services.billing.stripe_events.imports import Listed
from shared.text import decode_json

FILTERS: Final[dict[Listed, dict[str, Any]]] = {
    Listed.CUSTOMERS: {},
    # Without a status Stripe lists all that are not canceled.
    Listed.SUBSCRIPTIONS: {},
    Listed.INVOICES: {"status": "open", "expand": ["data.customer"]},
}


class _Object(msgspec.Struct, frozen=True):
    id: str
    created: int = 0


class _List(msgspec.Struct, frozen=True):
    data: tuple[msgspec.Raw, ...] = ()
    has_more: bool = False


_list = msgspec.json.Decoder(_List)
_object = msgspec.json.Decoder(_Object)


class StripeLists:
    """`ObjectLists` on one account of Stripe's API."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._api = gateway.api
        self._errors = gateway.errors

    def page(
        self, what: str, after: str | None, *, before: dt.datetime | None = None
    ) -> ObjectPage:
        params: dict[str, Any] = {**FILTERS[Listed(what)], "limit": PAGE}
        if after is not None:
            params["starting_after"] = after
        if before is not None:
            params["created"] = {"lt": int(before.timestamp())}
        with self._errors(missing=ObjectGone):
            answer = getattr(self._api, what).list(params)
        found = decode_json(_list, answer.last_response.body)
        bodies = [bytes(one) for one in found.data]
        ends = [_object.decode(one) for one in (bodies[:1] + bodies[-1:])]
        return ObjectPage(
            objects=bodies,
            more=found.has_more,
            last=ends[-1].id if ends else None,
            newest=ends[0].created if ends else 0,
            oldest=ends[-1].created if ends else 0,
        )
