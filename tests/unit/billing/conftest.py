"""What billing's unit tests share: a database in memory, Stripe in memory, the golden payloads."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from services.billing.models import Base
from shared.database import Transactions
from tests.fixtures.stripe_events import stripe_event
from tests.unit import tables
from tests.unit.billing.fakes import FakePaymentGateway, FakePublisher

NOW = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)

Edit = Callable[[dict[str, Any]], None]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += dt.timedelta(**step)


@pytest.fixture
def database() -> Transactions:
    return tables.empty(Base.metadata)


@pytest.fixture
def gateway() -> FakePaymentGateway:
    return FakePaymentGateway()


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def payload(name: str, edit: Edit | None = None) -> bytes:
    """The golden payload of that name, changed by `edit` where given."""
    event = stripe_event(name)
    if edit is not None:
        edit(event)
    return json.dumps(event, ensure_ascii=False).encode()


def with_fields(before: dict[str, Any] | None = None, **fields: Any) -> Edit:
    """These fields of the event's object, and what they were `before`."""

    def edit(event: dict[str, Any]) -> None:
        event["data"]["object"] |= fields
        if before is not None:
            event["data"]["previous_attributes"] = before

    return edit
