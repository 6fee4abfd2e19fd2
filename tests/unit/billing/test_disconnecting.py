"""A business shuts us out: what billing does at that, and does no more."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing.domain.accounts import AccountState
from services.billing.handlers.inbox import read_webhook
from services.billing.models import OutboxEvent, StripeAccount
from services.billing.queries import accounts
from services.billing.workflows.accounts import AccountHolder
from shared.contracts.accounts import Account
from shared.database import Transactions
from tests.fixtures.accounts import let_in
from tests.unit.billing.webhooks import store_webhook

THEIRS = Account("acct_1")
NOW = dt.datetime(2026, 3, 3, 17, 0, tzinfo=dt.UTC)


def shut_out(at: dt.datetime = NOW, *, livemode: bool = False, id: str = "evt_1") -> bytes:
    """`account.application.deauthorized` as a Connect endpoint gets it: about the application, of the account."""
    return json.dumps(
        {
            "id": id,
            "object": "event",
            "type": "account.application.deauthorized",
            "account": THEIRS,
            "livemode": livemode,
            "created": int(at.timestamp()),
            "api_version": "2026-01-01",
            "data": {"object": {"id": "ca_1", "object": "application", "name": "Acme"}},
        }
    ).encode()


def state(session: Session) -> str:
    return session.scalars(select(StripeAccount.state)).one()


def hear(database: Transactions, body: bytes) -> None:
    holder = AccountHolder(livemode=False, database=database)
    with database.transaction() as session:
        store_webhook(session, read_webhook(body, directory=holder.directory), NOW)


@pytest.fixture
def connected(database: Transactions) -> Transactions:
    with database.transaction() as session:
        let_in(session, THEIRS)
    return database


def test_an_account_that_shuts_us_out_is_served_no_more(connected: Transactions) -> None:
    """The others hear of it in the same commit; delivered again it is nothing new."""
    hear(connected, shut_out())
    hear(connected, shut_out())
    holder = AccountHolder(livemode=False, database=connected)
    assert holder.directory.why_not_served(THEIRS) is not None
    with connected.reading() as session:
        assert state(session) == AccountState.DISCONNECTED
        (told,) = session.scalars(select(OutboxEvent)).all()
    assert told.type == "stripe_account.changed"


def test_the_other_mode_s_word_is_not_about_us(connected: Transactions) -> None:
    """A Connect endpoint in live mode gets test events, too, by Stripe's design."""
    hear(connected, shut_out(livemode=True))
    with connected.reading() as session:
        assert state(session) == AccountState.CONNECTED


def test_a_word_from_before_we_were_let_in_again_is_old(connected: Transactions) -> None:
    """Stripe delivers for days."""
    with connected.transaction() as session:
        accounts.disconnect(session, THEIRS, NOW)
        accounts.connect(session, THEIRS, livemode=False, now=NOW + dt.timedelta(minutes=5))
    hear(connected, shut_out(NOW))
    with connected.reading() as session:
        assert state(session) == AccountState.CONNECTED
