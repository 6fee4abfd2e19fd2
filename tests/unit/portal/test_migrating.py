"""What the portal's migrations make of data that is there."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from services.portal.handlers import link_report
from services.portal.models import (
    Base,
    BusinessRow,
    LinkConflictRow,
    LinkEvidenceRow,
    PendingLinkRow,
)
from shared.database import make_engine
from shared.migrations import upgrade
from tests.unit.portal.builders import NOW, add_customer
from tests.unit.wire import on_the_wire

pytestmark = pytest.mark.whole

BEFORE_EVIDENCE = "0004"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/portal.sqlite3"


def filled(url: str, businesses: int) -> Engine:
    """A database of the release before evidence was kept, with what it had waiting and refused."""
    upgrade("portal", url, BEFORE_EVIDENCE)
    engine = make_engine(url)
    common: dict[str, Any] = {"locale": "en", "timezone": "UTC", "created_at": NOW}
    with engine.begin() as connection:
        for number in range(businesses):
            connection.execute(
                insert(BusinessRow).values(
                    business_id=f"b{number}", name="B", updated_at=NOW, **common
                )
            )
        for stripe_id, ref, business, evidence in (
            ("cus_planted", "c1", None, "checkout.session"),
            ("cus_1", "c1", None, "customer.metadata"),
            ("cus_2", "c2", "b0", "subscription.metadata"),
        ):
            connection.execute(
                insert(PendingLinkRow)
                .inline()
                .values(
                    stripe_customer_id=stripe_id,
                    customer_ref=ref,
                    business_ref=business,
                    evidence=evidence,
                    seen_at=NOW,
                )
            )
        for evidence in ("checkout.session", "customer.metadata"):
            connection.execute(
                insert(LinkConflictRow.__table__).values(  # type: ignore[arg-type]
                    stripe_customer_id=evidence,
                    customer_id="A" * 22,
                    reason="customer_has_another",
                    evidence=evidence,
                    event_id="evt_1",
                    seen_at=NOW,
                )
            )
    return engine


def test_a_strangers_word_stops_waiting_and_the_hosts_goes_on(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits by Checkout is dropped and counted, what waits by metadata becomes evidence and still finds its customer."""
    engine = filled(url, businesses=1)
    upgrade("portal", url)
    assert "dropped=1 kept=2" in capsys.readouterr().out
    with Session(engine) as session:
        made = [add_customer(session, name, business_id="b0") for name in ("c1", "c2", "c3")]
        assert [one.platform_stripe_customer_id for one in made] == ["cus_1", "cus_2", None]
        resolved = session.execute(select(LinkConflictRow.evidence, LinkConflictRow.resolved_at))
        assert {evidence for evidence, at in resolved if at is None} == {"customer.metadata"}
    engine.dispose()


def test_an_own_id_without_a_business_names_nobody_where_there_are_two(url: str) -> None:
    """As it was before: ids of two businesses may be equal."""
    engine = filled(url, businesses=2)
    upgrade("portal", url)
    with Session(engine) as session:
        assert add_customer(session, "c1", business_id="b1").platform_stripe_customer_id is None
        found = session.execute(
            select(LinkEvidenceRow.stripe_customer_id, LinkEvidenceRow.business_ref)
        )
        assert dict(found.tuples().all()) == {"cus_1": None, "cus_2": "b0"}
    engine.dispose()


def test_links_that_are_there_are_of_unknown_source(url: str) -> None:
    """They keep working, and are listed."""
    engine = filled(url, businesses=1)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO customers (public_id, business_pk, external_id, name, email, platform_stripe_customer_id, "
            "link_generation, created_at, updated_at) VALUES ('AAAAAAAAAAAAAAAAAAAAAA', 1, 'c9', 'N', 'n@example.com', "
            f"'cus_9', 1, '{dt.datetime(2026, 1, 1)}', '{dt.datetime(2026, 1, 1)}')"
        )
    upgrade("portal", url)
    with Session(engine) as session:
        found = on_the_wire(link_report.unknown)(session, business_id=None, after=0, limit=10)
        assert [one["stripe_customer_id"] for one in found["links"]] == ["cus_9"]
    engine.dispose()


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
def test_the_migrations_make_what_the_models_say(url: str) -> None:
    """No table, column or index is in the one and not in the other. (Indexes over expressions are PostgreSQL's alone:
    `tests/integration/test_after_roll.py`.)"""
    upgrade("portal", url)
    engine = make_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
