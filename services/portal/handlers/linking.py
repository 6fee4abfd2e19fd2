"""Doing what the evidence decides. Whatever changes a row of evidence ends in `settle`, which decides anew over what stands
(`services/portal/domain/linking.py`) and writes the outcome to `customers.platform_stripe_customer_id`, from where the page
reads it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import own_id
from services.portal.domain.linking import Claim, Conflict, Source, decide_standing
from services.portal.domain.people import new_public_id
from services.portal.handlers import host_events
from services.portal.handlers.cancelling import overtake_all
from services.portal.metrics import LINK_CHANGES, LINK_CONFLICTS
from services.portal.models import LinkConflictRow, LinkEvidenceRow
from services.portal.queries import customers as people
from services.portal.queries import link_conflicts, links, merging, outbox, waiting_addresses
from services.portal.queries.links import Component, Customer
from shared import events
from shared.contracts.accounts import Merchant, StripeId, account_shown
from shared.database import count_on_commit
from shared.outbox import Outgoing
from shared.telemetry import get_logger

log = get_logger(__name__)


def settle(
    session: Session,
    merchant: Merchant,
    stripe_ids: Collection[str],
    customers: Collection[int],
    now: dt.datetime,
    *,
    imported: bool = False,
) -> None:
    """Decide anew about these Stripe customers and these customers (by key) of a merchant, with all that evidence connects them to.
    `imported`: an import is why.

    The caller holds `links.lock`. What changes and what is refused is logged, counted, and told to notifier and host.
    """
    session.flush()
    found = links.component(session, merchant, stripe_ids, customers)
    _weigh_unknown(session, found, now)
    decision = decide_standing(found.spells())
    claimed = _claimed(found, decision.links)
    if claimed:  # whose links are revoked at this moment, those stay so
        people.lock(session, {one.row.id for pair in claimed for one in pair[:2]})
    for enrolled, customer, stripe_id in claimed:
        merging.hand_over(session, enrolled.row, customer.row, stripe_id)
    told = [
        *_link(session, found, decision.links, now, imported=imported),
        *_refuse(session, found, decision.conflicts, now),
    ]
    _tell(session, told, now)
    for enrolled, _, _ in claimed:
        session.delete(enrolled.row)
    session.flush()


def _claimed(found: Component, wanted: Mapping[int, Claim]) -> list[tuple[Customer, Customer, str]]:
    """The enrolled customers who lose their Stripe customer to another one of their business by a word that takes Stripe's secret key or
    is the host's: both are the same person. A reference is no such word: whoever holds one would see the other one's page."""
    enrolled = {
        (one.row.business_pk, one.row.external_id): one
        for one in found.customers.values()
        if one.row.enrolled_at is not None
    }
    merged = []
    for key, claim in sorted(wanted.items()):
        customer, stripe_id = found.customers[key], claim.stripe_customer_id
        one = enrolled.get((customer.row.business_pk, own_id(stripe_id)))
        if one is None or one is customer:
            continue
        lost = one.row.platform_stripe_customer_id is None and claim.source is Source.HOST
        if lost or (
            one.row.platform_stripe_customer_id == stripe_id
            and claim.source in (Source.HOST, Source.METADATA)
        ):
            merged.append((one, customer, stripe_id))
    return merged


def _tell(session: Session, told: Sequence[events.Data], now: dt.datetime) -> None:
    """Tell the notifier, and hosts in whatever way they listen."""
    outgoing = [_outgoing(data, now) for data in told]
    outbox.OUTBOX.add(session, outgoing, now)
    host_events.note(session, [one.event for one in outgoing], now)


def release(
    session: Session, merchant: Merchant, linked: Sequence[Customer], now: dt.datetime
) -> set[str]:
    """Unlink these customers of a merchant's, whatever is said of them, and tell of it; the Stripe customers that they had. The
    caller holds the lock, and moves them to where nothing of what was said counts."""
    stripe_ids = {one.row.platform_stripe_customer_id or "" for one in linked}
    unknown = {one.row.id for one in linked if one.row.link_source in (None, Source.UNKNOWN)}
    if (
        unknown
    ):  # what nobody has spoken of becomes evidence, so that it is there for whoever comes back
        settle(session, merchant, (), unknown, now)
    found = Component(merchant, customers={one.row.id: one for one in linked})
    told = _link(session, found, {}, now)
    _tell(session, told, now)
    return stripe_ids


def _weigh_unknown(session: Session, found: Component, now: dt.datetime) -> None:
    """A link of which nobody ever spoke is of a release that kept no evidence: it becomes evidence of unknown source, until
    somebody speaks of it. Whoever then takes it back has unlinked it."""
    spoken = {
        (row.stripe_customer_id, key)
        for row in found.evidence
        if row.source != Source.UNKNOWN and not row.refused
        for key in (found.named(row), found.named_before(row))
    }
    unknown = {
        (row.stripe_customer_id, found.named(row)): row
        for row in found.evidence
        if row.source == Source.UNKNOWN
    }
    for pair, row in unknown.items():
        if pair in spoken and row.withdrawn_at is None:
            row.withdrawn_at = now
    for key, customer in found.customers.items():
        stripe_id = customer.row.platform_stripe_customer_id
        if stripe_id is None or (stripe_id, key) in spoken | unknown.keys():
            continue
        if customer.row.link_source not in (None, Source.UNKNOWN):
            continue  # what was said of it speaks for another merchant now
        row = LinkEvidenceRow(
            account=found.merchant.account,
            on_behalf_of=found.merchant.on_behalf_of,
            stripe_customer_id=stripe_id,
            source=Source.UNKNOWN,
            object_id=customer.row.public_id,
            customer_ref=customer.row.public_id,
            denies=False,
            said_at=customer.row.created_at,
            noted_at=now,
        )
        session.add(row)
        found.evidence.append(row)
    session.flush()


def _link(
    session: Session,
    found: Component,
    wanted: Mapping[int, Claim],
    now: dt.datetime,
    *,
    imported: bool = False,
) -> list[events.Data]:
    """Write the links as they are wanted; what notifier and host should hear of it."""
    changes: list[tuple[Customer, str | None, Claim | None]] = []
    for key, customer in sorted(found.customers.items()):
        claim, row = wanted.get(key), customer.row
        before = row.platform_stripe_customer_id
        if before != _stripe_id(claim):
            changes.append((customer, before, claim))
            # First nobody has it: one Stripe customer may go from one of them to another.
            row.platform_stripe_customer_id = None
        row.link_source = None if claim is None else claim.source
    waiting_addresses.touch(session, [customer.row for customer, *_ in changes], now)
    session.flush()
    told: list[events.Data] = []
    for customer, before, claim in changes:
        customer.row.platform_stripe_customer_id = _stripe_id(claim)
        if before is not None:
            overtake_all(session, customer.row.id, StripeId(found.merchant.account, before), now)
        told += _change(session, customer, before, claim, imported=imported)
    session.flush()
    return told


def _stripe_id(claim: Claim | None) -> str | None:
    return None if claim is None else claim.stripe_customer_id


def _change(
    session: Session,
    customer: Customer,
    before: str | None,
    claim: Claim | None,
    *,
    imported: bool,
) -> Iterator[events.Data]:
    change = "linked" if before is None else "unlinked" if claim is None else "replaced"
    source = "none" if claim is None else claim.source.value
    count_on_commit(session, LINK_CHANGES.labels(source, change))
    # Not each line of an import.
    if change != "linked" or not (imported or source in (Source.HOST, Source.ENROLLED)):
        say = log.info if change == "linked" else log.warning
        say(
            f"customer {change}",
            customer_id=customer.row.public_id,
            stripe_customer_id=_stripe_id(claim),
            previous_stripe_customer_id=before,
            evidence=source,
            **account_shown(customer.row.account),
        )
    yield events.CustomerLinkChanged(
        account=customer.row.account,
        customer_id=customer.row.public_id,
        external_id=customer.row.external_id,
        business_id=customer.business_id,
        on_behalf_of=customer.row.on_behalf_of,
        stripe_customer_id=_stripe_id(claim),
        previous_stripe_customer_id=before,
        evidence=None if claim is None else claim.source.value,
        imported=imported,
    )


def _refuse(
    session: Session, found: Component, conflicts: Iterable[Conflict], now: dt.datetime
) -> list[events.Data]:
    """Keep the conflicts on record, each once while it lasts; what the host should hear of it."""
    on_record = link_conflicts.conflicts_of(session, found)
    event_ids = {row.id: row.event_id for row in found.evidence}
    told: list[events.Data] = []
    lasting = set()
    for conflict in conflicts:
        claim, customer = conflict.claim, found.customers[conflict.claim.customer]
        key = (claim.stripe_customer_id, customer.row.public_id)
        lasting.add(key)
        row = on_record.get(key)
        if row is None:
            row = on_record[key] = LinkConflictRow(
                account=found.merchant.account,
                on_behalf_of=found.merchant.on_behalf_of,
                stripe_customer_id=key[0],
                customer_id=key[1],
            )
            session.add(row)
        elif row.resolved_at is None:
            continue
        row.reason, row.evidence = conflict.reason.value, claim.source.value
        row.event_id = event_ids[claim.id] or ""
        row.seen_at, row.resolved_at = now, None
        told.append(_refusal(session, customer, conflict))
    for key, row in on_record.items():
        if key not in lasting and row.resolved_at is None:
            row.resolved_at = now
    session.flush()
    return told


def _refusal(session: Session, customer: Customer, conflict: Conflict) -> events.Data:
    claim = conflict.claim
    count_on_commit(session, LINK_CONFLICTS.labels("event"))
    log.warning(
        "link refused",
        reason=conflict.reason.value,
        stripe_customer_id=claim.stripe_customer_id,
        customer_id=customer.row.public_id,
        evidence=claim.source.value,
        **account_shown(customer.row.account),
    )
    return events.CustomerLinkRefused(
        account=customer.row.account,
        customer_id=customer.row.public_id,
        external_id=customer.row.external_id,
        business_id=customer.business_id,
        on_behalf_of=customer.row.on_behalf_of,
        stripe_customer_id=claim.stripe_customer_id,
        reason=conflict.reason.value,
        evidence=claim.source.value,
    )


def _outgoing(data: events.Data, now: dt.datetime) -> Outgoing:
    name = f"link_{new_public_id()}"
    event = events.Event(id=f"{name}/{data.type}", occurred_at=now, correlation_id=name, data=data)
    return Outgoing(event, event.id)
