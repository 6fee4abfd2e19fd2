"""Many customers at once: import, export, and forgetting one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy.orm import Session

from services.portal.domain.people import PUBLIC_ID_LENGTH, new_public_id
from services.portal.handlers import arguments, customers
from services.portal.models import BusinessRow, CustomerRow
from services.portal.queries import bulk, people
from shared.rpc import InvalidArgument, NotFound

MOST_LINES: Final = 5000
"""How many customers one call may bring."""


class CustomerLine(msgspec.Struct, frozen=True, array_like=True):
    """One customer of `import_customers`, as an array in this order. null keeps what is there, "" clears it."""

    external_id: str
    name: str
    email: str
    locale: str | None = None
    timezone: str | None = None
    platform_stripe_customer_id: str | None = None


@dataclass
class Imported:
    """What became of a batch. `errors` name the line by its place in the batch, from 0; such a line was not written."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "errors": sorted(self.errors, key=lambda error: error["row"])}


@dataclass(frozen=True)
class _Wish:
    """A checked line: the values that it gives."""

    row: int
    external_id: str
    values: dict[str, str | None]
    stripe_id: str | None


def import_customers(
    session: Session, *, business_id: str, lines: Sequence[CustomerLine], now: dt.datetime
) -> Imported:
    """Make or change a batch of customers, with a handful of statements. Idempotent by the host's ids.

    A line that is wrong is reported and left out; the others are written. Of two lines with one id the later one
    wins. Raises NotFound for the business, InvalidArgument for too many lines.
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
            done.errors.append({"row": row, "error": str(error)})
        else:
            if wishes.pop(wish.external_id, None) is not None:
                done.unchanged += 1  # overtaken by this later line
            wishes[wish.external_id] = wish
    # Whoever loses a race for a new id finds it there the second time.
    left = _write(session, business, list(wishes.values()), done, now)
    left = _write(session, business, left, done, now)
    done.errors += [
        {"row": wish.row, "error": "written by somebody else meanwhile"} for wish in left
    ]
    return done


def _check(row: int, line: CustomerLine) -> _Wish:
    values: dict[str, str | None] = {
        "name": arguments.text("name", line.name, 200),
        "email": arguments.email("email", line.email),
    }
    if line.locale is not None:
        values["locale"] = arguments.locale("locale", line.locale.strip() or None)
    if line.timezone is not None:
        values["timezone"] = arguments.zone("timezone", line.timezone.strip() or None)
    stripe_id = (line.platform_stripe_customer_id or "").strip() or None
    if stripe_id is not None:
        stripe_id = arguments.identifier("platform_stripe_customer_id", stripe_id, 255)
    external_id = arguments.identifier("external_id", line.external_id)
    return _Wish(row, external_id, values, stripe_id)


def _write(
    session: Session, business: BusinessRow, wishes: list[_Wish], done: Imported, now: dt.datetime
) -> list[_Wish]:
    """Write what can be written; the wishes whose new id somebody else took at this moment."""
    if not wishes:
        return []
    known = bulk.customers_of_host(session, business.id, [wish.external_id for wish in wishes])
    wishes = _settle_stripe_ids(session, wishes, known, done)
    new, changed = [], []
    for wish in wishes:
        row = known.get(wish.external_id)
        given = dict(wish.values)
        if wish.stripe_id is not None:
            given["platform_stripe_customer_id"] = wish.stripe_id
        if row is None:
            blank = {"locale": None, "timezone": None, "platform_stripe_customer_id": None}
            new.append(
                {
                    **blank,
                    **given,
                    "public_id": new_public_id(),
                    "business_pk": business.id,
                    "external_id": wish.external_id,
                    "link_generation": 1,
                    "created_at": now,
                    "updated_at": now,
                }
            )
        elif any(row[name] != value for name, value in given.items()):
            changed.append({**row, **given, "updated_at": now})
        else:
            done.unchanged += 1
    inserted = bulk.insert_customers(session, new)
    bulk.change_customers(session, changed)
    done.created += len(inserted)
    done.updated += len(changed)
    _take_waiting_links(session, business, [row for row in new if row["external_id"] in inserted])
    return [
        wish
        for wish in wishes
        if wish.external_id not in known and wish.external_id not in inserted
    ]


def _settle_stripe_ids(
    session: Session, wishes: list[_Wish], known: dict[str, dict[str, Any]], done: Imported
) -> list[_Wish]:
    """Leave out lines whose Stripe customer can't be theirs, and Stripe customers that are gone."""
    stripe_ids = sorted({wish.stripe_id for wish in wishes if wish.stripe_id is not None})
    owners = bulk.owners_of_stripe(session, stripe_ids)
    gone = bulk.deleted_of(session, stripe_ids)
    claimed: dict[str, str] = {}
    kept = []
    for wish in wishes:
        stripe_id = wish.stripe_id
        if stripe_id is None or stripe_id in gone:
            kept.append(_without(wish, stripe_id))
            continue
        row = known.get(wish.external_id)
        has = row["platform_stripe_customer_id"] if row else None
        owner = owners.get(stripe_id)
        problem = None
        if has is not None and has != stripe_id:
            problem = "this customer already has another Stripe customer"
        elif (owner is not None and (row is None or owner != row["id"])) or stripe_id in claimed:
            problem = "this Stripe customer already belongs to another customer"
        if problem is None:
            claimed[stripe_id] = wish.external_id
            kept.append(wish)
        else:
            error = f"platform_stripe_customer_id: {problem}"
            done.errors.append({"row": wish.row, "error": error})
    return kept


def _without(wish: _Wish, stripe_id: str | None) -> _Wish:
    return wish if stripe_id is None else _Wish(wish.row, wish.external_id, wish.values, None)


def _take_waiting_links(
    session: Session, business: BusinessRow, made: list[dict[str, Any]]
) -> None:
    """Stripe may have named some of the new customers before the host did; few of many, so one by one."""
    open_ids = [row["external_id"] for row in made if row["platform_stripe_customer_id"] is None]
    for external_id in sorted(bulk.waiting_for(session, open_ids)):
        row = people.customer_of_host(session, business.id, external_id)
        if row is not None:
            customers.take_waiting_link(session, row, business)
    session.flush()


def export_customers(
    session: Session, *, business_id: str, after: int, limit: int
) -> dict[str, Any]:
    """`{"customers", "next", "total"}`: a page of a business's customers. `next` is None at the end; `total` is
    counted on the first page only. Raises NotFound, InvalidArgument."""
    if not 1 <= limit <= MOST_LINES:
        raise InvalidArgument(f"limit: expected 1 to {MOST_LINES}")
    business = people.business(session, business_id)
    if business is None:
        raise NotFound("business_id: no such business")
    rows = bulk.page_of_customers(session, business.id, after, limit)
    return {
        "customers": [
            {
                "external_id": row.external_id,
                "name": row.name,
                "email": row.email,
                "locale": row.locale,
                "timezone": row.timezone,
                "platform_stripe_customer_id": row.platform_stripe_customer_id,
                "customer_id": row.public_id,
            }
            for row in rows
        ],
        "next": rows[-1].id if len(rows) == limit else None,
        "total": bulk.count_customers(session, business.id) if after == 0 else None,
    }


def find(
    session: Session, reference: str, business_id: str | None
) -> tuple[CustomerRow, BusinessRow]:
    """A customer by Portico's id, Stripe's id, or the host's own id with its business. Raises NotFound."""
    row = people.customer(session, reference) if len(reference) == PUBLIC_ID_LENGTH else None
    if row is None and reference.startswith("cus_"):
        row = people.customer_of_stripe(session, reference)
    owner = people.business(session, business_id) if business_id is not None else None
    if business_id is not None and owner is None:
        raise NotFound("business_id: no such business")
    if row is None:
        if owner is None:
            few = people.businesses(session, 2)
            owner = few[0] if len(few) == 1 else None
        if owner is not None:
            row = people.customer_of_host(session, owner.id, reference)
    business = session.get(BusinessRow, row.business_pk) if row is not None else None
    if row is None or business is None or (owner is not None and business.id != owner.id):
        raise NotFound(
            "no such customer: expected Portico's id, Stripe's id (cus_…), or your own id with its business"
        )
    return row, business


def erase(
    session: Session, *, customer_id: str | None, stripe_customer_id: str | None
) -> dict[str, Any]:
    """Forget a customer, and a Stripe customer: `{"customer", "rows"}`, whether there was one, and how many rows
    about the Stripe customer went. Safe to repeat."""
    row = people.customer(session, customer_id, lock=True) if customer_id else None
    if row is not None:
        stripe_customer_id = stripe_customer_id or row.platform_stripe_customer_id
        bulk.erase_customer(session, row)
    rows = bulk.erase_stripe_customer(session, stripe_customer_id) if stripe_customer_id else 0
    return {"customer": row is not None, "rows": rows}
