"""The table of routes. A resource's module registers its handlers here when it is imported."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.stripe_api import params as parameters
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

Params = dict[str, Any]
Handler = Callable[[World, dict[str, str], Params], Object]
ObjectHandler = Callable[[World, Object, Params], Object]
_ID = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """One method and path. Without `fields` parameters are passed on as they came, checked by `takes` where there is one (the sandbox's
    own paths)."""

    method: str
    parts: tuple[str, ...]
    handler: Handler
    fields: dict[str, parameters.Kind] | None
    required: tuple[str, ...]
    legacy: dict[str, parameters.Kind]
    takes: type[msgspec.Struct] | None

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """The ids in the path, or None if it is another path."""
        found = {}
        for mine, theirs in zip(self.parts, parts, strict=True):
            if mine.startswith("{"):
                if not theirs:
                    return None
                found[mine[1:-1]] = theirs
            elif mine != theirs:
                return None
        return found

    def check(self, given: Params, *, legacy: bool = False) -> Params:
        """The parameters, checked and in Python types. `legacy` lets through what older API versions knew."""
        if self.fields is None:
            try:
                if self.takes is not None:
                    msgspec.convert(given, self.takes)
            except msgspec.ValidationError as error:
                raise StripeError(str(error)) from None
            return given
        fields = {**self.fields, **self.legacy} if legacy else self.fields
        updating = self.method == "POST" and self.parts[-1].startswith("{")
        return parameters.check(fields, list(self.required), given, updating=updating)


ROUTES: dict[tuple[str, int], list[Route]] = {}


def route(
    method: str,
    path: str,
    *,
    fields: dict[str, parameters.Kind] | None = None,
    legacy: dict[str, parameters.Kind] | None = None,
    takes: type[msgspec.Struct] | None = None,
) -> Callable[[Handler], Handler]:
    """Register a handler of (world, ids in the path, checked parameters) for `/v1/things/{thing}`.

    The parameters are those that stripe-python knows for the route; `fields` says which exist where Stripe's
    library knows none, and `takes` those of a path of our own. `legacy` ones are for clients that name no API version: Stripe's CLI
    still sends them.
    """

    def register(handler: Handler) -> Handler:
        shape = parameters.route_shape(method, _ID.sub("{}", path))
        known, required = shape if shape is not None else (fields, [])
        parts = tuple(path.strip("/").split("/"))
        ROUTES.setdefault((method, len(parts)), []).append(
            Route(method, parts, handler, known, tuple(required), legacy or {}, takes)
        )
        # A word in the path goes before an id: `/v1/invoices/create_preview` is not an invoice.
        ROUTES[(method, len(parts))].sort(key=lambda r: [p.startswith("{") for p in r.parts])
        return handler

    return register


def route_of(
    kind: str, method: str, path: str, **more: Any
) -> Callable[[ObjectHandler], ObjectHandler]:
    """`route` for a path that names one object, of this kind: its handler gets the object, and the parameters."""

    def register(handler: ObjectHandler) -> ObjectHandler:
        @route(method, path, **more)
        @functools.wraps(handler)
        def handle(world: World, ids: dict[str, str], params: Params) -> Object:
            (id,) = ids.values()
            return handler(world, world.get(kind, id), params)

        return handler

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of a request and the ids in its path; raises Stripe's 404."""
    parts = path.strip("/").split("/")
    for candidate in ROUTES.get((method, len(parts)), ()):
        found = candidate.match(parts)
        if found is not None:
            return candidate, found
    raise StripeError(
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
        status=404,
        keep=False,
    )
