"""What there is to say for a link, and against it: for people, and for the story of a customer."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.linking import (
    Claim,
    Effect,
    Reason,
    Source,
    decide_standing,
    history,
)
from services.portal.handlers import existing
from services.portal.models import CustomerRow, LinkConflictRow, LinkEvidenceRow, merchant_of
from services.portal.queries import link_conflicts, links
from services.portal.queries.links import Component
from shared.contracts.accounts import Account, StripeId
from shared.contracts.rpc.portal import (
    Evidence,
    EvidenceConflict,
    EvidenceLink,
    LinkEvidence,
    UnknownLink,
    UnknownLinks,
)

MOST_EVIDENCE: Final = 500


def evidence(
    session: Session,
    account: Account,
    *,
    customer_id: str | None,
    stripe_customer_id: str | None,
) -> LinkEvidence:
    """What speaks for and against links, about a customer, or a Stripe customer, and all that is decided with them. The
    newest 500 pieces. Raises NotFound for a customer that is not there."""
    components = _found(session, account, customer_id, stripe_customer_id)
    said = [
        _evidence(found, row, effects.get(row.id))
        for found in components
        for effects in [decide_standing(found.spells()).effects]
        for row in found.evidence
    ]
    open_conflicts = [
        row
        for found in components
        for row in link_conflicts.conflicts_of(session, found).values()
        if row.resolved_at is None
    ]
    return LinkEvidence(
        evidence=sorted(said, key=lambda one: one.said_at)[-MOST_EVIDENCE:],
        conflicts=[
            EvidenceConflict.of(row) for row in sorted(open_conflicts, key=lambda row: row.seen_at)
        ],
        links=[
            EvidenceLink.of(
                one.row,
                customer_id=one.row.public_id,
                stripe_customer_id=one.row.platform_stripe_customer_id,
                source=one.row.link_source or Source.UNKNOWN.value,
            )
            for found in components
            for one in found.customers.values()
            if one.row.platform_stripe_customer_id is not None
        ],
    )


def _found(
    session: Session, account: Account, customer_id: str | None, stripe_customer_id: str | None
) -> list[Component]:
    """What is decided together with a customer; or with a Stripe customer, for each of whose behalf there is something."""
    if customer_id is None:
        return (
            []
            if stripe_customer_id is None
            else _about(session, StripeId(account, stripe_customer_id))
        )
    row = existing.customer(session, customer_id)
    return [links.component(session, merchant_of(row), (), [row.id])]


def _about(session: Session, stripe_customer: StripeId) -> list[Component]:
    merchants = sorted(links.merchants_of(session, stripe_customer))
    return [links.component(session, one, [stripe_customer.id], ()) for one in merchants]


def _effect(found: Component, row: LinkEvidenceRow, decided: Effect | None) -> Effect:
    if row.refused:
        return Effect.REFUSED
    if row.withdrawn_at is not None or row.stripe_customer_id in found.deleted:
        return Effect.WITHDRAWN
    if row.customer_ref is None:
        return Effect.SILENT
    if row.denies:
        return Effect.DECIDES
    return decided or Effect.WAITS


def _evidence(found: Component, row: LinkEvidenceRow, decided: Effect | None) -> Evidence:
    named = found.named(row)
    return Evidence.of(
        row,
        customer_id=None if named is None else found.customers[named].row.public_id,
        names=row.customer_ref,
        business_id=row.business_ref,
        effect=_effect(found, row, decided).value,
        reason=row.refused,
    )


def unknown(session: Session, *, business_id: str | None, after: int, limit: int) -> UnknownLinks:
    """Customers whose link is of unknown source. Raises NotFound for the business."""
    business = existing.business(session, business_id) if business_id is not None else None
    found = links.unknown_links(session, business.id if business else None, after, limit)
    return UnknownLinks(
        links=[
            UnknownLink.of(
                one.row,
                customer_id=one.row.public_id,
                business_id=one.business_id,
                stripe_customer_id=one.row.platform_stripe_customer_id or "",
            )
            for one in found
        ],
        next=found[-1].row.id if len(found) == limit else None,
    )


# --- the story -----------------------------------------------------------------------------------------------

SAYS: Final = {
    Source.HOST.value: "the host application",
    Source.METADATA.value: "metadata on {object}",
    Source.REFERENCE.value: "the signed reference of Checkout session {object}",
    Source.ENROLLED.value: "enrolment from Stripe",
    Source.UNKNOWN.value: "a release before evidence was kept",
}


REFUSED: Final = {
    "not_signed": "Portico did not sign it",
    "no_session_time": "Stripe does not say when the session began",
    "before_it_was_made": "the session began before it was made",
    "too_old": "it was too old when the session began",
    "no_such_customer": "it names a customer that is not there",
    "other_business": "it was made for another business",
    Reason.STRIPE_CUSTOMER_TAKEN.value: "the Stripe customer is another customer's by a word of the same rank",
    Reason.CUSTOMER_HAS_ANOTHER.value: "the customer has another Stripe customer by a word of the same rank",
    Reason.SAID_AT_ONCE.value: "two that disagree were said in the same second",
}
"""Why a reference was no evidence, or a link was refused."""


def refusals(session: Session, stripe_customer: StripeId) -> list[tuple[dt.datetime, str, str]]:
    """When, which step, and in words: what was refused that would have linked somebody with a Stripe customer, as far as it
    still stands."""
    stripe_customer_id, told = stripe_customer.id, []
    for found in _about(session, stripe_customer):
        told += [
            step
            for row in found.evidence[-MOST_EVIDENCE:]
            if row.refused and row.stripe_customer_id == stripe_customer_id
            for step in _said(found, row)
        ]
        for row in link_conflicts.conflicts_of(session, found).values():
            if row.stripe_customer_id == stripe_customer_id and row.resolved_at is None:
                told += _refused(row)
    return told


def steps(
    session: Session, account: Account, *, customer: int | None, stripe_customer_id: str | None
) -> list[tuple[dt.datetime, str, str]]:
    """When, which step, and in words: the evidence about a customer (by key), else about a Stripe customer, and what it
    decided about the customer."""
    if customer is not None:
        return _steps_of(session, session.get_one(CustomerRow, customer), stripe_customer_id)
    told: list[tuple[dt.datetime, str, str]] = []
    if stripe_customer_id is None:
        return told
    for found in _about(session, StripeId(account, stripe_customer_id)):
        told += [step for row in found.evidence[-MOST_EVIDENCE:] for step in _said(found, row)]
        for row in link_conflicts.conflicts_of(session, found).values():
            if row.stripe_customer_id == stripe_customer_id:
                told += _refused(row)
    return told


def _steps_of(
    session: Session, customer: CustomerRow, stripe_customer_id: str | None
) -> list[tuple[dt.datetime, str, str]]:
    stripe_ids = [stripe_customer_id] if stripe_customer_id else []
    found = links.component(session, merchant_of(customer), stripe_ids, [customer.id])
    told = [
        step
        for row in found.evidence[-MOST_EVIDENCE:]
        if found.named(row) == customer.id or row.refused
        for step in _said(found, row)
    ]
    told += [_changed(at, claim) for at, claim in history(found.spells(), customer.id)]
    for row in link_conflicts.conflicts_of(session, found).values():
        if customer.public_id == row.customer_id or stripe_customer_id == row.stripe_customer_id:
            told += _refused(row)
    return told


def _refused(row: LinkConflictRow) -> list[tuple[dt.datetime, str, str]]:
    pair = f"{row.customer_id} was not linked with {row.stripe_customer_id} ({row.evidence})"
    why = REFUSED.get(row.reason, row.reason)
    told = [(row.seen_at, "link_refused", f"{pair}: {row.reason}, {why}")]
    if row.resolved_at is not None:
        told.append((row.resolved_at, "link_settled", f"that no longer stands: {pair}"))
    return told


def _said(found: Component, row: LinkEvidenceRow) -> list[tuple[dt.datetime, str, str]]:
    who = SAYS[row.source].format(object=row.object_id)
    stripe_id = row.stripe_customer_id
    if row.refused:
        text = f"a reference in Checkout session {row.object_id} of {stripe_id} was refused: {row.refused}, {REFUSED.get(row.refused, 'see the log')}"
        return [(row.said_at, "evidence_refused", text)]
    named = found.named(row)
    whom = found.customers[named].row.public_id if named in found.customers else row.customer_ref
    if row.customer_ref is None:
        said = f"{who} names nobody any more"
    elif row.denies:
        said = f"{who} said that {stripe_id} is not {whom}"
    else:
        said = f"{who} said that {stripe_id} is {whom}"
    told = [(row.said_at, "evidence", said)]
    if row.withdrawn_at is not None:
        told.append((row.withdrawn_at, "evidence_withdrawn", f"that no longer stands: {said}"))
    return told


def _changed(at: dt.datetime, claim: Claim | None) -> tuple[dt.datetime, str, str]:
    if claim is None:
        return at, "unlinked", "by what was said until then, the customer is linked with nobody"
    text = f"by what was said until then, the customer is linked with {claim.stripe_customer_id} ({claim.source})"
    return at, "linked", text
