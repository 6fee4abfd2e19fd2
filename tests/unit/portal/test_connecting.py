"""Connecting a Stripe account, as far as it takes no Stripe: what the portal makes of an account that was connected."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from services.portal.domain.connecting import Outcome
from services.portal.handlers import connecting
from services.portal.models import BusinessRow, ConnectionRow
from shared.contracts.accounts import OWN, Account
from shared.migrations import upgrade
from shared.schema import needed
from tests.unit.portal.builders import NOW, add_business

ACCOUNT = Account("acct_1")


def way(session: Session) -> int:
    add_business(session, "sunrise")
    connecting.begin(session, "sunrise", "a secret", NOW)
    session.flush()
    return session.scalars(select(ConnectionRow.id)).one()


@pytest.mark.whole
def test_a_business_is_on_the_account_that_it_connected(session: Session) -> None:
    """And the way to it remembers which that was."""
    assert connecting.finish(session, way(session), ACCOUNT, NOW) is Outcome.DONE
    assert session.scalars(select(BusinessRow.account)).one() == ACCOUNT
    row = session.scalars(select(ConnectionRow)).one()
    assert (row.outcome, row.connected_account) == ("done", ACCOUNT)


@pytest.mark.whole
def test_tables_that_take_no_second_account_yet_are_an_outcome(tmp_path: Path) -> None:
    """Billing's may take one already: it is let go again, and the business is told, instead of being left with it and an error."""
    url = f"sqlite:///{tmp_path / 'portal.sqlite3'}"
    upgrade("portal", url, needed("portal"))
    with Session(create_engine(url)) as session:
        assert connecting.finish(session, way(session), ACCOUNT, NOW) is Outcome.NOT_READY
        assert session.scalars(select(BusinessRow.account)).one() == OWN
        assert session.scalars(select(ConnectionRow.outcome)).one() == "not_ready"


def test_a_way_that_is_forgotten_is_nobodys(session: Session) -> None:
    """Its business may be gone meanwhile."""
    assert connecting.finish(session, 77, ACCOUNT, NOW) is Outcome.STRANGE
