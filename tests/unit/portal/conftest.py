"""The portal's tables in memory, and the things that its tests are about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from services.portal.models import Base
from tests.unit.portal.builders import NOW


@pytest.fixture
def session() -> Iterator[Session]:
    """A session on empty tables."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=False) as opened:
        yield opened
    engine.dispose()


@pytest.fixture
def now() -> dt.datetime:
    return NOW
