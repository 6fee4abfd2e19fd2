"""Taking in evidence of whose a Stripe customer is: Stripe's word and the host's. Each call is one transaction, the
caller's, and ends in `settle`, which does what the evidence decides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.linking import CustomerRef, Source, reference_problem, sequence
from services.portal.domain.people import is_public_id
from services.portal.handlers import claiming
from services.portal.handlers.claiming import HostWord
from services.portal.handlers.linking import settle
from services.portal.metrics import LINK_EVIDENCE
from services.portal.models import CustomerRow, LinkEvidenceRow, merchant_of
from services.portal.queries import aliases, links, processed_events, profiles
from services.portal.queries import behalves as behalf_queries
from services.portal.tokens.references import CheckoutReference, CheckoutReferences
from services.portal.tokens.signing import BadToken
from shared.contracts.accounts import Account, Merchant, StripeId, account_shown
from shared.contracts.rpc.errors import StripeCustomerConflict
from shared.database import count_on_commit
from shared.events import CustomerEvidenceChanged, Event
from shared.telemetry import get_logger

log = get_logger(__name__)

CHECKOUT: Final = "checkout.session"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one event of billing's says."""

    account: Account
    event_id: str
    stripe_event: str
    stripe_customer_id: str
    object_id: str
    source: Source
    said_at: dt.datetime
    on_behalf_of: str = ""
    """For whose customers it speaks; of a reference that is found out when it is taken in."""
    names: CustomerRef | None = None
    before: CustomerRef | None = None
    reference: CheckoutReference | None = None
    """The signed reference that names the customer."""
    imported: bool = False
    refused: str | None = None


def read_evidence(event: Event, references: CheckoutReferences) -> Evidence | None:
    """What an event says, with its reference verified; None when it is of another type."""
    data = event.data
    if not isinstance(data, CustomerEvidenceChanged):
        return None
    read = Evidence(
        account=Account(data.account),
        event_id=event.id,
        stripe_event=event.correlation_id[:255],
        stripe_customer_id=data.stripe_customer_id,
        object_id=data.object_id,
        source=Source.REFERENCE if data.evidence == CHECKOUT else Source.METADATA,
        on_behalf_of=data.on_behalf_of,
        said_at=event.occurred_at,
        imported=data.imported,
        names=_named(data.customer_id, data.business_id),
        before=_named(data.previous_customer_id, data.previous_business_id),
    )
    if read.source is Source.METADATA:
        return read
    try:
        reference = references.read(data.reference or "")
    except BadToken:
        return replace(read, refused="not_signed")
    return replace(
        read,
        names=CustomerRef(reference.public_id),
        reference=reference,
        refused=reference_problem(reference.made_at, data.session_created),
    )


def _named(customer_id: str | None, business_id: str | None) -> CustomerRef | None:
    """Whom metadata names. The host's own id counts only with its business: another business may have the same one, and
    other tools write numbers into `customer_id`."""
    if customer_id is None or not (business_id or is_public_id(customer_id)):
        return None
    return CustomerRef(customer_id, business_id)


# --- Stripe's word -------------------------------------------------------------------------------------------


def take_in(session: Session, batch: Sequence[Evidence], now: dt.datetime) -> list[bool]:
    """Take in evidence that came together, each event once, and decide over what is new, then over what an import brings. False: it was
    taken in before."""
    links.lock(session)
    outcomes = processed_events.first_times(session, [one.event_id for one in batch], now)
    mine = [*compress(batch, outcomes)]
    for account, imported in sorted({(one.account, one.imported) for one in mine}):
        said = [one for one in mine if (one.account, one.imported) == (account, imported)]
        _take_all(session, account, said, now, imported=imported)
    return outcomes


def _take_all(
    session: Session,
    account: Account,
    mine: Sequence[Evidence],
    now: dt.datetime,
    *,
    imported: bool,
) -> None:
    """What was said in one account, all by an import or none of it, and was not taken in before."""
    mine = _of_merged(session, mine)
    stripe_ids = {one.stripe_customer_id for one in mine}
    gone = links.deleted_of(session, account, stripe_ids)
    known = links.evidence_of(session, account, {one.object_id for one in mine})
    for one in mine:
        rows = known.setdefault(one.object_id, [])
        outcome = "gone" if one.stripe_customer_id in gone else _take(session, one, rows, now)
        count_on_commit(session, LINK_EVIDENCE.labels(one.source, outcome))
    session.flush()
    for rows in known.values():
        _let_stand([row for row in rows if row.source == Source.METADATA])
    behalves = {row.on_behalf_of for rows in known.values() for row in rows} or {""}
    said = [Merchant(account, on_behalf_of) for on_behalf_of in behalves]
    for merchant in sorted(set(behalf_queries.merchants(session, said).values())):
        settle(session, merchant, stripe_ids - gone, (), now, imported=imported)


def _take(session: Session, one: Evidence, rows: list[LinkEvidenceRow], now: dt.datetime) -> str:
    """Keep one piece of evidence beside what its object said before; what became of it, one word."""
    refused, on_behalf_of = one.refused, one.on_behalf_of
    if one.reference is not None and refused is None:
        refused, on_behalf_of = _whose(session, one)
    if one.source is Source.METADATA and one.names is None and one.before is None:
        return "names_nobody"
    row = LinkEvidenceRow(
        account=one.account,
        stripe_customer_id=one.stripe_customer_id,
        source=one.source,
        object_id=one.object_id,
        customer_ref=one.names and one.names.customer,
        business_ref=one.names and one.names.business,
        on_behalf_of=on_behalf_of,
        previous_customer_ref=one.before and one.before.customer,
        previous_business_ref=one.before and one.before.business,
        denies=False,
        refused=refused,
        event_id=one.stripe_event,
        said_at=one.said_at,
        noted_at=now,
        withdrawn_at=one.said_at if refused else None,
    )
    if any(_same(row, other) for other in rows):
        return "repeated"
    session.add(row)
    rows.append(row)
    if refused is None:
        return "taken"
    log.warning(
        "checkout reference refused",
        reason=refused,
        stripe_customer_id=one.stripe_customer_id,
        session_id=one.object_id,
        event_id=one.stripe_event,
        **account_shown(one.account),
    )
    return refused


def _same(row: LinkEvidenceRow, other: LinkEvidenceRow) -> bool:
    """Whether two rows of one object say the same. A session says one thing in its life."""
    if row.source == Source.REFERENCE:
        return True
    return all(
        getattr(row, name) == getattr(other, name)
        for name in (
            "said_at",
            "on_behalf_of",
            "customer_ref",
            "business_ref",
            "previous_customer_ref",
            "previous_business_ref",
        )
    )


def _of_merged(session: Session, mine: Sequence[Evidence]) -> list[Evidence]:
    """The same evidence, where an id of Portico's is that of a customer who was merged: it names the one who is there."""
    refs = {ref.customer for one in mine for ref in (one.names, one.before) if ref is not None}
    leads = aliases.targets(session, {ref for ref in refs if is_public_id(ref)})
    if not leads:
        return list(mine)

    def named(ref: CustomerRef | None) -> CustomerRef | None:
        target = None if ref is None else leads.get(ref.customer)
        return replace(ref, customer=target.customer_id) if ref and target else ref

    return [replace(one, names=named(one.names), before=named(one.before)) for one in mine]


def _whose(session: Session, one: Evidence) -> tuple[str | None, str]:
    """Why a signed reference names nobody here (None: it names a customer of the business that it was made for), and on whose
    behalf that business is charged for."""
    named = "" if one.names is None else one.names.customer
    business = links.business_of(session, one.account, named)
    if business is None or one.reference is None:
        return "no_such_customer", ""
    mine = one.reference.is_of(business.business_id)
    return None if mine else "other_business", business.on_behalf_of


def _let_stand(rows: Sequence[LinkEvidenceRow]) -> None:
    """Of all that one object said, its last word stands, since it was first said without a break."""
    if not rows:
        return
    spoken = sequence(links.statement(row) for row in rows)
    ends = [one.said_at for one in spoken[1:]] + [None]
    until = {one.id: end for one, end in zip(spoken, ends, strict=True)}
    for row in rows:
        row.withdrawn_at = until.get(row.id, row.said_at)


def forget_stripe_customer(
    session: Session, stripe_customer: StripeId, at: dt.datetime, now: dt.datetime
) -> None:
    """Stripe has deleted its customer: whatever was said of it is withdrawn for good."""
    links.lock(session)
    links.note_deleted(session, stripe_customer, at)
    profiles.forget(session, stripe_customer)
    for merchant in sorted(links.merchants_of(session, stripe_customer)):
        settle(session, merchant, {stripe_customer.id}, (), now)


# --- the host's word -----------------------------------------------------------------------------------------


def host_says(
    session: Session, merchant: Merchant, words: Sequence[HostWord], now: dt.datetime
) -> None:
    """Take the host's word about customers of one merchant, of which each replaces what it said of the same customer before. The caller holds the lock.

    Raises StripeCustomerConflict when the host has given a Stripe customer to somebody else, and not taken it back.
    """
    if not words:
        return
    claiming.withdraw_from_enrolled(session, words, now)
    claimed = links.claimed_by_host(session, merchant, {one.stripe_customer_id for one in words})
    new = {one.public_id: one.stripe_customer_id for one in words}
    known = _host_words(session, merchant, {one.public_id for one in words})
    for one in words:
        owner = claimed.get(one.stripe_customer_id, one.public_id)
        if (
            owner != one.public_id
            and new.get(owner, one.stripe_customer_id) == one.stripe_customer_id
        ):
            raise StripeCustomerConflict("this Stripe customer already belongs to another customer")
        for row in known.get(one.public_id, ()):
            same = row.stripe_customer_id == one.stripe_customer_id
            if same or not row.denies:
                row.withdrawn_at = now
        session.add(_host_row(merchant, one.public_id, one.stripe_customer_id, now, denies=False))
        count_on_commit(session, LINK_EVIDENCE.labels(Source.HOST, "taken"))
    session.flush()
    settle(
        session,
        merchant,
        {one.stripe_customer_id for one in words},
        {one.customer for one in words},
        now,
    )


def host_denies(session: Session, row: CustomerRow, stripe_id: str, now: dt.datetime) -> None:
    """The host says that a customer is *not* this Stripe customer: nothing weaker links the two until the host does. The
    caller holds the lock."""
    _withdraw(session, row, stripe_id, now)
    session.add(_host_row(merchant_of(row), row.public_id, stripe_id, now, denies=True))
    count_on_commit(session, LINK_EVIDENCE.labels(Source.HOST, "denied"))
    settle(session, merchant_of(row), {stripe_id}, {row.id}, now)


def host_withdraws(
    session: Session, row: CustomerRow, stripe_id: str | None, now: dt.datetime
) -> None:
    """The host takes back what it said of a customer, of one Stripe customer or of all: what Stripe says decides. The caller
    holds the lock."""
    _withdraw(session, row, stripe_id, now)
    count_on_commit(session, LINK_EVIDENCE.labels(Source.HOST, "withdrawn"))
    settle(session, merchant_of(row), {stripe_id} if stripe_id else (), {row.id}, now)


def _withdraw(session: Session, row: CustomerRow, stripe_id: str | None, now: dt.datetime) -> None:
    said = _host_words(session, merchant_of(row), {row.public_id})
    for one in said.get(row.public_id, ()):
        if stripe_id in (None, one.stripe_customer_id):
            one.withdrawn_at = now
    session.flush()


def _host_words(
    session: Session, merchant: Merchant, public_ids: Collection[str]
) -> dict[str, list[LinkEvidenceRow]]:
    """What stands of what the host said of a merchant's customers."""
    said = links.evidence_of(session, merchant.account, public_ids)
    return {
        public_id: [
            row
            for row in rows
            if row.source == Source.HOST
            and row.withdrawn_at is None
            and row.on_behalf_of == merchant.on_behalf_of
        ]
        for public_id, rows in said.items()
    }


def _host_row(
    merchant: Merchant, public_id: str, stripe_id: str, now: dt.datetime, *, denies: bool
) -> LinkEvidenceRow:
    return LinkEvidenceRow(
        account=merchant.account,
        on_behalf_of=merchant.on_behalf_of,
        stripe_customer_id=stripe_id,
        source=Source.HOST,
        object_id=public_id,
        customer_ref=public_id,
        denies=denies,
        said_at=now,
        noted_at=now,
    )


def customers_came(
    session: Session,
    merchant: Merchant,
    business_id: str,
    keys: dict[str, int],
    now: dt.datetime,
) -> None:
    """The host has told of new customers (the key of each by the host's id): Stripe may have named them before. The caller
    holds the lock."""
    waiting = links.named_already(session, merchant, business_id, keys)
    if waiting:
        settle(session, merchant, (), {keys[external_id] for external_id in waiting}, now)
