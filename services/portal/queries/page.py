"""The hot path: all that the page shows of many customers, in one statement. The database makes a JSON document of each, and
msgspec reads it into what the domain knows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Final

import msgspec
from sqlalchemy import BindParameter, ColumnElement, Select, Table, bindparam, case, func, select
from sqlalchemy.orm import Session

from services.portal.domain.cancelling import ENDED_SHOWN_FOR
from services.portal.domain.invoices import THANKS_FOR, Invoice
from services.portal.domain.people import PROFILE
from services.portal.domain.snapshot import (
    MOST_PAST,
    MOST_UPCOMING,
    TAKEN_TO_LAST,
    Business,
    Snapshot,
)
from services.portal.models import (
    AppointmentRow,
    BusinessRow,
    CustomerRow,
    InvoiceRow,
    MethodChangeRow,
    SubscriptionRow,
)
from services.portal.queries import subscriptions
from services.portal.queries.behalves import counts_for
from services.portal.queries.customers import DISCONNECTED
from services.portal.queries.subscriptions import NOT_TOLD, SubscriptionRecord
from shared.contracts.invoices import SENT
from shared.database import UtcDateTime
from shared.json_documents import Documents, as_text, json_list, json_object
from shared.prepared import prepared
from shared.statements import is_among, table_of

_customer, _business = table_of(CustomerRow), table_of(BusinessRow)
_invoice, _visit, _change, _subscription = (
    table_of(InvoiceRow),
    table_of(AppointmentRow),
    table_of(MethodChangeRow),
    table_of(SubscriptionRow),
)


class _Look(msgspec.Struct):
    """A customer as the statement tells."""

    snapshot: Snapshot
    """Without the subscriptions: what may be said of them depends on the time."""
    subscriptions: list[SubscriptionRecord]


def _moment(name: str) -> BindParameter[dt.datetime]:
    return bindparam(name, type_=UtcDateTime())


def _columns(table: Table, names: Iterable[str]) -> dict[str, ColumnElement[Any]]:
    """The columns that fields of a domain's class are named after."""
    return {name: table.c[name] for name in names}


def _visits(*, upcoming: bool) -> Select[Any]:
    ahead = func.coalesce(
        _visit.c.ends_at >= _moment("now"), _visit.c.starts_at >= _moment("begun_after")
    )
    names = ("external_id", "title", "starts_at", "ends_at", "location", "status")
    document = json_object(ref=_visit.c.id, **{name: _visit.c[name] for name in names})
    return (
        select(document.label("document"))
        .where(_visit.c.customer_pk == _customer.c.id, ahead if upcoming else ~ahead)
        .order_by(_visit.c.starts_at if upcoming else _visit.c.starts_at.desc(), _visit.c.id)
        .limit(MOST_UPCOMING if upcoming else MOST_PAST)
        .correlate(_customer)
    )


def _invoices() -> Select[Any]:
    state = json_object(
        status=_subscription.c.status,
        end_reason=_subscription.c.end_reason,
        ended_at=_subscription.c.ends_at,
    )
    document = json_object(
        invoice_id=_invoice.c.invoice_id,
        invoice=json_object(**_columns(_invoice, Invoice.__struct_fields__)),
        subscription=case((_subscription.c.status != NOT_TOLD, state)),
    )
    failed = _invoice.c.first_failed_at.is_not(None)
    thanked_for = (_invoice.c.status == "paid") & (_invoice.c.closed_at > _moment("thanks_after"))
    sent = (_invoice.c.status == "open") & (_invoice.c.collection_method == SENT)
    worth_telling = failed & ((_invoice.c.status == "open") | thanked_for) | sent
    return (
        select(document.label("document"))
        .select_from(_invoice)
        .outerjoin(
            _subscription,
            (_subscription.c.account == _invoice.c.account)
            & (_subscription.c.subscription_id == _invoice.c.subscription_id),
        )
        .where(
            _invoice.c.account == _customer.c.account,
            _invoice.c.stripe_customer_id == _customer.c.platform_stripe_customer_id,
            counts_for(_invoice.c.account, _invoice.c.on_behalf_of, _customer.c.on_behalf_of),
            worth_telling,
        )
        .order_by(_invoice.c.invoice_id)
        .correlate(_customer)
    )


def _statement() -> Select[tuple[str]]:
    names = (
        *PROFILE,
        "external_id",
        "link_generation",
        "account",
        "on_behalf_of",
        "platform_stripe_customer_id",
    )
    changed = (
        select(func.max(_change.c.changed_at, type_=UtcDateTime()))
        .where(
            _change.c.account == _customer.c.account,
            _change.c.stripe_customer_id == _customer.c.platform_stripe_customer_id,
            # What the customer's own default is, is the same for all whose customer it is.
            (_change.c.subscription_id == "")
            | counts_for(_change.c.account, _change.c.on_behalf_of, _customer.c.on_behalf_of),
        )
        .correlate(_customer)
        .scalar_subquery()
    )
    snapshot = json_object(
        customer_id=_customer.c.public_id,
        **{name: _customer.c[name] for name in names},
        billing_opened_at=_customer.c.billing_opened_at,
        method_changed_at=changed,
        disconnected=DISCONNECTED,
        business=json_object(**_columns(_business, (one.name for one in fields(Business)))),
        appointments=json_list(_visits(upcoming=True), _visits(upcoming=False)),
        invoices=json_list(_invoices()),
    )
    look = json_object(
        snapshot=snapshot,
        subscriptions=json_list(
            subscriptions.documents_of(
                _customer.c.account,
                _customer.c.platform_stripe_customer_id,
                _customer.c.on_behalf_of,
            )
        ),
    )
    return (
        select(as_text(look))
        .join_from(_customer, _business, _customer.c.business_pk == _business.c.id)
        .where(is_among(_customer.c.public_id, "public_ids"))
    )


_LOOKS: Final = Documents(prepared(_statement()))
_DECODER: Final = msgspec.json.Decoder(_Look)


def lookup_many(
    session: Session, public_ids: Sequence[str], now: dt.datetime
) -> dict[str, Snapshot]:
    """The customers with these public ids, each whole, in one statement. Unknown ids are left out."""
    documents = _LOOKS.read(
        session,
        {
            "public_ids": list(public_ids),
            "now": now,
            "begun_after": now - TAKEN_TO_LAST,
            "thanks_after": now - THANKS_FOR,
            "shown_after": now - ENDED_SHOWN_FOR,
        },
    )
    found = {}
    for document in documents:
        look = _DECODER.decode(document)
        snapshot = look.snapshot
        if snapshot.disconnected:  # what was last heard of it is no word on today
            snapshot = replace(snapshot, invoices=())
        elif look.subscriptions:
            known = tuple(
                subscriptions.read_subscription(one, now, one.asked) for one in look.subscriptions
            )
            snapshot = replace(snapshot, subscriptions=known)
        found[snapshot.customer_id] = snapshot
    return found
