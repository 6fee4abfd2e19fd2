"""The portal's tables in memory, and the things that its tests are about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from services.portal.models import Base
from tests.unit import tables
from tests.unit.portal.api_host import ApiHost
from tests.unit.portal.builders import NOW


@pytest.fixture
def session() -> Iterator[Session]:
    """A session on empty tables."""
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as opened:
        yield opened


@pytest.fixture
def now() -> dt.datetime:
    return NOW


@pytest.fixture
def host() -> ApiHost:
    """A host application, and the HTTP API of a portal that is its alone."""
    return ApiHost()


@pytest.fixture
def key(host: ApiHost) -> str:
    return tables.filled(host.db.engine, with_key, host)


def with_key(host: ApiHost) -> str:
    """The key of a host that has told of two businesses."""
    made = host.key()
    for business_id in ("sunrise", "other"):
        host.ok("POST", "/businesses", made, {"business_id": business_id, "name": business_id})
    host.woken.clear()
    return made
