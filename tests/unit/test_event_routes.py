"""Each event reaches a handler that is written for its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import pytest

from services.notifier.handlers import events as notifier
from services.portal.handlers import events as portal
from shared.events import CONSUMERS, Data, InvoiceData

TABLES: dict[str, tuple[Mapping[type[Data], Callable[..., Any]], Mapping[type[Data], Any]]] = {
    "portal": (
        portal.ROUTES,
        {kind: None for kind in CONSUMERS["portal"] if issubclass(kind, InvoiceData)},
    ),
    "notifier": (notifier.ROUTES, notifier.STEPS),
}
BY_EVIDENCE = {
    "portal": {"customer.evidence_changed", "customer.seen"},
    "notifier": set[str](),
}
"""What has an entrypoint of its own."""


@pytest.mark.parametrize(
    ("kind", "handler"),
    [
        pytest.param(kind, handler, id=f"{service}-{kind.type}")
        for service, (routes, _) in TABLES.items()
        for kind, handler in routes.items()
    ],
)
def test_a_handler_takes_the_data_that_is_routed_to_it(
    kind: type[Data], handler: Callable[..., Any]
) -> None:
    """The table erases what data a handler's event carries: its annotation must be that of its route."""
    (takes,) = get_args(get_type_hints(handler)["event"])
    assert issubclass(kind, takes)


@pytest.mark.parametrize("service", TABLES)
def test_what_a_service_consumes_is_routed(service: str) -> None:
    """A consumer that is bound to an event, and has nothing to do at it, would drop it without a word."""
    routes, together = TABLES[service]
    routed = {kind.type for kind in (*routes, *together)} | BY_EVIDENCE[service]
    assert routed == {kind.type for kind in CONSUMERS[service]}
