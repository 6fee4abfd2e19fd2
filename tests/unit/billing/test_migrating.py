"""What billing's migrations make of data that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.billing.models import Base
from services.billing.queries import portal as portal_queries
from shared.contracts.accounts import OWN
from shared.database import make_engine
from shared.migrations import upgrade

pytestmark = pytest.mark.whole

BEFORE_DASHBOARDS = "0005"
CONFIGURATION = (
    "INSERT INTO portal_configurations VALUES ('business:b1', 0, 'bpc_1', '2026-11-01 00:00:00')"
)
CURSOR = "INSERT INTO reconciliations (name, until) VALUES ('stripe', '2026-11-01 00:00:00')"


@pytest.mark.parametrize(("there", "keeps"), [(None, False), (CONFIGURATION, True), (CURSOR, True)])
def test_who_ran_on_porticos_configuration_stays_on_it(
    tmp_path: Path, there: str | None, keeps: bool
) -> None:
    """Told by what any release leaves behind; in either mode of the key, for a live key may follow a test key's trial. A
    new database follows the dashboard, and the tables are those of the models."""
    url = f"sqlite:///{tmp_path}/billing.sqlite3"
    upgrade("billing", url, BEFORE_DASHBOARDS)
    engine = make_engine(url)
    with engine.begin() as connection:
        if there:
            connection.execute(text(there))
    upgrade("billing", url)
    upgrade("billing", url, after_roll=True)
    with Session(engine) as session:
        for livemode in (False, True):
            found = portal_queries.recorded(session, OWN, livemode, None)
            assert found.keeps_portico is keeps
        assert (
            compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []
        )
    engine.dispose()


def test_events_of_connected_accounts_are_no_trouble_any_more(tmp_path: Path) -> None:
    """They were quarantined, and kept until somebody looked; what else is quarantined stays so."""
    url = f"sqlite:///{tmp_path}/billing.sqlite3"
    upgrade("billing", url, BEFORE_DASHBOARDS)
    engine = make_engine(url)
    with engine.begin() as connection:
        for number, account in enumerate(("'acct_1'", "NULL")):
            connection.execute(
                text(
                    "INSERT INTO inbox (id, type, account, received_at, status, payload) VALUES "
                    f"('evt_{number}', 'invoice.paid', {account}, '2026-11-01 00:00:00', 'quarantined', '')"
                )
            )
    upgrade("billing", url)
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT status FROM inbox ORDER BY id")).scalars().all()
    assert rows == ["connected", "quarantined"]
    engine.dispose()
