"""Webhooks to hosts: who hears of an event, and sending one. Other systems are called outside any transaction.

=================================  ===================================================================
died …                             what happens next
=================================  ===================================================================
before an event's deliveries       the event is due still, and another round makes them: each once
after the lease, before the post   the lease ends, another sender takes the delivery
after the post, before the record  the same: the host gets it twice, under the same `webhook-id`
=================================  ===================================================================
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.hook_addresses import BadUrl, read_url
from services.notifier.domain.hook_events import HostEvent, body_of
from services.notifier.domain.hook_shares import NOBODY_SLOW, Rotation, Slow
from services.notifier.domain.hook_signing import Signer
from services.notifier.domain.hooks import OBSERVED, Answered
from services.notifier.domain.observing import happened_at, observed_because
from services.notifier.handlers import hook_outcomes
from services.notifier.models import HookEvent
from services.notifier.ports import Hosts, Mode, Modes, Owner, Owners, PortalUnavailable
from services.notifier.queries import hook_deliveries, hook_endpoints, hook_events
from services.notifier.queries.hook_deliveries import HookLease
from shared.contracts.accounts import StripeCustomer
from shared.contracts.rpc.hooks import TEST_TYPE
from shared.database import Transactions
from shared.version import VERSION

TOLD_AT_ONCE: Final = 200
ASK_AGAIN_AFTER: Final = dt.timedelta(seconds=15)
"""Whether a business is live can't be asked now: nothing is sent for one that may not be."""
LOOKUP_WAITS: Final = tuple(dt.timedelta(seconds=one) for one in (5, 30, 120))
"""Waits for a customer whom the portal does not know yet. After them the installation's endpoints hear without; a business's
hears of the link (`customer.link_changed`), and asks."""


@dataclass(frozen=True, kw_only=True)
class HookContext:
    """Everything that webhooks need: the database, the other systems, and the clock and the jitter source."""

    db: Transactions
    owners: Owners
    modes: Modes
    hosts: Hosts
    signer: Signer
    now: Callable[[], dt.datetime]
    jitter: Callable[[], float]
    """Uniform in [0, 1)."""
    loopback: bool = False
    observes: bool = False
    """Whether the whole installation does."""


def tell_round(desk: HookContext) -> bool:
    """Make the deliveries of events that were written down; True when there may be more. Raises PortalUnavailable."""
    with desk.db.reading() as session:
        events = hook_events.untold(session, desk.now(), TOLD_AT_ONCE)
        whose = {one.hook_event_id: hook_events.as_told(one) for one in events}
    if not whose:
        return False
    ask = [one for one in whose.values() if not one.whose_is_known]
    known, known_here = desk.owners.owners(
        {customer for one in ask if (customer := one.stripe_customer) is not None},
        {one.portal_customer_id for one in ask if one.portal_customer_id},
    )
    with desk.db.transaction() as session:
        now = desk.now()
        rows = hook_events.lock_untold(session, list(whose), now)
        ready = [row for row in rows if _settle(row, known, known_here, now)]
        businesses = {row.business_id for row in ready if row.business_id is not None}
        endpoints = hook_endpoints.that_hear(session, businesses) if ready else []
        pairs = [
            (endpoint.endpoint_id, row.hook_event_id)
            for row in ready
            for endpoint in endpoints
            if endpoint.business_id in (None, row.business_id)
            and (not endpoint.event_types or row.type in endpoint.event_types)
        ]
        hook_events.deliver(session, pairs, now, now)
    return len(events) == TOLD_AT_ONCE


def _settle(
    row: HookEvent,
    known: Mapping[StripeCustomer, Owner],
    known_here: Mapping[str, Owner],
    now: dt.datetime,
) -> bool:
    """Whether its deliveries can be made now; else it is looked at again."""
    told = hook_events.as_told(row)
    if not told.whose_is_known:
        owner = known_here.get(told.portal_customer_id or "")
        if owner is None and told.stripe_customer is not None:
            owner = known.get(told.stripe_customer)
        if owner is not None:
            row.business_id, row.customer_id = owner.business_id, owner.customer_id
        elif row.lookups < len(LOOKUP_WAITS):
            row.due_at = now + LOOKUP_WAITS[row.lookups]
            row.lookups += 1
            return False
    row.due_at = None
    return True


def lease(
    desk: HookContext,
    limit: int,
    under_way: Mapping[str, int],
    slow: Slow = NOBODY_SLOW,
    rotation: Rotation | None = None,
) -> list[HookLease]:
    """Take up to `limit` deliveries that are due, of each owner its share, and of the businesses whose turn it is."""
    with desk.db.transaction() as session:
        return hook_deliveries.lease_due(session, desk.now(), limit, under_way, slow, rotation)


def send_one(desk: HookContext, lease: HookLease) -> tuple[str, Answered]:
    """Send one leased delivery and record what came of it; in a word, with the answer."""
    try:
        observed = _observed(desk, lease)
    except PortalUnavailable:
        with desk.db.transaction() as session:
            hook_outcomes.put_off(session, lease, desk.now() + ASK_AGAIN_AFTER)
        return "put_off", Answered(None, "portal_unavailable", 0)
    if observed:
        with desk.db.transaction() as session:
            hook_outcomes.record_observed(session, lease, desk.now())
        return OBSERVED.error or "", OBSERVED
    answer = _post(desk, lease)
    with desk.db.transaction() as session:
        outcome = hook_outcomes.record_attempt(session, lease, answer, desk.now(), desk.jitter())
    return outcome, answer


def _observed(desk: HookContext, lease: HookLease) -> bool:
    """Whether nothing goes out, since whose it is isn't live, or has gone live after it; a person's try of an endpoint does. Raises
    PortalUnavailable."""
    if lease.event.type == TEST_TYPE:
        return False
    mode = Mode(observes=True) if desk.observes else _mode(desk, lease.event)
    because = observed_because(
        None,
        observes=mode.observes,
        live_since=mode.live_since,
        happened=happened_at(lease.event.occurred_at, lease.received_at),
        wanted_at=lease.replayed_at,
    )
    return because is not None


def _mode(desk: HookContext, event: HostEvent) -> Mode:
    if event.business_id is not None:
        return desk.modes.of_business(event.business_id)
    if event.stripe_customer is not None:
        return desk.modes.of_customer(event.stripe_customer)
    return Mode()  # it is nobody's


def _post(desk: HookContext, lease: HookLease) -> Answered:
    try:
        target = read_url(lease.url, loopback=desk.loopback)
    except BadUrl:  # a rule that is newer than the endpoint, or a setting that was taken back
        return Answered(None, "refused_url", 0)
    body = body_of(lease.event)
    signed = desk.signer.headers(
        endpoint_id=lease.endpoint_id,
        generation=lease.generation,
        rotated_at=lease.rotated_at,
        message_id=lease.event.hook_event_id,
        body=body,
        now=desk.now(),
    )
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Portico/{VERSION} (webhooks)",
        **signed,
    }
    return desk.hosts.post(target, body, headers)
