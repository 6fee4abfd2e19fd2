"""The emails by which customers are welcomed: notifications of that kind, under way, gone, or to go again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import ACTIVE, PASSING, Reason, Status
from services.notifier.domain.welcomes import Held, Lately, UnderWay
from services.notifier.models import Notification
from shared.statements import changed

_UNDER_WAY: Final = and_(
    # As literals: by them the partial index is found, whatever plan is kept.
    Notification.kind == literal_column(f"'{Kind.WELCOME.value}'"),
    Notification.status.in_([literal_column(f"'{status.value}'") for status in ACTIVE]),
)
GONE: Final = or_(Notification.sent_at.is_not(None), Notification.unconfirmed_since.is_not(None))
"""What went out, or may have."""
REACHED_NOBODY: Final = and_(
    ~GONE,
    Notification.status.in_([Status.FAILED.value, Status.SUPPRESSED.value, Status.OBSERVED.value]),
)
"""What is done with, and certainly reached nobody."""
_GOES_ON: Final = and_(
    or_(
        Notification.reason.is_(None),
        Notification.reason.not_in(
            [Reason.WAITS_FOR_MORNING.value, Reason.WAITS_AFTER_FAILURE.value]
        ),
    ),
    or_(Notification.lookups == 0, Notification.attempts > 0),
)
"""Of those under way: it waits neither for its customer's morning, nor for the portal to know them, nor after an email about a payment."""
MAY_GO_AGAIN: Final = and_(
    ~GONE,
    or_(
        Notification.status.in_([Status.FAILED.value, Status.OBSERVED.value]),
        and_(
            Notification.status == Status.SUPPRESSED.value,
            Notification.reason.in_([reason.value for reason in PASSING]),
        ),
    ),
)
"""What certainly reached nobody, and might now."""


def note_business(session: Session, keys: Sequence[str], business_id: str) -> dict[str, str]:
    """Write down whose welcomes those with these keys are; their ids, by key."""
    rows = session.execute(
        update(Notification)
        .where(Notification.dedupe_key.in_(keys))
        .values(business_id=business_id)
        .returning(Notification.dedupe_key, Notification.notification_id)
        .execution_options(synchronize_session=False)
    )
    return dict(rows.tuples().all())


def make_due(
    session: Session,
    keys: Collection[str],
    now: dt.datetime,
    which: ColumnElement[bool] = MAY_GO_AGAIN,
) -> int:
    """Let those of the emails with these keys go that certainly reached nobody, and might now (or of which `which` is true); how many."""
    due = {"due_at": now, "ready_at": now, "created_at": now}
    again = {"attempts": 0, "lookups": 0, "unconfirmed_posts": 0}
    return changed(
        session,
        update(Notification)
        .where(Notification.dedupe_key.in_(keys), which)
        .values(
            **due,
            **again,
            status=Status.PENDING.value,
            reason=None,
            finished_at=None,
            last_error=None,
            lease_token=None,
            lease_until=None,
        )
        .execution_options(synchronize_session=False),
    )


def take_back(session: Session, business_id: str, now: dt.datetime) -> int:
    """Take back a business's welcomes that are released and that nobody has begun to send; how many. Its run is locked."""
    stopped = {"status": Status.SUPPRESSED.value, "reason": Reason.WELCOMING_STOPPED.value}
    return changed(
        session,
        update(Notification)
        .where(
            _UNDER_WAY,
            Notification.business_id == business_id,
            Notification.status == Status.PENDING.value,  # else a sender has it
            Notification.unconfirmed_since.is_(None),
        )
        .values(**stopped, finished_at=now)
        .execution_options(synchronize_session=False),
    )


def begun(session: Session, business_id: str) -> int:
    """How many of a business's welcomes are released and not known to be sent, for whatever reason."""
    statement = select(func.count()).where(_UNDER_WAY, Notification.business_id == business_id)
    return session.scalar(statement) or 0


def under_way(session: Session, business_id: str) -> UnderWay:
    """How many of a business's welcomes are released and not sent."""
    tried = or_(Notification.attempts > 0, Notification.unconfirmed_since.is_not(None))
    statement = select(func.count(), func.count(case((tried, 1)))).where(
        _UNDER_WAY, Notification.business_id == business_id, _GOES_ON
    )
    total, number = session.execute(statement).one()
    return UnderWay(untried=total - number, tried=number)


def lately(
    session: Session, business_id: str, since: dt.datetime, now: dt.datetime, limit: int
) -> Lately:
    """What has come of a business's welcomes that were released since a moment, at most of the newest so many."""
    counts = or_(
        Notification.sent_at.is_not(None),
        Notification.status == Status.FAILED.value,
        and_(Notification.status.in_([status.value for status in ACTIVE]), _GOES_ON),
    )
    rows = session.scalars(
        select(Notification)
        .where(
            Notification.kind == Kind.WELCOME.value,
            Notification.business_id == business_id,
            # Between two moments: so the index is found, whatever plan is kept.
            Notification.created_at >= since,
            Notification.created_at <= now + dt.timedelta(minutes=1),
            counts,
        )
        .order_by(Notification.created_at.desc())
        .limit(limit)
    ).all()
    taken = next((row.created_at for row in rows if row.sent_at is not None), None)
    without = [row for row in rows if taken is None or row.created_at > taken]
    tried = next((row for row in without if row.last_error or row.status == Status.FAILED), None)
    if tried is None:
        why = said = None
    elif tried.status == Status.FAILED:
        gave_up = (Reason.GAVE_UP.value, Reason.UNCONFIRMED_TWICE.value)
        why = Held.PROVIDER if tried.reason in gave_up else Held.REFUSED
        said = tried.reason
    else:
        why, said = Held.PROVIDER, tried.last_error
    return Lately(
        taken=taken is not None,
        without_success=len(without),
        newest=rows[0].created_at if rows else None,
        why=why,
        said=said,
    )


def any_under_way(session: Session) -> bool:
    """Whether any welcome is released and not sent."""
    return (
        session.scalar(select(Notification.notification_id).where(_UNDER_WAY).limit(1)) is not None
    )
