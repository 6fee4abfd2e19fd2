"""An address that takes no mail: the business hears of it, once, and can call."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHash
from services.notifier.domain.keys import unreachable_key
from services.notifier.domain.kinds import Kind
from services.notifier.models import Notification
from services.notifier.queries import notifications
from services.notifier.queries.notifications import NewNotification, Row
from shared.contracts.accounts import Account


def tell_business(
    session: Session,
    row: Notification | Row,
    customer_id: str | None,
    address: AddressHash,
    now: dt.datetime,
) -> None:
    """Write down an email to the business of the customer whom `row` did not reach, unless it was told of this address."""
    notifications.add_notification(
        session,
        NewNotification(
            account=Account(row.account),
            dedupe_key=unreachable_key(address.plain),
            kind=Kind.CUSTOMER_UNREACHABLE,
            now=now,
            invoice_id=row.invoice_id,
            attempt=row.attempt,
            stripe_customer_id=row.stripe_customer_id,
            on_behalf_of=row.on_behalf_of,
            customer_id=customer_id,
            correlation_id=row.correlation_id,
        ),
    )
