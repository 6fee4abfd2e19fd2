"""Invoices of one id in two Stripe accounts are two stories; where the database has no room for both, none gets the other's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from services.notifier.handlers import requests
from services.notifier.handlers.events import NoRoomForAccount, handle
from services.notifier.models import IncidentRow, Notification
from shared.contracts.accounts import OWN, Account
from shared.database import make_engine
from shared.migrations import upgrade
from shared.schema import needed
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import START

pytestmark = pytest.mark.whole


def stories(engine: Engine) -> set[tuple[str, str]]:
    with Session(engine) as session:
        return set(session.execute(select(IncidentRow.account, IncidentRow.invoice_id)).tuples())


@pytest.mark.parametrize("contracted", [True, False])
def test_each_account_has_its_own_story(tmp_path: Path, contracted: bool) -> None:
    """After the step both are kept, and both customers are written to. Before it the second event is refused with the command
    to run, and leaves nothing behind."""
    url = f"sqlite:///{tmp_path}/notifier.sqlite3"
    upgrade("notifier", url, needed("notifier"))
    if contracted:
        upgrade("notifier", url, after_roll=True)
    engine = make_engine(url)
    other = failed("evt_2/invoice.payment_failed", account="acct_1")
    with Session(engine) as session, session.begin():
        handle(session, failed(), START)
    if contracted:
        with Session(engine) as session, session.begin():
            handle(session, other, START)
        assert stories(engine) == {(OWN, "in_1"), ("acct_1", "in_1")}
    else:
        with (
            pytest.raises(NoRoomForAccount, match=r"acct_1/in_1.*migrate --after-roll"),
            Session(engine) as session,
            session.begin(),
        ):
            handle(session, other, START)
        assert stories(engine) == {(OWN, "in_1")}
    with Session(engine) as session:
        accounts = session.scalars(select(Notification.account)).all()
    assert sorted(accounts) == (["", "acct_1"] if contracted else [""])
    engine.dispose()


def test_the_list_of_emails_is_that_of_all_accounts(house: House) -> None:
    """Who asks for no invoice and no customer sees the emails of every business, also of those on accounts of their own; an id is
    one of its account alone."""
    house.hear(failed())
    house.clock.forward(minutes=1)
    house.hear(failed("evt_2/invoice.payment_failed", account="acct_1"))
    with house.db.reading() as session:

        def accounts(account: Account, invoice_id: str | None) -> list[str]:
            found = requests.notifications(
                session, account, invoice_id=invoice_id, stripe_customer_id=None, limit=10
            )
            return [one.account for one in found]

        assert accounts(OWN, None) == ["acct_1", ""]
        assert accounts(OWN, "in_1") == [""]
        assert accounts(Account("acct_1"), "in_1") == ["acct_1"]
