"""What the host application tells us: its business, its customers, their appointments; and who is whose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.portal.domain.people import new_public_id
from services.portal.domain.snapshot import Business
from services.portal.errors import StripeCustomerConflict, UnknownCustomer
from services.portal.handlers import arguments
from services.portal.handlers.arguments import AppointmentArgument, ReminderPolicyArgument
from services.portal.links import MAX_GENERATION
from services.portal.models import AppointmentRow, BusinessRow, CustomerRow
from services.portal.queries import people
from services.portal.queries.page import business_of
from shared.rpc import InvalidArgument, NotFound


@dataclass(frozen=True, slots=True)
class Upserted:
    """A customer after `upsert_customer`."""

    customer_id: str
    created: bool
    platform_stripe_customer_id: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the appointments that were given."""

    created: int
    updated: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class LinkOf:
    """Whose link, and of which generation."""

    customer_id: str
    generation: int


def upsert_business(
    session: Session,
    *,
    business_id: str,
    name: str,
    email: str | None,
    phone: str | None,
    website: str | None,
    logo_url: str | None,
    color: str | None,
    locale: str,
    timezone: str,
    now: dt.datetime,
    reminder_policy: ReminderPolicyArgument | None = None,
) -> str:
    """Make or change a business; what is not given is cleared. Returns its id."""
    values = {
        "name": arguments.text("name", name, 200),
        "email": None if email is None else arguments.email("email", email),
        "phone": arguments.phone("phone", phone),
        "website": arguments.web_address("website", website),
        "logo_url": arguments.web_address("logo_url", logo_url),
        "color": arguments.color("color", color),
        "locale": arguments.locale("locale", locale),
        "timezone": arguments.zone("timezone", timezone),
        "reminder_policy": arguments.reminder_policy("reminder_policy", reminder_policy),
    }
    business_id = arguments.identifier("business_id", business_id)
    row = people.business(session, business_id, lock=True)
    if row is None:
        session.add(BusinessRow(business_id=business_id, created_at=now, updated_at=now, **values))
    else:
        _change(row, values, now)
    return business_id


def upsert_customer(
    session: Session,
    *,
    business_id: str,
    external_id: str,
    name: str,
    email: str,
    locale: str | None,
    timezone: str | None,
    platform_stripe_customer_id: str | None,
    now: dt.datetime,
) -> Upserted:
    """Make or change the customer that the host knows as `external_id`.

    A Stripe id that isn't given keeps what is there; one that Stripe has deleted is left out. Raises
    StripeCustomerConflict when the id is another customer's, or this customer has another one.
    """
    values = {
        "name": arguments.text("name", name, 200),
        "email": arguments.email("email", email),
        "locale": arguments.locale("locale", locale),
        "timezone": arguments.zone("timezone", timezone),
    }
    external_id = arguments.identifier("external_id", external_id)
    stripe_id = platform_stripe_customer_id
    if stripe_id is not None:
        stripe_id = arguments.identifier("platform_stripe_customer_id", stripe_id, 255)
    business = people.business(session, arguments.identifier("business_id", business_id))
    if business is None:
        raise NotFound("business_id: no such business; call upsert_business first")
    row = people.customer_of_host(session, business.id, external_id)
    created = row is None
    if row is None:
        row = CustomerRow(
            public_id=new_public_id(),
            business_pk=business.id,
            external_id=external_id,
            link_generation=1,
            created_at=now,
            updated_at=now,
            **values,
        )
        session.add(row)
    else:
        _change(row, values, now)
    if stripe_id is not None and not people.stripe_customer_deleted(session, stripe_id):
        _link_by_host(session, row, stripe_id)
    if created and row.platform_stripe_customer_id is None:
        take_waiting_link(session, row, business)
    session.flush()
    return Upserted(row.public_id, created, row.platform_stripe_customer_id)


def _change(row: BusinessRow | CustomerRow, values: Mapping[str, Any], now: dt.datetime) -> None:
    changed = False
    for field, value in values.items():
        if getattr(row, field) != value:
            setattr(row, field, value)
            changed = True
    if changed:
        row.updated_at = now


def _link_by_host(session: Session, row: CustomerRow, stripe_id: str) -> None:
    if row.platform_stripe_customer_id == stripe_id:
        return
    if row.platform_stripe_customer_id is not None:
        raise StripeCustomerConflict("this customer already has another Stripe customer")
    with session.no_autoflush:
        owner = people.customer_of_stripe(session, stripe_id)
    if owner is not None:
        raise StripeCustomerConflict("this Stripe customer already belongs to another customer")
    row.platform_stripe_customer_id = stripe_id


def take_waiting_link(session: Session, row: CustomerRow, business: BusinessRow) -> None:
    """Stripe may have named this customer before the host did: the first such link is theirs."""
    for waiting in people.waiting_links(session, row.external_id):
        if waiting.business_ref is None:
            mine = len(people.businesses(session, 2)) == 1
        else:
            mine = waiting.business_ref == business.business_id
        if mine and people.customer_of_stripe(session, waiting.stripe_customer_id) is None:
            row.platform_stripe_customer_id = waiting.stripe_customer_id
            session.delete(waiting)
            return


def upsert_appointments(
    session: Session, *, customer_id: str, given: Sequence[AppointmentArgument], now: dt.datetime
) -> Counts:
    """Make or change a customer's appointments by the host's ids; others stay as they are."""
    checked = arguments.appointments(list(given))
    customer = _customer(session, customer_id, lock=True)
    known = people.appointments_of(session, customer.id, [each.external_id for each in checked])
    created = updated = 0
    for each in checked:
        values = {
            "title": each.title,
            "starts_at": each.starts_at.astimezone(dt.UTC),
            "ends_at": None if each.ends_at is None else each.ends_at.astimezone(dt.UTC),
            "location": each.location,
            "status": each.status,
        }
        row = known.get(each.external_id)
        if row is None:
            session.add(
                AppointmentRow(
                    customer_pk=customer.id,
                    external_id=each.external_id,
                    updated_at=now,
                    **values,
                )
            )
            created += 1
        elif any(getattr(row, field) != value for field, value in values.items()):
            for field, value in values.items():
                setattr(row, field, value)
            row.updated_at = now
            updated += 1
    return Counts(created, updated, len(checked) - created - updated)


def _customer(session: Session, customer_id: str, *, lock: bool = False) -> CustomerRow:
    row = people.customer(session, customer_id, lock=lock)
    if row is None:
        raise NotFound("customer_id: no such customer")
    return row


def link_of(session: Session, *, customer_id: str) -> LinkOf:
    """The customer's current link."""
    row = _customer(session, customer_id)
    return LinkOf(row.public_id, row.link_generation)


def rotate_link(session: Session, *, customer_id: str, now: dt.datetime) -> LinkOf:
    """Revoke the customer's links and make a new one."""
    row = _customer(session, customer_id, lock=True)
    if row.link_generation >= MAX_GENERATION:
        raise InvalidArgument("customer_id: this customer's links can't be replaced any more")
    row.link_generation += 1
    row.updated_at = now
    return LinkOf(row.public_id, row.link_generation)


class Asked(NamedTuple):
    """Whose contact is asked for: by Stripe's id, or by ours."""

    stripe_customer_id: str | None = None
    customer_id: str | None = None


def asked_for(stripe_customer_id: str | None, customer_id: str | None) -> Asked:
    """The question, checked. Raises InvalidArgument unless exactly one id is given."""
    if (stripe_customer_id is None) == (customer_id is None):
        raise InvalidArgument("give stripe_customer_id or customer_id, and not both")
    return Asked(stripe_customer_id, customer_id)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to write to, and in whose name."""

    customer_id: str
    name: str
    email: str
    locale: str | None
    timezone: str | None
    link_generation: int
    business: Business
    reminder_policy: dict[str, Any] | None
    """The business's; None: the notifier's default."""


def contacts(session: Session, asked: Sequence[Asked]) -> list[Person | None]:
    """Whom to write to, in the order of the questions, in one statement; None for a customer that is unknown."""
    rows = people.contacts(
        session,
        stripe_customer_ids={one.stripe_customer_id for one in asked if one.stripe_customer_id},
        public_ids={one.customer_id for one in asked if one.customer_id},
    )
    by_stripe: dict[str | None, Person] = {}
    by_ours: dict[str | None, Person] = {}
    for row in rows:
        person = _person(row)
        by_ours[person.customer_id] = person
        by_stripe[row.c_platform_stripe_customer_id] = person
    return [
        by_ours.get(one.customer_id) if one.customer_id else by_stripe.get(one.stripe_customer_id)
        for one in asked
    ]


def contact(session: Session, asked: Asked) -> Person:
    """One of them. Raises UnknownCustomer."""
    return known(contacts(session, [asked])[0])


def known(person: Person | None) -> Person:
    """The person. Raises UnknownCustomer when there is none."""
    if person is None:
        raise UnknownCustomer("no such customer")
    return person


def _person(row: Row[Any]) -> Person:
    return Person(
        customer_id=row.c_public_id,
        name=row.c_name,
        email=row.c_email,
        locale=row.c_locale,
        timezone=row.c_timezone,
        link_generation=row.c_link_generation,
        business=business_of(row),
        reminder_policy=row.b_reminder_policy,
    )
