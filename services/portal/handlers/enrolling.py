"""Taking in what Stripe tells of its customers, and making customers of those who pay (docs/adr/0035-enrolling-from-stripe.md).

What was told is merged, so the same event twice, late or in another order changes nothing: no event's id is kept. Enrolling mails nobody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import Standing, own_id
from services.portal.domain.linking import Source
from services.portal.domain.people import new_public_id
from services.portal.domain.profiles import LONGEST_LOCALE, Pays, Profile, email_told, name_told
from services.portal.handlers import evidence
from services.portal.handlers.linking import settle
from services.portal.handlers.standing import Judged, email_of, judge_all, profiles_as_told
from services.portal.metrics import LINK_EVIDENCE
from services.portal.models import (
    BusinessRow,
    CustomerRow,
    LinkEvidenceRow,
    StripeProfileRow,
    merchant_of,
)
from services.portal.queries import links, profiles, waiting_addresses
from shared.contracts.accounts import Account, StripeId
from shared.database import count_on_commit
from shared.events import Event, StripeCustomerSeen
from shared.l10n.locales import parse_locale

Seen = Event[StripeCustomerSeen]
MOST_AGAIN: Final = 200
"""Addresses that are looked at again in one transaction."""


def take_in(session: Session, batch: Sequence[Seen], now: dt.datetime) -> None:
    """Take in what came together, and decide who becomes a customer. What is of no business that enrols from Stripe is passed
    over, but for an import's customers whose address is one of our customers'."""
    links.lock(session)
    for account in sorted({Account(one.data.account) for one in batch}):
        _take_all(session, account, [one for one in batch if one.data.account == account], now)


def _take_all(session: Session, account: Account, mine: Sequence[Seen], now: dt.datetime) -> None:
    for one in mine:
        if one.data.deleted:
            name = StripeId(account, one.data.stripe_customer_id)
            evidence.forget_stripe_customer(session, name, one.occurred_at, now)
    gone = links.deleted_of(session, account, {one.data.stripe_customer_id for one in mine})
    said = [one for one in mine if one.data.stripe_customer_id not in gone]
    businesses = profiles.enrolling(session, account)
    if not businesses:
        said = _of_our_customers(session, account, said)
    if not said:
        return
    stripe_ids = {one.data.stripe_customer_id for one in said}
    before = {
        business.id: profiles_as_told(session, merchant_of(business), stripe_ids)
        for business in businesses
    }
    _merge(session, account, said)
    for business in businesses:
        judged = judge_all(session, business, stripe_ids)
        if _follow(session, business, judged.values(), before[business.id], now):
            judged = judge_all(session, business, stripe_ids)
        _enrol(session, business, judged.values(), now)


def _of_our_customers(session: Session, account: Account, said: Sequence[Seen]) -> list[Seen]:
    """What an import told of Stripe customers whose address is a customer's: those are proposed where nobody is enrolled, too."""
    told = {id(one): email_told(one.data.email) for one in said if one.data.imported}
    asked = {email for email in told.values() if email}
    if not asked:
        return []
    ours = {row.email.lower() for row in profiles.customers_with_email(session, account, asked)}
    return [one for one in said if (email := told.get(id(one))) and email.lower() in ours]


def _merge(session: Session, account: Account, said: Sequence[Seen]) -> None:
    kept = profiles.profiles_of(session, account, {one.data.stripe_customer_id for one in said})
    for one in said:
        rows = kept.setdefault(one.data.stripe_customer_id, {})
        row = rows.get(one.data.on_behalf_of)
        if row is None:
            row = rows[one.data.on_behalf_of] = StripeProfileRow(
                account=account,
                stripe_customer_id=one.data.stripe_customer_id,
                on_behalf_of=one.data.on_behalf_of,
                firm=False,
            )
            session.add(row)
        profiles.write(row, profiles.profile_of(row).merge(_told(one)))
    session.flush()


def _told(event: Seen) -> Profile:
    """What an event says. Of an invoice it may say who paid, by what stands there: a copy. Else an address is the Stripe customer's own; and
    that somebody pays, told without one, is told of another object, and says nothing of who it is."""
    data, at = event.data, event.occurred_at
    paid = Profile(pays=data.pays and data.pays[:20], pays_at=at if data.pays else None)
    if data.pays and not data.email:
        return paid
    locale = parse_locale((data.locale or "")[:LONGEST_LOCALE]) if data.locale else None
    return replace(
        paid,
        email=email_told(data.email),
        name=name_told(data.name),
        locale=None if locale is None else str(locale),
        told_at=at,
        firm=data.pays != Pays.PAID,
    )


def _follow(
    session: Session,
    business: BusinessRow,
    judged: Iterable[Judged],
    before: dict[str, Profile],
    now: dt.datetime,
) -> bool:
    """Change enrolled customers as Stripe changed them; what the host has changed since stays. An address that is another
    customer's is not theirs by having been typed at Stripe, nor by a person's word that the two are not one: it waits until it is no
    other's any more. Whether an address was changed: one that somebody had or has now decides about others."""
    taken: set[str] = set()
    followed = sorted((one for one in judged if _is_followed(one, business)), key=_first_told)
    waiting = waiting_addresses.of(
        session, Account(business.account), [one.stripe_customer_id for one in followed]
    )
    for one in followed:
        row, old = one.customer, before.get(one.stripe_customer_id)
        if row is None or old is None:
            continue
        new, waits = one.profile, waiting.get(one.stripe_customer_id)
        changed = new.email != old.email
        wanted = changed or (waits is not None and waiting_addresses.stands(waits, row))
        email = email_of(new) if wanted else None
        free = email is not None and not one.address_taken and email.lower() not in taken
        if email is not None and free:
            row.email, row.updated_at = email, now
            taken.add(email.lower())
        if new.name != old.name and new.name is not None:
            row.name, row.updated_at = new.name, now
        if new.locale != old.locale:
            row.locale, row.updated_at = new.locale, now
        # Outside of ASCII nobody can tell whether it is another's.
        if email is not None and not free and email.isascii():
            waiting_addresses.note(session, row, one.stripe_customer_id)
        elif waits is not None:
            session.delete(waits)
    session.flush()
    return bool(taken)


def _is_followed(one: Judged, business: BusinessRow) -> bool:
    row = one.customer
    return row is not None and row.enrolled_at is not None and row.business_pk == business.id


def follow_waiting(session: Session, after: int, now: dt.datetime) -> int | None:
    """Look again at addresses that wait, a portion of them after one: whoever had them may have another one by now, or be gone. Where to
    go on; None: these were the last."""
    links.lock(session)
    rows = waiting_addresses.page(session, after, MOST_AGAIN)
    last = rows[-1].id if len(rows) == MOST_AGAIN else None
    followed = set()
    for account in sorted({Account(row.account) for row in rows}):
        ids = {row.stripe_customer_id for row in rows if row.account == account}
        for business in profiles.enrolling(session, account):
            judged = judge_all(session, business, ids)
            followed |= {(account, id) for id, one in judged.items() if _is_followed(one, business)}
            before = {id: one.profile for id, one in judged.items()}
            _follow(session, business, judged.values(), before, now)
    for row in rows:
        if (row.account, row.stripe_customer_id) not in followed:  # nobody's who is enrolled now
            session.delete(row)
    session.flush()
    return last


def _first_told(one: Judged) -> tuple[float, str]:
    at = one.profile.told_at
    return 0.0 if at is None else at.timestamp(), one.stripe_customer_id


def _enrol(
    session: Session, business: BusinessRow, judged: Iterable[Judged], now: dt.datetime
) -> None:
    """Make customers of those against whom nothing stands. Of two with one address that come together the first to pay is one."""
    merchant = merchant_of(business)
    new = [one for one in judged if one.standing is Standing.NEW]
    new.sort(key=lambda one: (one.profile.pays_at or now, one.stripe_customer_id))
    made: dict[str, CustomerRow] = {}
    for one in new:
        email = email_of(one.profile) or ""
        if email.lower() in made:
            continue
        row = _customer(business, one, email, now)
        session.add(row)
        session.add(_evidence(row, one, now))
        made[email.lower()] = row
        count_on_commit(session, LINK_EVIDENCE.labels(Source.ENROLLED, "taken"))
    session.flush()
    if made:
        settle(session, merchant, (), {row.id for row in made.values()}, now)


def _customer(business: BusinessRow, one: Judged, email: str, now: dt.datetime) -> CustomerRow:
    return CustomerRow(
        account=business.account,
        on_behalf_of=business.on_behalf_of,
        public_id=new_public_id(),
        business_pk=business.id,
        external_id=own_id(one.stripe_customer_id),
        # Stripe may know no name; what stands before the @ is how many a person is called.
        name=one.profile.name or email.partition("@")[0],
        email=email,
        locale=one.profile.locale,
        timezone=None,
        link_generation=1,
        enrolled_at=now,
        created_at=now,
        updated_at=now,
    )


def _evidence(row: CustomerRow, one: Judged, now: dt.datetime) -> LinkEvidenceRow:
    return LinkEvidenceRow(
        account=row.account,
        on_behalf_of=row.on_behalf_of,
        stripe_customer_id=one.stripe_customer_id,
        source=Source.ENROLLED,
        object_id=row.public_id,
        customer_ref=row.public_id,
        denies=False,
        said_at=one.profile.pays_at or now,
        noted_at=now,
    )
