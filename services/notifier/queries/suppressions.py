"""Who gets no email: addresses that bounced or complained, and Stripe customers that are gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from functools import lru_cache
from typing import Final

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHash, AddressHasher
from services.notifier.domain.vocabulary import Reason
from services.notifier.models import DeletedCustomer, SuppressedAddress
from shared.contracts.accounts import Account, StripeId
from shared.json_documents import Documents, as_text, json_list, json_object
from shared.prepared import prepared
from shared.statements import Kept, among_named, insert_new, is_among, named_objects, table_of

_DELETED: Final = table_of(DeletedCustomer)
_SUPPRESSED: Final = table_of(SuppressedAddress)
_IS_SUPPRESSED: Final = or_(
    is_among(_SUPPRESSED.c.address_sha256, "plain"),
    is_among(_SUPPRESSED.c.address_hmac, "keyed"),
)


class _Gone(msgspec.Struct):
    account: Account
    id: str


class _Suppressed(msgspec.Struct):
    plain: str
    keyed: str | None
    reason: str


class _Found(msgspec.Struct):
    deleted: list[_Gone]
    suppressed: list[_Suppressed]


_decode: Final = msgspec.json.Decoder(_Found).decode


def note_deleted_customer(session: Session, stripe_customer: StripeId, now: dt.datetime) -> None:
    """Remember that the Stripe customer is gone."""
    insert_new(
        session,
        table_of(DeletedCustomer),
        [
            {
                "account": stripe_customer.account,
                "stripe_customer_id": stripe_customer.id,
                "deleted_at": now,
            }
        ],
        returning="stripe_customer_id",
    )


def customer_deleted(session: Session, stripe_customer: StripeId) -> bool:
    """Is the Stripe customer known to be gone?"""
    return bool(deleted_customers(session, {stripe_customer}))


def deleted_customers(session: Session, stripe_customers: Collection[StripeId]) -> set[StripeId]:
    """Those of the Stripe customers that are known to be gone."""
    if not stripe_customers:
        return set()
    accounts, names = named_objects(stripe_customers)
    found = _deleted(accounts).run(session, names)
    return {StripeId(Account(account), id) for account, id in found}


@lru_cache
def _deleted(accounts: int) -> Kept:
    whose = _DELETED.c.account, _DELETED.c.stripe_customer_id
    return Kept(select(*whose).where(among_named(*whose, accounts)))


def suppress_address(
    session: Session,
    address: AddressHash,
    reason: Reason,
    now: dt.datetime,
    notification_id: str | None,
) -> bool:
    """Write no more to this address. The first reason stays. True when the address was fine until now."""
    row = {
        "address_sha256": address.plain,
        "address_hmac": address.newest,
        "reason": reason.value,
        "since": now,
        "notification_id": notification_id,
    }
    return bool(
        insert_new(
            session,
            table_of(SuppressedAddress),
            [row],
            conflict=["address_sha256"],
            returning="address_sha256",
        )
    )


def suppressed_addresses(
    session: Session, addresses: Collection[AddressHash]
) -> dict[AddressHash, str]:
    """Why nothing is written to those of these addresses that get no more email."""
    return written_no_more(session, (), addresses)[1]


def written_no_more(
    session: Session, stripe_customers: Collection[StripeId], addresses: Collection[AddressHash]
) -> tuple[set[StripeId], dict[AddressHash, str]]:
    """Those of these Stripe customers that are known to be gone, and why nothing is written to those of these addresses that get no more
    email: in one question."""
    accounts, names = named_objects(stripe_customers)
    by_hash = {text: one for one in addresses for text in (one.plain, *one.keyed)}
    hashes = {
        "plain": [one.plain for one in addresses],
        "keyed": [text for one in addresses for text in one.keyed],
    }
    (document,) = _finding(accounts).read(session, names | hashes)
    found = _decode(document)
    return {StripeId(one.account, one.id) for one in found.deleted}, {
        by_hash.get(one.plain) or by_hash[one.keyed or ""]: one.reason for one in found.suppressed
    }


@lru_cache
def _finding(accounts: int) -> Documents:
    account, id = _DELETED.c.account, _DELETED.c.stripe_customer_id
    gone = json_object(account=account, id=id)
    address = json_object(
        plain=_SUPPRESSED.c.address_sha256,
        keyed=_SUPPRESSED.c.address_hmac,
        reason=_SUPPRESSED.c.reason,
    )
    found = json_object(
        deleted=json_list(select(gone.label("document")).where(among_named(account, id, accounts))),
        suppressed=json_list(select(address.label("document")).where(_IS_SUPPRESSED)),
    )
    statement = select(as_text(found))
    return Documents(prepared(statement) if accounts <= 1 else statement)


def key_addresses(session: Session, hasher: AddressHasher, limit: int) -> int:
    """Give the keyed hash to addresses that were written without one; how many (at most `limit`)."""
    bare = session.scalars(
        select(SuppressedAddress)
        .where(SuppressedAddress.address_hmac.is_(None))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in bare:
        row.address_hmac = hasher.of_plain(row.address_sha256).newest
    return len(bare)
