"""The host claims a customer who was enrolled from Stripe: by its word that one of its own is the same Stripe customer.

Who has no other row in the host's name keeps the one that is there, with its links; else the two are merged when the word is decided upon
(`handlers/linking.py`). The caller holds the lock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import OWN_IDS, own_id
from services.portal.models import CustomerRow
from services.portal.queries import customers as people
from services.portal.queries import merging, profiles
from shared.contracts.rpc.errors import InvalidArgument

RESERVED: Final = (
    f"external_id: ids that begin with {OWN_IDS} are of customers who are enrolled from Stripe; "
    "give your own id of this customer, and their platform_stripe_customer_id to claim one of those"
)


@dataclass(frozen=True, slots=True)
class HostWord:
    """The host says that a customer is this Stripe customer."""

    customer: int
    public_id: str
    stripe_customer_id: str


def refuse_reserved(external_id: str) -> None:
    """Raises InvalidArgument for an id that no new customer of the host's may have. Those that stand are kept."""
    if external_id.startswith(OWN_IDS):
        raise InvalidArgument(RESERVED)


def revoke_links(row: CustomerRow, now: dt.datetime) -> None:
    """Make the links of an enrolled customer, whom the caller has locked, and of those merged into them worth nothing, also once they lead
    to another one."""
    row.link_generation += 1
    row.updated_at = now


def adopt(session: Session, business_pk: int, words: Mapping[str, str], now: dt.datetime) -> None:
    """Make enrolled customers the host's: `words` are Stripe customers by the host's own ids, of which those that nobody has yet are
    given to the enrolled ones. What the host says of their names and addresses, and its word itself, are for the caller."""
    if not words:
        return
    there = profiles.own_ids(session, business_pk, words.keys())
    wanted = {own_id(stripe_id): external_id for external_id, stripe_id in words.items()}
    for row in people.enrolled(session, business_pk, wanted.keys()):
        external_id = wanted[row.external_id]
        if external_id in there or external_id.startswith(OWN_IDS):
            continue
        if row.platform_stripe_customer_id in (None, words[external_id]):
            if merging.host_refused(session, row, words[external_id]):
                revoke_links(row, now)
            row.external_id, row.enrolled_at, row.updated_at = external_id, None, now
    session.flush()


def withdraw_from_enrolled(session: Session, words: Sequence[HostWord], now: dt.datetime) -> None:
    """What the host said of enrolled customers and these Stripe customers, it says of its own ones from now on. Where it had said that an
    enrolled one is not that Stripe customer, that one's links are somebody else's: they open nothing when the two are merged."""
    own = {own_id(one.stripe_customer_id): one for one in words}
    for business_pk in people.businesses_of(session, {one.customer for one in words}):
        for row in people.enrolled(session, business_pk, own.keys()):
            word = own[row.external_id]
            if row.id != word.customer:
                mergeable = row.platform_stripe_customer_id in (None, word.stripe_customer_id)
                if mergeable and merging.host_refused(session, row, word.stripe_customer_id):
                    revoke_links(row, now)
                merging.withdraw_host_words(session, row, word.stripe_customer_id, now)
