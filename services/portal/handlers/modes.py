"""Who observes, and who is live since when (docs/adr/0032-observe-then-live.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.portal.handlers import arguments, existing
from services.portal.models import BusinessRow
from services.portal.queries import behalves, modes
from services.portal.queries.modes import Standing
from shared.contracts.accounts import StripeCustomer
from shared.mode import LIVE


def set_mode(
    session: Session, business_id: str, mode: str, installation_observes: bool, now: dt.datetime
) -> BusinessRow:
    """Let a business observe, or go live: with that its line is drawn.

    Said twice, the second is the call whose answer was lost: the line of a business that is live stays where it is. Where the
    installation observes, nothing has gone out since, and the line may move up to the moment of going live. Raises NotFound.
    """
    row = existing.business(session, arguments.identifier("business_id", business_id), lock=True)
    if mode == LIVE and (row.mode != LIVE or row.live_since is None or installation_observes):
        row.live_since = now
    row.mode, row.updated_at = mode, now
    return row


def businesses(
    session: Session, business_id: str | None, after: str | None, limit: int
) -> list[BusinessRow]:
    """Businesses by the host's ids, after one of them; or the one that is named. Raises NotFound."""
    if business_id is None:
        return modes.businesses(session, after, limit)
    return [existing.business(session, arguments.identifier("business_id", business_id))]


def observed(session: Session, asked: Sequence[StripeCustomer]) -> list[Standing]:
    """Whether the business of each of these observes, and its line, in their order; the installation as a whole is live.

    Of a Stripe customer whom nobody knows it is asked of the businesses whose customers they could be: those of their merchant, else all
    on their account. They are observed where each of these observes, and the latest of their lines counts.
    """
    effective = behalves.merchants(session, (one.merchant for one in asked))
    whose = [StripeCustomer(*one.name, effective[one.merchant].on_behalf_of) for one in asked]
    known = modes.of_customers(session, whose)
    unknown = {one.merchant for one in whose if one not in known}
    there = modes.of_merchants(session, {one.account for one in unknown})
    guessed = {}
    for merchant in unknown:
        on_account = [one for name, one in there.items() if name.account == merchant.account]
        lines = [one.live_since for one in on_account if one.live_since is not None]
        all_observe = bool(on_account) and all(one.observes for one in on_account)
        whole = Standing(all_observe, max(lines, default=None))
        guessed[merchant] = there.get(merchant, whole)
    return [known[one] if one in known else guessed[one.merchant] for one in whose]
