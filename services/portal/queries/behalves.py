"""Whose it is that is charged on behalf of an account: the one rule (docs/adr/0029-on-whose-behalf.md).

What is charged on behalf of an account that a business names is that business's. On behalf of any other account, or of none, it is of the
businesses that name none: a platform may have charged so for years before it tells us of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select, union
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, InvoiceRow, SubscriptionRow
from shared.contracts.accounts import Account, Merchant
from shared.statements import Column, table_of

_business: Final = table_of(BusinessRow).alias("named")


def _named(account: Column, on_behalf_of: Column) -> ColumnElement[bool]:
    """Whether a business names this behalf."""
    return (
        select(_business.c.id)
        .where(_business.c.account == account, _business.c.on_behalf_of == on_behalf_of)
        .correlate_except(_business)
        .exists()
    )


def _unnamed(account: Column, on_behalf_of: Column) -> ColumnElement[bool]:
    return and_(on_behalf_of != "", ~_named(account, on_behalf_of))


def counts_for(account: Column, on_behalf_of: Column, wanted: Column | str) -> ColumnElement[bool]:
    """Whether what a row of this account is charged on is of the merchant that is charged on behalf of `wanted` there."""
    theirs = on_behalf_of == wanted
    if isinstance(wanted, str):
        return theirs if wanted else or_(theirs, _unnamed(account, on_behalf_of))
    return or_(theirs, and_(wanted == "", _unnamed(account, on_behalf_of)))


def merchants(session: Session, wanted: Iterable[Merchant]) -> dict[Merchant, Merchant]:
    """Whose customers those of each of these are: of itself where a business names its behalf, else of who names none."""
    found = {one: one for one in wanted}
    behalves: dict[Account, set[str]] = {}
    for one in found:
        if one.on_behalf_of:
            behalves.setdefault(one.account, set()).add(one.on_behalf_of)
    for account, asked in behalves.items():
        for unnamed in asked - _named_among(session, account, asked):
            found[Merchant(account, unnamed)] = Merchant(account)
    return found


def merchant(session: Session, wanted: Merchant) -> Merchant:
    """The same for one."""
    return merchants(session, [wanted])[wanted]


def any_named(session: Session, account: Account) -> bool:
    """Whether any business of an account names a behalf."""
    named = select(BusinessRow.id).where(
        BusinessRow.account == account, BusinessRow.on_behalf_of != ""
    )
    return session.scalars(named.limit(1)).first() is not None


def _named_among(session: Session, account: Account, behalves: Collection[str]) -> set[str]:
    rows: Any = session.scalars(
        select(BusinessRow.on_behalf_of).where(
            BusinessRow.account == account, BusinessRow.on_behalf_of.in_(behalves)
        )
    )
    return set(rows)


def unnamed(session: Session, limit: int) -> list[Merchant]:
    """Up to `limit` behalves that something open is charged on, and that no business names."""
    asked = (
        select(table.account, table.on_behalf_of).where(
            _unnamed(table.account, table.on_behalf_of), alive
        )
        for table, alive in (
            (InvoiceRow, InvoiceRow.status == "open"),
            (SubscriptionRow, SubscriptionRow.status != "canceled"),
        )
    )
    found = union(*asked).subquery()
    rows = session.execute(
        select(found.c.account, found.c.on_behalf_of)
        .order_by(found.c.account, found.c.on_behalf_of)
        .limit(limit)
    )
    return [Merchant(Account(account), on_behalf_of) for account, on_behalf_of in rows]
