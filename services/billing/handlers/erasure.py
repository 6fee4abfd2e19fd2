"""Forgetting a customer, a round at a time."""

from __future__ import annotations

from typing import Final

from sqlalchemy.orm import Session

from services.billing.queries import erasure
from shared.contracts.accounts import StripeId
from shared.contracts.rpc.billing import ErasureRound

ERASE_ROWS: Final = 2000
"""Rows that one call looks through: a second or so, far from the statement's time limit."""


def erase(
    session: Session, customer: StripeId, *, also: list[str], after: str | None
) -> ErasureRound:
    """One round of forgetting a customer; call again with `next` until it is None.

    `also` names further marks of the person to look for in stored bodies: the address, Portico's id.
    """
    needles = [customer.id, *also]
    table, _, position = (after or "inbox:").partition(":")
    deleted = emptied = 0
    if table == "inbox":
        emptied, last = erasure.erase_inbox(
            session, customer.account, needles, position, ERASE_ROWS
        )
        follows: str | None = "outbox:0" if last is None else f"inbox:{last}"
    else:
        deleted, end = erasure.erase_outbox(
            session, customer.account, needles, int(position), ERASE_ROWS
        )
        follows = None if end is None else f"outbox:{end}"
        if follows is None:
            deleted += erasure.erase_recoveries(session, customer)
    return ErasureRound(emptied=emptied, deleted=deleted, next=follows)
