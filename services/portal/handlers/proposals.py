"""Proposals that a Stripe customer is a customer, since both have one address; people accept or refuse them one by one.

What is proposed follows from what is known at the moment, so that it is never older than that; only decisions are rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import Standing, own_id
from services.portal.handlers import arguments, claiming, evidence, existing
from services.portal.handlers.claiming import HostWord
from services.portal.handlers.standing import Judged, judge_all
from services.portal.models import BusinessRow, CustomerRow, merchant_of
from services.portal.queries import customers as people
from services.portal.queries import links, profiles
from shared.contracts.accounts import Account
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.enrolment import (
    DecidedProposals,
    LinkProposal,
    LinkProposals,
    ProposedCustomer,
    UndecidedProposal,
)
from shared.contracts.rpc.errors import InvalidArgument, NotFound, RpcError

MOST_LISTED: Final = 500
MOST_DECIDED: Final = 100
EQUAL_EMAIL: Final = "equal_email"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
CHANGED: Final = (
    "this is no open proposal any more: somebody decided, or an address or a link has changed since"
)


def proposals(session: Session, *, business_id: str, after: str, limit: int) -> LinkProposals:
    """The Stripe customers of whom something is kept for a business, and who are none of its customers or may be claimed; but for those
    who may be another business's. Raises NotFound, InvalidArgument."""
    check_limit(limit, MOST_LISTED)
    business = existing.business(session, business_id)
    ids = profiles.page(session, merchant_of(business), after, limit)
    judged = judge_all(session, business, ids)
    return LinkProposals(
        proposals=[
            _proposal(business, one)
            for one in judged.values()
            if one.standing not in (Standing.CUSTOMER, Standing.ANOTHERS)
        ],
        next=ids[-1] if len(ids) == limit else None,
    )


def _proposal(business: BusinessRow, one: Judged) -> LinkProposal:
    proposed = one.standing is Standing.PROPOSED
    return LinkProposal(
        proposal_id=_proposal_id(one.stripe_customer_id, one.matches[0]) if proposed else None,
        account=business.account,
        stripe_customer_id=one.stripe_customer_id,
        email=one.profile.email,
        name=one.profile.name,
        standing=one.standing.value,
        doubt=None if one.doubt is None else one.doubt.value,
        candidates=[
            ProposedCustomer(
                customer_id=row.public_id,
                external_id=row.external_id,
                name=row.name,
                platform_stripe_customer_id=row.platform_stripe_customer_id,
            )
            for row in one.matches
        ],
        enrolled_as=None if one.customer is None else one.customer.public_id,
    )


def _proposal_id(stripe_customer_id: str, customer: CustomerRow) -> str:
    return f"{stripe_customer_id}:{customer.public_id}"


def accept(
    session: Session, *, proposal_ids: Sequence[str], decided_by: str, now: dt.datetime
) -> DecidedProposals:
    """A person's word that these belong together, each looked at again first: it has the rank of the host's. Safe to repeat. Raises
    InvalidArgument for too many."""

    def take(customer: CustomerRow, one: Judged) -> bool:
        if one.customer is customer and _decided(session, customer, one, ACCEPTED):
            return True
        if one.standing is not Standing.PROPOSED or one.matches != [customer]:
            return False
        _revoke_unless_theirs(session, customer, one, now)
        word = HostWord(customer.id, customer.public_id, one.stripe_customer_id)
        evidence.host_says(session, merchant_of(customer), [word], now)
        _note(session, customer, one, ACCEPTED, decided_by, now)
        return True

    return _decide(session, proposal_ids, take)


def _revoke_unless_theirs(
    session: Session, customer: CustomerRow, one: Judged, now: dt.datetime
) -> None:
    """Links of an enrolled customer went to the address that they had then. Who has typed another one's address at Stripe since must not
    see that one's page by them."""
    ids = [own_id(one.stripe_customer_id)]
    for row in people.enrolled(session, customer.business_pk, ids):
        unchanged = row.updated_at == row.enrolled_at
        if row is not customer and not (unchanged and row.email.lower() == customer.email.lower()):
            claiming.revoke_links(row, now)


def refuse(
    session: Session, *, proposal_ids: Sequence[str], decided_by: str, now: dt.datetime
) -> DecidedProposals:
    """A person's word that an equal address means nothing here: these are not proposed any more. What the host or metadata says of
    them counts as ever. Safe to repeat. Raises InvalidArgument for too many."""

    def take(customer: CustomerRow, one: Judged) -> bool:
        if _decided(session, customer, one, REFUSED):
            return True
        if customer not in one.matches:
            return False
        _note(session, customer, one, REFUSED, decided_by, now)
        return True

    return _decide(session, proposal_ids, take)


def _decide(
    session: Session,
    proposal_ids: Sequence[str],
    take: Callable[[CustomerRow, Judged], bool],
) -> DecidedProposals:
    if len(proposal_ids) > MOST_DECIDED:
        raise InvalidArgument(f"proposal_ids: expected at most {MOST_DECIDED}")
    links.lock(session)
    _lock_all(session, proposal_ids)
    decided: list[str] = []
    left: list[UndecidedProposal] = []
    for proposal_id in proposal_ids:
        try:
            done = take(*_found(session, proposal_id))
        except RpcError as error:
            left.append(UndecidedProposal(proposal_id=proposal_id, error=str(error)))
        else:
            if done:
                decided.append(proposal_id)
            else:
                left.append(UndecidedProposal(proposal_id=proposal_id, error=CHANGED))
    return DecidedProposals(decided=decided, left=left)


def _lock_all(session: Session, proposal_ids: Sequence[str]) -> None:
    """Lock whomever these are about before anything is done, in the order in which others lock several customers."""
    named = [proposal_id.partition(":") for proposal_id in proposal_ids]
    customers = [
        people.customer(session, one) for one in {customer_id for *_, customer_id in named}
    ]
    of = {row.business_pk for row in customers if row is not None}
    enrolled = people.keys_of_enrolled(session, of, {own_id(stripe_id) for stripe_id, *_ in named})
    people.lock(session, {row.id for row in customers if row is not None} | enrolled)


def _found(session: Session, proposal_id: str) -> tuple[CustomerRow, Judged]:
    """What a proposal is about, as it is now. Raises InvalidArgument, NotFound."""
    stripe_id, _, customer_id = proposal_id.partition(":")
    stripe_id = arguments.stripe_customer("proposal_ids", stripe_id)
    customer = people.customer(session, customer_id, lock=True)
    if customer is None:
        raise NotFound("this proposal's customer is not there any more")
    business = session.get_one(BusinessRow, customer.business_pk)
    judged = judge_all(session, business, [stripe_id]).get(stripe_id)
    if judged is None:
        raise NotFound(CHANGED)
    return customer, judged


def _decided(session: Session, customer: CustomerRow, one: Judged, state: str) -> bool:
    known = profiles.decisions(session, Account(customer.account), [one.stripe_customer_id])
    word = known.get((one.stripe_customer_id, customer.public_id))
    return word is not None and word.state == state


def _note(
    session: Session, customer: CustomerRow, one: Judged, state: str, by: str, now: dt.datetime
) -> None:
    profiles.note_decision(
        session,
        customer,
        one.stripe_customer_id,
        why=EQUAL_EMAIL,
        state=state,
        by=arguments.text("decided_by", by, 200),
        now=now,
    )
