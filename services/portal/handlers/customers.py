"""What the host application tells us: its business, its customers, their appointments; and who is whose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.portal.domain.people import NEEDED, PROFILE, CustomerProfile, new_public_id
from services.portal.domain.snapshot import Business
from services.portal.handlers import arguments, claiming, evidence, existing, known_customers
from services.portal.handlers.business_accounts import (
    assign_account,
    set_enrolment,
    wanted_account,
)
from services.portal.handlers.claiming import HostWord
from services.portal.models import AppointmentRow, BusinessRow, CustomerRow, merchant_of
from services.portal.queries import aliases, behalves, links, waiting_addresses
from services.portal.queries import customers as people
from services.portal.tokens.links import MAX_GENERATION
from services.portal.tokens.references import CheckoutReferences
from shared.contracts.accounts import OWN, Account, Merchant, StripeCustomer, stripe_customer
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    StripeCustomerConflict,
    UnknownCustomer,
)
from shared.contracts.rpc.portal import (
    TOLD_AT_ENROLMENT,
    BusinessArguments,
    CustomerArguments,
    LinkedCustomer,
    UpsertedCustomer,
)


@dataclass(frozen=True, slots=True)
class LinkOf:
    """Whose link, and of which generation."""

    customer_id: str
    generation: int


def upsert_business(
    session: Session, given: BusinessArguments, now: dt.datetime, *, change_only: bool = False
) -> str:
    """Make or change a business; what is not given stays as it is. Returns its id. With `change_only` none is made, and NotFound is
    raised where there is none."""
    values = arguments.business(given)
    business_id = arguments.identifier("business_id", given.business_id)
    says_account = given.stripe_account is not UNSET or given.on_behalf_of is not UNSET
    if says_account or given.enrolment is not UNSET:
        links.lock(session)
    row = people.business(session, business_id, lock=True)
    if row is None and change_only:
        raise NotFound("business_id: no such business")
    wanted = wanted_account(given, row)
    if row is None:
        arguments.need(values, "name")
        session.add(
            BusinessRow(
                business_id=business_id,
                created_at=now,
                updated_at=now,
                **arguments.NEW_BUSINESS | values,
            )
        )
        session.flush()
    else:
        write_changes(row, values, now)
    if says_account:
        assign_account(session, business_id, *wanted, now, release_links=given.release_links)
    if given.enrolment is not UNSET:
        set_enrolment(session, business_id)
    return business_id


def upsert_customer(
    session: Session, given: CustomerArguments, now: dt.datetime, *, alone: bool = False
) -> UpsertedCustomer:
    """Make or change the customer that the host knows as `external_id`; what is not given stays as it is.

    A Stripe id that Stripe has deleted is left out; another one than before replaces it; None takes the host's word back, not its
    refusals (`unlink_customer`). Raises StripeCustomerConflict when the host has given the id to another customer; and, where
    whoever says it speaks for this business `alone`, when another business's customer is it by anybody's word.
    """
    values = {
        name: arguments.profile_field(name, value)
        for name in PROFILE
        if (value := getattr(given, name)) is not UNSET
    }
    external_id = arguments.identifier("external_id", given.external_id)
    stripe_id = _stripe_word(given.platform_stripe_customer_id)
    business_id = arguments.identifier("business_id", given.business_id)
    known = known_customers.change(session, business_id, external_id, stripe_id, values, now)
    if known is not None:
        return known
    business = people.business(session, business_id)
    if business is None:
        raise NotFound("business_id: no such business; call upsert_business first")
    new_word = stripe_id is not UNSET and stripe_id != _host_word(session, business, external_id)
    word = None
    if new_word:
        links.lock(session)
        session.refresh(business)  # on which account it is, is written under the lock
        word = _taken_word(session, business, stripe_id, alone=alone)
        claiming.adopt(session, business.id, {external_id: word} if word else {}, now)
    row = people.customer_of_host(session, business.id, external_id)
    created = row is None
    if row is None:
        claiming.refuse_reserved(external_id)
        arguments.need(values, *NEEDED)
        links.lock(session)
        session.refresh(business)
        row = CustomerRow(
            account=business.account,
            on_behalf_of=business.on_behalf_of,
            public_id=new_public_id(),
            business_pk=business.id,
            external_id=external_id,
            link_generation=1,
            created_at=now,
            updated_at=now,
            **dict.fromkeys(PROFILE) | values,
        )
        session.add(row)
    else:
        write_changes(row, values, now)
    session.flush()
    if word is not None:
        evidence.host_says(session, merchant_of(row), [HostWord(row.id, row.public_id, word)], now)
    elif new_word and stripe_id is None:
        if said := _host_word(session, business, external_id):
            evidence.host_withdraws(session, row, said, now)
    elif created:
        evidence.customers_came(
            session, merchant_of(business), business.business_id, {external_id: row.id}, now
        )
    return UpsertedCustomer(
        account=row.account,
        customer_id=row.public_id,
        created=created,
        platform_stripe_customer_id=row.platform_stripe_customer_id,
    )


def _stripe_word(given: str | UnsetType | None) -> str | UnsetType | None:
    return (
        arguments.stripe_customer("platform_stripe_customer_id", given)
        if isinstance(given, str)
        else given
    )


def _taken_word(
    session: Session, business: BusinessRow, stripe_id: str | UnsetType | None, *, alone: bool
) -> str | None:
    """The Stripe customer that the host names; None for none, and for one that Stripe has deleted. Raises StripeCustomerConflict as
    `upsert_customer`."""
    if not isinstance(stripe_id, str):
        return None
    if alone:
        _refuse_others(session, business, stripe_id)
    gone = links.deleted_of(session, Account(business.account), [stripe_id])
    return None if gone else stripe_id


def _refuse_others(session: Session, business: BusinessRow, stripe_id: str) -> None:
    """Raises StripeCustomerConflict for a Stripe customer that is another business's customer, by anybody's word."""
    if links.of_other_businesses(
        session, Account(business.account), business.id, business.business_id, [stripe_id]
    ):
        raise StripeCustomerConflict(
            "platform_stripe_customer_id: this Stripe customer already belongs to another customer"
        )


def _host_word(session: Session, business: BusinessRow, external_id: str) -> str | None:
    """The Stripe customer that the host itself has named for a customer."""
    return links.host_words(session, business.id, [external_id]).get(external_id)


def write_changes(
    row: BusinessRow | CustomerRow | AppointmentRow, values: Mapping[str, Any], now: dt.datetime
) -> bool:
    """Write what differs; whether anything did."""
    changed = {field: value for field, value in values.items() if getattr(row, field) != value}
    for field, value in changed.items():
        setattr(row, field, value)
    if changed:
        row.updated_at = now
    return bool(changed)


def link_customer(
    session: Session,
    *,
    customer_id: str,
    stripe_customer_id: str,
    now: dt.datetime,
    alone: bool = False,
) -> LinkedCustomer:
    """The host's word that a customer is this Stripe customer; `alone` as in `upsert_customer`. Raises NotFound,
    StripeCustomerConflict, InvalidArgument."""
    stripe_id = arguments.stripe_customer("stripe_customer_id", stripe_customer_id)
    links.lock(session)
    row = existing.customer(session, customer_id, lock=True)
    business = session.get_one(BusinessRow, row.business_pk)
    if alone:
        _refuse_others(session, business, stripe_id)
    if links.deleted_of(session, Account(row.account), [stripe_id]):
        raise InvalidArgument("stripe_customer_id: Stripe has deleted this customer")
    evidence.host_says(session, merchant_of(row), [HostWord(row.id, row.public_id, stripe_id)], now)
    return _linked(row)


def unlink_customer(
    session: Session,
    *,
    customer_id: str,
    stripe_customer_id: str | None,
    withdraw_only: bool,
    now: dt.datetime,
) -> LinkedCustomer:
    """The host's word that a customer is *not* this Stripe customer (the one they are linked with, unless it is named); or
    only no word any more. Raises NotFound, InvalidArgument."""
    stripe_id = stripe_customer_id
    if (
        stripe_id is not None
    ):  # whatever is stored can be taken away, of before the form was checked too
        stripe_id = arguments.identifier("stripe_customer_id", stripe_id, 255)
    links.lock(session)
    row = existing.customer(session, customer_id, lock=True)
    if withdraw_only:
        evidence.host_withdraws(session, row, stripe_id, now)
    else:
        stripe_id = stripe_id or row.platform_stripe_customer_id
        if stripe_id is None:
            raise InvalidArgument(
                "stripe_customer_id: this customer is linked with none; name the one that is not theirs"
            )
        evidence.host_denies(session, row, stripe_id, now)
    return _linked(row)


def _linked(row: CustomerRow) -> LinkedCustomer:
    return LinkedCustomer(
        account=row.account,
        customer_id=row.public_id,
        platform_stripe_customer_id=row.platform_stripe_customer_id,
    )


def checkout_reference(
    session: Session, references: CheckoutReferences, *, customer_id: str, now: dt.datetime
) -> str:
    """A signed reference that names this customer in a Checkout session. Raises NotFound."""
    row = existing.customer(session, customer_id)
    business = session.get_one(BusinessRow, row.business_pk)
    return references.write(row.public_id, business.business_id, now)


def link_of(session: Session, *, customer_id: str) -> LinkOf:
    """The customer's current link."""
    row = existing.customer(session, customer_id)
    return LinkOf(row.public_id, row.link_generation)


def rotate_link(session: Session, *, customer_id: str, now: dt.datetime) -> LinkOf:
    """Revoke the customer's links and make a new one."""
    row = existing.customer(session, customer_id, lock=True)
    if row.link_generation >= MAX_GENERATION:
        raise InvalidArgument("customer_id: this customer's links can't be replaced any more")
    row.link_generation += 1
    waiting_addresses.touch(session, [row], now)
    return LinkOf(row.public_id, row.link_generation)


class Asked(NamedTuple):
    """Whose contact is asked for: by Stripe's id, or by ours."""

    stripe_customer: StripeCustomer | None = None
    customer_id: str | None = None


def asked_for(merchant: Merchant, stripe_customer_id: str | None, customer_id: str | None) -> Asked:
    """The question, checked. Raises InvalidArgument unless exactly one id is given."""
    if (stripe_customer_id is None) == (customer_id is None):
        raise InvalidArgument("give stripe_customer_id or customer_id, and not both")
    whose = stripe_customer(merchant.account, stripe_customer_id, merchant.on_behalf_of)
    return Asked(whose, customer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactDetails(CustomerProfile):
    """Whom to write to, and in whose name."""

    customer_id: str
    external_id: str
    link_generation: int
    business: Business
    reminder_policy: dict[str, Any] | None
    """The business's; None: the notifier's default."""
    sender_email: str | None
    """The business's own; None: the installation's."""
    next_appointment: dt.datetime | None
    """UTC, when the next scheduled one begins."""
    disconnected: bool = False
    """The Stripe account of their business is connected no more."""
    live_since: dt.datetime | None = None
    """From when on they are mailed unasked: the business's line, or an hour before they were enrolled, what is later; None: from ever."""
    can_manage_billing: bool = False
    """As `Snapshot.can_manage_billing`."""
    merged_ids: tuple[str, ...] = ()
    """Public ids merged into theirs; known where they were asked for by one."""
    account: Account = OWN
    on_behalf_of: str = ""
    stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; None: with none."""


def contacts(
    session: Session, asked: Sequence[Asked], now: dt.datetime
) -> list[ContactDetails | None]:
    """Whom to write to, in the order of the questions, in one statement; None for a customer that is unknown."""
    whose = {one.stripe_customer: one.stripe_customer for one in asked if one.stripe_customer}
    effective = behalves.merchants(session, (one.merchant for one in whose))
    for one in whose:
        whose[one] = StripeCustomer(*one.name, effective[one.merchant].on_behalf_of)
    public_ids = {one.customer_id for one in asked if one.customer_id}
    rows = people.contacts(
        session, stripe_customers=set(whose.values()), public_ids=public_ids, now=now
    )
    by_stripe: dict[StripeCustomer | None, ContactDetails] = {}
    by_ours: dict[str | None, ContactDetails] = {}
    for row in rows:
        person = _person(row)
        if person.merged_ids or person.customer_id not in by_ours:
            by_ours[person.customer_id] = person
        theirs = stripe_customer(person.account, person.stripe_customer_id, person.on_behalf_of)
        by_stripe[theirs] = person
    by_ours |= _merged(session, public_ids - by_ours.keys(), now)
    return [
        by_ours.get(one.customer_id)
        if one.customer_id
        else by_stripe.get(one.stripe_customer and whose[one.stripe_customer])
        for one in asked
    ]


def _merged(
    session: Session, public_ids: set[str], now: dt.datetime
) -> dict[str | None, ContactDetails]:
    """The customers into whom those with these ids were merged."""
    leads = aliases.targets(session, public_ids)
    if not leads:
        return {}
    ours = {one.customer_id for one in leads.values()}
    rows = people.contacts(session, stripe_customers=(), public_ids=ours, now=now)
    found = {person.customer_id: person for person in map(_person, rows)}
    return {old: found[one.customer_id] for old, one in leads.items() if one.customer_id in found}


def known(person: ContactDetails | None) -> ContactDetails:
    """The person. Raises UnknownCustomer when there is none."""
    if person is None:
        raise UnknownCustomer("no such customer")
    return person


def _person(row: Row[Any]) -> ContactDetails:
    enrolled = row.enrolled_since and row.enrolled_since - TOLD_AT_ENROLMENT
    lines = [line for line in (row.b_live_since, enrolled) if line is not None]
    return ContactDetails(
        customer_id=row.c_public_id,
        external_id=row.c_external_id,
        **people.profile_of(row),
        link_generation=row.c_link_generation,
        business=people.business_of(row),
        reminder_policy=row.b_reminder_policy,
        sender_email=row.b_sender_email,
        next_appointment=row.next_appointment,
        disconnected=bool(row.disconnected),
        merged_ids=tuple(row.merged_ids.split(",")) if row.merged_ids else (),
        can_manage_billing=row.c_platform_stripe_customer_id is not None and not row.disconnected,
        live_since=max(lines, default=None),
        account=row.c_account,
        on_behalf_of=row.c_on_behalf_of,
        stripe_customer_id=row.c_platform_stripe_customer_id,
    )
