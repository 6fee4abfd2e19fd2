"""A business connects its Stripe account (docs/adr/0028-connecting-by-oauth.md): the link, the way to Stripe, the way back.

Each function runs in its caller's transaction, and none of them asks another system. The state is spent in a transaction of its own
that is committed before the code is: whatever happens then, no second request finds it.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.connecting import (
    LINK_LASTS,
    STATE_LASTS,
    Outcome,
    digest,
)
from services.portal.handlers import arguments, existing
from services.portal.handlers.business_accounts import (
    AccountTaken,
    CustomersLinked,
    assign_account,
)
from services.portal.models import BusinessRow, ConnectionRow
from services.portal.queries import connections, links
from shared.contracts.accounts import Account
from shared.contracts.rpc.errors import InvalidArgument
from shared.telemetry import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connecting:
    """A link that is good, or was."""

    business: BusinessRow
    connected: bool
    """It has done what it was made for."""


@dataclass(frozen=True, slots=True)
class Departure:
    """What somebody is sent to Stripe with."""

    state: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """An answer of Stripe's that came back. With `outcome` all is decided; without, the code may be spent: now, by this caller, once."""

    connection: int | None
    business: BusinessRow | None
    """Whose page it is; None where the browser isn't the one that was sent."""
    outcome: Outcome | None


STRANGER: Final = Arrival(None, None, Outcome.STRANGE)


def begin(session: Session, business_id: str, secret: str, now: dt.datetime) -> dt.datetime:
    """A new link for a business, with this secret; until when it is good. Earlier links of its are good for nothing from now on.
    Raises NotFound."""
    row = existing.business(session, arguments.identifier("business_id", business_id), lock=True)
    connections.end_others(session, row.id, now)
    expires_at = now + LINK_LASTS
    session.add(
        ConnectionRow(
            business_pk=row.id,
            link_digest=digest(secret),
            created_at=now,
            expires_at=expires_at,
        )
    )
    return expires_at


def look(session: Session, secret: str, now: dt.datetime) -> Connecting | None:
    """Whose link it is; None for one that is unknown or over. Looking changes nothing."""
    found = connections.by_link(session, digest(secret))
    if found is None or found[0].expires_at <= now:
        return None
    return Connecting(found[1], found[0].outcome == Outcome.DONE)


def leave(session: Session, secret: str, state: str, now: dt.datetime) -> Departure | None:
    """Somebody goes on to Stripe by a link, with this state; whoever went before by the same one can't come back any more. None: the link is over, or
    has done its work."""
    found = connections.by_link(session, digest(secret), lock=True)
    if found is None or found[0].expires_at <= now or found[0].outcome == Outcome.DONE:
        return None
    row, going = found[0], Departure(state, secrets.token_urlsafe(32))
    row.state_digest, row.browser_digest = digest(going.state), digest(going.cookie)
    row.state_expires_at, row.state_spent_at = now + STATE_LASTS, None
    row.outcome = None
    return going


def arrive(session: Session, *, state: str, cookie: str, denied: bool, now: dt.datetime) -> Arrival:
    """Somebody comes back from Stripe: the state is spent with that, whoever brings it and whatever is wrong.

    Brought again by the same browser it is answered with what came of it. `state` is one of ours.
    """
    found = connections.by_state(session, digest(state))
    if found is None:
        return STRANGER
    row, business = found
    spent_before, row.state_spent_at = row.state_spent_at, row.state_spent_at or now
    if not hmac.compare_digest(digest(cookie), row.browser_digest or ""):
        return STRANGER
    done = row.outcome == Outcome.DONE
    if done or spent_before is not None:
        return Arrival(row.id, business, Outcome.DONE if done else Outcome.REPLAYED)
    outcome = (
        None  # what stands in the row may be of a visit before, whose code was still being spent
    )
    if row.state_expires_at is None or now >= row.state_expires_at or row.expires_at <= now:
        outcome = Outcome.EXPIRED
    elif denied:
        outcome = Outcome.DENIED
    row.outcome = outcome
    return Arrival(row.id, business, outcome)


def finish(session: Session, connection: int, account: Account, now: dt.datetime) -> Outcome:
    """The code stood for `account`: its business is on it from now on, if it may be, and the link has done its work. Another visit by
    it, which was at Stripe at the same time, may have been first."""
    links.lock(
        session
    )  # first, and the business before its ways to connect: so does everybody else
    business = connections.business_of(session, connection)
    row = connections.by_id(session, connection)
    if row is None or business is None:  # forgotten meanwhile
        return Outcome.STRANGE
    if row.outcome == Outcome.DONE:
        return Outcome.DONE if row.connected_account == account else Outcome.REPLAYED
    try:
        assign_account(session, business.business_id, account, "", now)
    except AccountTaken:
        outcome = Outcome.TAKEN
    except CustomersLinked:
        outcome = Outcome.LINKED
    except InvalidArgument as error:
        log.error("account not connected", reason=str(error), account=account)
        outcome = Outcome.NOT_READY
    else:
        outcome = Outcome.DONE
    row.outcome = outcome
    row.connected_account = account if outcome is Outcome.DONE else None
    return outcome


def note_outcome(session: Session, connection: int, outcome: Outcome) -> None:
    """Remember why nothing was connected; unless another visit by the same link was more lucky."""
    row = connections.by_id(session, connection)
    if row is not None and row.outcome != Outcome.DONE:
        row.outcome = outcome


def on_accounts(
    session: Session, accounts: list[str] | None, business_id: str | None
) -> list[BusinessRow]:
    """The businesses on any of `accounts`, or the one that is named. Raises NotFound."""
    if business_id is None:
        return connections.businesses_on(session, accounts or [])
    return [existing.business(session, arguments.identifier("business_id", business_id))]
