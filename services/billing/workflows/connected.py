"""Reconciliation of the accounts beside the installation's own: fair, bounded each round, and of connected ones within the
platform's allowance of reads (docs/adr/0034-reads-are-a-budget.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from typing import Final

from services.billing.domain.accounts import Directory, Way
from services.billing.domain.errors import StripeKeyRefused
from services.billing.ports import PaymentGateway
from services.billing.queries import reads, reconciliation, turns
from services.billing.workflows.reconciling import EVERY_WHILE_THIN
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable
from shared.database import Transactions
from shared.telemetry import get_logger

log = get_logger(__name__)

CONNECT_PATH: Final = "/webhooks/stripe/connect"
MOST_A_ROUND: Final = 20
"""Accounts of each kind."""
ALIVE: Final = "alive"
"""Of the installation: when a round last ran."""
LOOKED: Final = "connect_endpoint_looked"
OFF: Final = "connect_endpoint_off"
"""Of the installation: when the endpoint of connected accounts was last looked at, and when it was last seen switched off."""
RETRIED: Final = dt.timedelta(days=3)
"""For so long Stripe repeats a webhook (https://docs.stripe.com/webhooks#automatic-retries)."""
LOOK_EVERY: Final = dt.timedelta(hours=6)
ALL_EVERY_WHILE_OFF: Final = dt.timedelta(days=1)


def due(
    database: Transactions,
    directory: Directory,
    *,
    pool: int,
    clock: Callable[[], dt.datetime],
    beside: Collection[str] = frozenset(),
    most_seconds: float = 45.0,
) -> Iterator[tuple[Account, Way]]:
    """The accounts that this process reconciles in this round, each once it has taken its turn, but for those in `beside` by then.
    Who is not reached in time is among the first of the next round."""
    began = clock()
    with database.reading() as session:
        keyed = [
            one.account
            for one in directory
            if one.way is Way.OWN_KEY and directory.why_not_served(one.account) is None
        ]
        waiting = (
            turns.turns_of(session, keyed, began - EVERY_WHILE_THIN, MOST_A_ROUND) if keyed else []
        )
        found = [(one, Way.OWN_KEY) for one in waiting]
        connected = turns.connected_turns(
            session, began, MOST_A_ROUND, livemode=directory.livemode(OWN)
        )
        left = reads.pool_of(session, pool, began.date())
    found += [(one, Way.CONNECTED) for one in connected if left.allows(cause=one.cause)]
    for turn, way in found:
        if (clock() - began).total_seconds() > most_seconds:
            return
        if turn.account in beside:
            continue
        known = directory.known(turn.account)
        if known is None or known.way is not way or directory.why_not_served(turn.account):
            continue
        with database.transaction() as session:
            taken = turns.take_turn(session, turn, clock())
        if taken:
            yield turn.account, way


def give_back(database: Transactions, account: Account) -> None:
    """Leave to another process, or to the next start, an account of which this one took the turn, and can't begin it."""
    with database.transaction() as session:
        turns.give_back(session, account)


def note_causes(
    database: Transactions, gateway: PaymentGateway, directory: Directory, now: dt.datetime
) -> None:
    """What makes connected accounts worth a read: that we were away for longer than Stripe repeats webhooks, that their endpoint was
    switched off, that payments failed. `gateway`: of the own account, which has the endpoint, and is asked a few times a day."""
    if not any(one.way is Way.CONNECTED for one in directory):
        return
    with database.transaction() as session:
        alive = reconciliation.moment_of(session, OWN, ALIVE)
        reconciliation.keep_moment(session, OWN, ALIVE, now)
        if alive is not None and alive < now - RETRIED:
            turns.all_missed(session, now)
        turns.watch_failures(session, now)
        looked = reconciliation.moment_of(session, OWN, LOOKED)
        if looked is not None and looked > now - LOOK_EVERY:
            return
        reconciliation.keep_moment(session, OWN, LOOKED, now)
    try:
        off = gateway.endpoints_off(CONNECT_PATH)
    except (StripeUnavailable, StripeRefused) as error:
        say = log.warning if isinstance(error, StripeKeyRefused) else log.info
        say("the endpoint of connected accounts can't be looked at", reason=str(error))
        return
    with database.transaction() as session:
        before = reconciliation.moment_of(session, OWN, OFF)
        missed = reconciliation.moment_of(session, OWN, turns.ALL_MISSED)
        if off:
            log.error("the webhook endpoint of connected accounts is switched off")
            reconciliation.keep_moment(session, OWN, OFF, now)
            if missed is None or missed <= now - ALL_EVERY_WHILE_OFF:
                turns.all_missed(session, now)
        elif before is not None and (missed is None or missed <= before):
            turns.all_missed(session, now)
