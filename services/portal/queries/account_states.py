"""How Stripe accounts beside the installation's own stand."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import Session

from services.portal.models import AccountStateRow
from shared.contracts.accounts import Account
from shared.statements import table_of

GONE: Final = "disconnected"

_state = table_of(AccountStateRow)


def is_disconnected(account: Any) -> ColumnElement[bool]:
    """Whether an account, a column of another table, is connected no more. One of which nothing was told is not."""
    return exists().where(_state.c.account == account, _state.c.state == GONE)


def note_state(session: Session, account: Account, state: str, as_of: dt.datetime) -> None:
    """Write down how an account stands, unless something newer is known."""
    row = session.get(AccountStateRow, account, with_for_update=True)
    if row is None:
        session.add(AccountStateRow(account=account, state=state, as_of=as_of))
    elif row.as_of <= as_of:
        row.state, row.as_of = state, as_of
    session.flush()
