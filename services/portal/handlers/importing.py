"""Many customers at once: import, export, and forgetting one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import OWN_IDS, own_id
from services.portal.domain.people import (
    COLUMNS,
    NEEDED,
    OPTIONAL,
    PROFILE,
    PUBLIC_ID_LENGTH,
    new_public_id,
)
from services.portal.handlers import arguments, claiming, evidence, existing
from services.portal.handlers.claiming import HostWord
from services.portal.handlers.linking import settle
from services.portal.models import BusinessRow, CustomerRow, merchant_of
from services.portal.queries import aliases, bulk, businesses, erasure, links
from services.portal.queries import customers as people
from shared.contracts.accounts import Account, Merchant, StripeId, stripe_id
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.errors import InvalidArgument, NotFound
from shared.contracts.rpc.portal import (
    CustomerErasure,
    CustomerExport,
    CustomerLine,
    ExportedCustomer,
    FoundCustomer,
    ImportResult,
    RowError,
)

MOST_NAMED: Final = 5
"""How many businesses an error names."""
MOST_LINES: Final = 5000
"""How many customers one call may bring."""


@dataclass
class Imported:
    """What became of a batch. `errors` name the line by its place in the batch, from 0; such a line was not written."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[RowError] = field(default_factory=list)

    def answer(self) -> ImportResult:
        """As it crosses the wire."""
        return ImportResult(
            created=self.created,
            updated=self.updated,
            unchanged=self.unchanged,
            errors=sorted(self.errors, key=lambda error: error.row),
        )


@dataclass(frozen=True)
class _Wish:
    """A checked line: the values that it gives."""

    row: int
    external_id: str
    values: dict[str, str | None]
    stripe_id: str | None


def import_customers(
    session: Session,
    *,
    business_id: str,
    lines: Sequence[CustomerLine | InvalidArgument],
    now: dt.datetime,
    alone: bool = False,
) -> Imported:
    """Make or change a batch of customers, with a handful of statements. Idempotent by the host's ids.

    A line that is wrong, or could not be read (its InvalidArgument), is reported and left out; the others are written. Of two lines with one id the later one
    wins; `alone` as in `upsert_customer`. Raises NotFound for the business, InvalidArgument for too many lines.
    """
    if len(lines) > MOST_LINES:
        raise InvalidArgument(f"rows: expected at most {MOST_LINES}")
    business = people.business(session, arguments.identifier("business_id", business_id))
    if business is None:
        raise NotFound("business_id: no such business; call upsert_business first")
    done = Imported()
    wishes: dict[str, _Wish] = {}
    for row, line in enumerate(lines):
        try:
            wish = _check(row, line)
        except InvalidArgument as error:
            done.errors.append(RowError(row=row, error=str(error)))
        else:
            if wishes.pop(wish.external_id, None) is not None:
                done.unchanged += 1  # overtaken by this later line
            wishes[wish.external_id] = wish
    batch = _Batch(business, done, now, alone)
    late: list[_Wish] = []
    if _that_decide(session, batch, wishes.values()):
        links.lock(session)
        session.refresh(business)  # on which account it is, is written under the lock
    else:
        links.keep_still(session)
        late = _that_decide(session, batch, wishes.values())
        for wish in late:
            del wishes[wish.external_id]
    # Whoever loses a race for a new id finds it there the second time.
    left = _write(session, batch, list(wishes.values()))
    left = _write(session, batch, left)
    done.errors += [
        RowError(row=wish.row, error="written by somebody else meanwhile")
        for wish in (*left, *late)
    ]
    return done


def _that_decide(session: Session, batch: _Batch, wishes: Collection[_Wish]) -> list[_Wish]:
    """Those by which something is decided: of customers who are new, or with a word that the host has not said yet."""
    words = links.host_words(session, batch.business.id, [one.external_id for one in wishes])
    return [
        one
        for one in wishes
        if one.external_id not in words or one.stripe_id not in (None, words[one.external_id])
    ]


def _check(row: int, line: CustomerLine | InvalidArgument) -> _Wish:
    if isinstance(line, InvalidArgument):
        raise line
    values = {
        name: arguments.profile_field(name, value.strip() or None if name in OPTIONAL else value)
        for name in PROFILE
        if (value := getattr(line, name)) is not None
    }
    stripe_id = (line.platform_stripe_customer_id or "").strip() or None
    if stripe_id is not None:
        stripe_id = arguments.stripe_customer("platform_stripe_customer_id", stripe_id)
    external_id = arguments.identifier("external_id", line.external_id)
    return _Wish(row, external_id, values, stripe_id)


@dataclass(frozen=True)
class _Batch:
    """What the lines of a batch have in common."""

    business: BusinessRow
    done: Imported
    now: dt.datetime
    alone: bool


def _write(session: Session, batch: _Batch, wishes: list[_Wish]) -> list[_Wish]:
    """Write what can be written; the wishes whose new id somebody else took at this moment."""
    if not wishes:
        return []
    business, done, now = batch.business, batch.done, batch.now
    words = _new_words(session, batch, wishes)
    bad = {error.row for error in done.errors}
    wishes = [wish for wish in wishes if wish.row not in bad]
    claiming.adopt(session, business.id, words, now)
    known = bulk.customers_of_host(session, business.id, [wish.external_id for wish in wishes])
    new, changed = [], []
    for wish in wishes:
        row = known.get(wish.external_id)
        if row is None and wish.external_id.startswith(OWN_IDS):
            done.errors.append(RowError(row=wish.row, error=claiming.RESERVED))
        elif row is None and (lacks := arguments.lacking(wish.values, *NEEDED)):
            done.errors.append(RowError(row=wish.row, error=lacks))
        elif row is None:
            new.append(
                {
                    **dict.fromkeys(PROFILE),
                    **wish.values,
                    "account": business.account,
                    "on_behalf_of": business.on_behalf_of,
                    "public_id": new_public_id(),
                    "business_pk": business.id,
                    "external_id": wish.external_id,
                    "link_generation": 1,
                    "created_at": now,
                    "updated_at": now,
                }
            )
        elif any(row[name] != value for name, value in wish.values.items()):
            changed.append({**row, **wish.values, "updated_at": now})
        elif words.get(wish.external_id) not in (None, row["platform_stripe_customer_id"]):
            done.updated += 1
        else:
            done.unchanged += 1
    inserted = bulk.insert_customers(session, new)
    bulk.change_customers(session, changed)
    done.created += len(inserted)
    done.updated += len(changed)
    if words or inserted:
        _link(session, business, words, inserted, now)
    return [
        wish
        for wish in wishes
        if wish.external_id not in known and wish.external_id not in inserted
    ]


def _new_words(session: Session, batch: _Batch, wishes: list[_Wish]) -> dict[str, str]:
    """Which Stripe customer the host gives to whom (by its own id), where it has not said so already. Lines with one that it
    has given to somebody else are left out; one that Stripe has deleted is no word at all."""
    business, done = batch.business, batch.done
    account = Account(business.account)
    given = {wish.stripe_id for wish in wishes if wish.stripe_id is not None}
    gone = links.deleted_of(session, account, given)
    said = links.host_words(session, business.id, [wish.external_id for wish in wishes])
    mine = {stripe_id: external_id for external_id, stripe_id in said.items() if stripe_id}
    claimed = links.claimed_by_host(session, merchant_of(business), given)
    enrolled = people.enrolled(session, business.id, [own_id(one) for one in given])
    ours = {row.public_id for row in enrolled}
    elsewhere = {one for one, owner in claimed.items() if owner not in ours} - mine.keys()
    if batch.alone:
        elsewhere |= links.of_other_businesses(
            session, account, business.id, business.business_id, given
        )
    words: dict[str, str] = {}
    for wish in wishes:
        stripe_id, before = wish.stripe_id, said.get(wish.external_id)
        if stripe_id is None or stripe_id in gone or stripe_id == before:
            continue
        if stripe_id in elsewhere or mine.get(stripe_id, wish.external_id) != wish.external_id:
            error = "platform_stripe_customer_id: this Stripe customer already belongs to another customer"
            done.errors.append(RowError(row=wish.row, error=error))
            continue
        if before is not None:
            del mine[before]
        mine[stripe_id] = wish.external_id
        words[wish.external_id] = stripe_id
    return words


def _link(
    session: Session,
    business: BusinessRow,
    words: dict[str, str],
    inserted: set[str],
    now: dt.datetime,
) -> None:
    """Take the host's words about customers who are there now; Stripe may have named the new ones before the host did."""
    rows = bulk.customers_of_host(session, business.id, list(words.keys() | inserted))
    merchant = merchant_of(business)
    evidence.host_says(
        session,
        merchant,
        [
            HostWord(rows[external_id]["id"], rows[external_id]["public_id"], stripe_id)
            for external_id, stripe_id in words.items()
            if external_id in rows
        ],
        now,
    )
    keys = {external_id: rows[external_id]["id"] for external_id in inserted - words.keys()}
    evidence.customers_came(session, merchant, business.business_id, keys, now)


def export_customers(
    session: Session, *, business_id: str, after: int, limit: int
) -> CustomerExport:
    """A page of a business's customers. `next` is None at the end; `total` is counted on the first page only. Raises NotFound, InvalidArgument."""
    check_limit(limit, MOST_LINES)
    business = existing.business(session, business_id)
    rows = bulk.page_of_customers(session, business.id, after, limit)
    return CustomerExport(
        customers=[
            ExportedCustomer(
                **{name: getattr(row, name) for name in COLUMNS}, customer_id=row.public_id
            )
            for row in rows
        ],
        next=rows[-1].id if len(rows) == limit else None,
        total=bulk.count_customers(session, business.id) if after == 0 else None,
    )


def find(
    session: Session, account: Account, reference: str, business_id: str | None
) -> FoundCustomer:
    """A customer by Portico's id, Stripe's id in an account, or the host's own id with its business, which may be left out where
    there is only one. Raises NotFound, and InvalidArgument for a Stripe customer that is several businesses'."""
    row = people.customer(session, reference) if len(reference) == PUBLIC_ID_LENGTH else None
    owner = existing.business(session, business_id) if business_id is not None else None
    if row is None and reference.startswith("cus_"):
        account = Account(owner.account) if owner is not None else account
        theirs = [
            one
            for one in people.customers_of_stripe(session, StripeId(account, reference))
            if owner is None or one.business_pk == owner.id
        ]
        if len(theirs) > 1:
            raise InvalidArgument(
                "business_id: several businesses have this Stripe customer; name the business"
            )
        row = theirs[0] if theirs else None
    if row is None:
        if owner is None:
            few = people.businesses(session, 2)
            owner = few[0] if len(few) == 1 else None
        if owner is not None:
            row = people.customer_of_host(session, owner.id, reference)
        elif knowing := people.businesses_that_know(session, reference, MOST_NAMED):
            several = (
                "several businesses know"
                if len(knowing) > 1
                else "there are several businesses, and one knows"
            )
            raise NotFound(f"{several} this customer: name the business ({', '.join(knowing)})")
    business = session.get(BusinessRow, row.business_pk) if row is not None else None
    if row is None or business is None or (owner is not None and business.id != owner.id):
        raise NotFound(
            "reference: no such customer; expected Portico's id, Stripe's id (cus_…), or your own id with its business"
        )
    return FoundCustomer.of(
        row,
        customer_id=row.public_id,
        business_id=business.business_id,
        only_on_behalf_of=only_on_behalf_of(session, row),
        merged_ids=aliases.of_customer(session, row),
    )


def only_on_behalf_of(session: Session, row: CustomerRow) -> str | None:
    """On whose behalf what names a customer's Stripe customer is theirs, where that, a platform's, is another business's customer too;
    None: all of it is."""
    named = stripe_id(row.account, row.platform_stripe_customer_id)
    shared = named is not None and len(people.customers_of_stripe(session, named)) > 1
    return row.on_behalf_of if shared else None


def erase(
    session: Session,
    account: Account,
    *,
    customer_id: str | None,
    stripe_customer_id: str | None,
    now: dt.datetime,
    alone: bool = False,
) -> CustomerErasure:
    """Forget a customer, a Stripe customer, and what Stripe told of others with the customer's address who are nobody's. Safe to repeat.

    `alone`: whoever says it speaks for the customer's business alone, which may have given them any address; so that counts
    only where no other business is on the account.
    """
    links.lock(session)
    row = people.customer(session, customer_id, lock=True) if customer_id else None
    merchant = Merchant(account) if row is None else merchant_of(row)
    others: set[StripeId] = set()
    namesakes: list[str] = []
    rows = 0
    if row is not None:
        stripe_customer_id = stripe_customer_id or row.platform_stripe_customer_id
        business = session.get_one(BusinessRow, row.business_pk)
        others, rows = erasure.erase_evidence(session, row, business.business_id)
        email, by_email = row.email, not alone or businesses.has_account_alone(session, business)
        rows += erasure.erase_customer(session, row)
    if stripe_customer_id:
        name = StripeId(merchant.account, stripe_customer_id)
        still_anothers = row is not None and people.customers_of_stripe(session, name)
        rows += erasure.erase_stripe_customer(
            session, name, merchant.on_behalf_of if still_anothers else None
        )
    if row is not None and by_email:
        namesakes, gone = erasure.erase_namesakes(session, merchant.account, email)
        rows += gone
    # What this customer claimed may be somebody else's.
    settle(session, merchant, {one.id for one in others} - {stripe_customer_id}, (), now)
    return CustomerErasure(customer=row is not None, rows=rows, same_email=namesakes)
