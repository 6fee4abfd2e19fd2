"""Import of an account from Stripe: its customers, subscriptions and open invoices become events, a page of a list at a time.

A page is read, translated, and its events, what is worth telling of it and the cursor are one commit. So an import that dies anywhere
goes on where it was, and says nothing twice. Only one holder works on an account's import; were there two all the same, the
second's commit would find that the cursor has moved, and do nothing. No call to Stripe stands inside a transaction.
"""

from __future__ import annotations

import datetime as dt
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from services.billing.domain import list_sizes
from services.billing.domain.budget import Budget
from services.billing.domain.errors import (
    ObjectGone,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.list_sizes import ObjectPage
from services.billing.ports import ObjectLists
from services.billing.queries import imports, outbox, reconciliation
from services.billing.queries.imports import Progress
from services.billing.stripe_events.imports import DONE, Listed, Run, read_page
from shared.clock import CLOCKS_APART
from shared.contracts.accounts import Account
from shared.contracts.rpc.errors import ImportRunning
from shared.contracts.rpc.imports import LIVE_WORK, OUTBOX, STRIPE
from shared.database import Transactions

LEASE: Final = dt.timedelta(seconds=30)
"""Longer than a page may take (`PAGE_SECONDS`); renewed before each."""
NEXT_CALL: Final = dt.timedelta(seconds=5)
"""How soon after a page whoever imports asks for the next one, beyond what they were told to wait: who does not was stopped, and another
one goes on."""
GIVES_WAY: Final = CLOCKS_APART
"""What is read counts as of so long before. Stripe's events have moments of its clock: whatever happens after a page was read must count as
newer, or it would never show. What happened before, and is told later, does no harm: all of it is told."""
PAGE_SECONDS: Final = 20.0
PAGE: Final = 100
MOST_WAITING: Final = 300
"""Events that may wait in the outbox when a page is begun: few enough that an import never stands in front of a failed charge for
long."""
NO_BUDGET_WAIT: Final = 0.2
"""Seconds until it is worth asking again where live work has taken the budget, or the outbox is full."""
LIMITED_WAIT: Final = 2.0
"""Seconds, where Stripe says that there are too many requests, and not for how long."""
SHORTEST_WAIT: Final = 1.0
"""Seconds, where it names fewer: none at all would be one request after the other."""


@dataclass(frozen=True)
class Plan:
    """What an import will read."""

    sizes: dict[Listed, int]
    """About how many objects there are; those whose list may not be read are left out."""
    lacking: tuple[Listed, ...]
    """What the key may not read."""
    unfinished: Progress | None
    """The import that is gone on with."""

    @property
    def reads(self) -> int:
        """Pages that are still to be read, about."""
        pages = sum(max(math.ceil(size / PAGE), 1) for size in self.sizes.values())
        return max(pages - (self.unfinished.reads if self.unfinished else 0), 1)


@dataclass(frozen=True)
class Step:
    """What came of a step."""

    progress: Progress
    wait: float = 0.0
    """Seconds until the next one."""
    held: str | None = None
    """Why no page was read; None: one was, or all are."""


def plan(
    database: Transactions,
    lists: ObjectLists,
    account: Account,
    *,
    pause: Callable[[float], object],
) -> Plan:
    """Look at each list: whether it may be read, and about how long it is. A 429 is waited out with `pause`, by seconds, for as long as
    the caller lets it. Raises StripeUnavailable, StripeRefused."""
    sizes: dict[Listed, int] = {}
    lacking: list[Listed] = []
    for what in Listed:
        try:
            sizes[what] = list_sizes.estimate(_sampler(lists, what, pause))
        except StripePermissionMissing:
            lacking.append(what)
    with database.reading() as session:
        last = imports.progress(session, account)
    return Plan(sizes, tuple(lacking), last if last and not last.finished else None)


def _sampler(
    lists: ObjectLists, what: Listed, pause: Callable[[float], object]
) -> Callable[[int | None], ObjectPage]:
    def sample(before: int | None) -> ObjectPage:
        at = None if before is None else dt.datetime.fromtimestamp(max(before, 0), dt.UTC)
        while True:
            try:
                return lists.page(what, None, before=at)
            except StripeRateLimited as limited:
                pause(_wait_of(limited))

    return sample


def _wait_of(limited: StripeRateLimited) -> float:
    told = limited.retry_after
    return LIMITED_WAIT if told is None else max(SHORTEST_WAIT, told)


def step(
    database: Transactions,
    lists: ObjectLists,
    budget: Budget | None,
    run: Run,
    *,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Step:
    """Take in one page, or say how long to wait before. `budget`: the account's, of which live work leaves what it doesn't need, and a
    share; None: it has none, and a page a second is read. Raises ImportRunning, StripeUnavailable, StripeRefused."""
    now = clock()
    with database.transaction() as session:
        at = imports.take(session, run.account, holder, secrets.token_hex(4), now, now + LEASE)
        if at is None:
            raise ImportRunning(_running(imports.progress(session, run.account)))
        # What is unpaid by now was there before us: no sweep announces it.
        reconciliation.reconciled_until(session, run.account, now)
        waiting, _ = outbox.OUTBOX.backlog(session, now)
    if at.finished:
        return Step(at)
    if waiting > MOST_WAITING:
        return Step(at, NO_BUDGET_WAIT, OUTBOX)
    if budget is not None and not budget.take_share():
        return Step(at, NO_BUDGET_WAIT, LIVE_WORK)
    what, read_at = Listed(at.what), clock() - GIVES_WAY
    try:
        page = lists.page(what, at.cursor)
    except StripeRateLimited as limited:
        wait = _wait_of(limited)
        with database.transaction() as session:
            imports.keep(session, run.account, holder, _until_next(clock(), wait))
        return Step(at, wait, STRIPE)
    except ObjectGone:
        if at.cursor is None:
            raise
        page = ObjectPage([], more=True)  # read again from the beginning, and nothing is said twice
    read = read_page(replace(run, name=at.run, read_at=read_at), what, page.objects)
    following = (what.value, page.last) if page.more else (_after(what), None)
    wait = 1.0 if budget is None else 0.0

    def take_in(session: Session) -> Progress:
        queued = outbox.OUTBOX.add(session, read.outgoing, clock())
        imports.note_met(session, run.account, read.met, clock())
        after = imports.advance(
            session,
            run.account,
            holder,
            at,
            to=following,
            objects=len(page.objects),
            events=len(queued),
            now=clock(),
        )
        if after is None:
            raise ImportRunning("another one has taken this import over")
        imports.keep(session, run.account, holder, _until_next(clock(), wait))
        return after

    with database.transaction() as session:
        done = take_in(session)
    return Step(done, wait)


def _until_next(now: dt.datetime, wait: float) -> dt.datetime:
    return now + dt.timedelta(seconds=wait) + NEXT_CALL


def _after(what: Listed) -> str:
    order = [*(one.value for one in Listed), DONE]
    return order[order.index(what.value) + 1]


def _running(last: Progress | None) -> str:
    until = f"{last.lease_until:%H:%M:%S} UTC" if last and last.lease_until else "half a minute"
    return f"an import of this account is under way; if it was stopped, go on with it after {until}"
