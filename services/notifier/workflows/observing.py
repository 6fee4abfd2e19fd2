"""Accepting what was observed: only for a business that is live, which the portal knows."""

from __future__ import annotations

import datetime as dt

from services.notifier.handlers import observing
from services.notifier.ports import Businesses, PortalUnavailable, UnknownCustomer
from services.notifier.queries import observed as queries
from shared.contracts.rpc.errors import NotFound, StillObserved, TemporarilyUnavailable
from shared.contracts.rpc.notifier import AcceptedNotification
from shared.database import Transactions


def accept(
    db: Transactions,
    known: Businesses,
    notification_ids: list[str],
    now: dt.datetime,
    *,
    observes: bool,
) -> list[AcceptedNotification]:
    """Let these go out; all of them, or none. `observes`: whether the whole installation does.

    Whether their businesses are live is asked first. One that observes again before an email of its goes out is found when that is to
    go: then it is observed once more. Raises NotFound, StillObserved, TemporarilyUnavailable.
    """
    with db.reading() as session:
        businesses = set(queries.businesses_of(session, notification_ids).values()) - {None}
    for business_id in sorted(one for one in businesses if one is not None):
        if observes or _observes(known, business_id):
            whose = "this installation" if observes else f"the business {business_id}"
            raise StillObserved(
                f"{whose} still observes: let it go live first. Nothing was accepted"
            )
    with db.transaction() as session:
        return observing.accept(session, notification_ids, now)


def _observes(known: Businesses, business_id: str) -> bool:
    try:
        return known.business(business_id).business.observed
    except UnknownCustomer:
        raise NotFound(f"notification_ids: there is no business {business_id} any more") from None
    except PortalUnavailable as error:
        raise TemporarilyUnavailable(f"nothing was accepted: {error}") from None
