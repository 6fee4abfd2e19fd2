"""Forgetting a customer, or a Stripe customer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from services.portal.models import (
    ActivityRow,
    AppointmentRow,
    CancellationRequestRow,
    CustomerAliasRow,
    CustomerRow,
    DeletedStripeCustomerRow,
    HostEventRow,
    InvoiceRow,
    LinkConflictRow,
    LinkEvidenceRow,
    LinkProposalRow,
    MethodChangeRow,
    OutboxEvent,
    PendingLinkRow,
    StripeProfileRow,
    SubscriptionRow,
)
from services.portal.queries import aliases, profiles
from services.portal.queries.behalves import counts_for
from shared.contracts.accounts import Account, StripeId
from shared.mentions import mentioned
from shared.statements import changed, is_object


def erase_customer(session: Session, row: CustomerRow) -> int:
    """Delete a customer and all that is kept of them; how many rows that were."""
    session.flush()
    public_id, key = row.public_id, row.id
    return sum(
        changed(session, statement)
        for statement in (
            *(
                delete(table).where(table.customer_pk == key)
                for table in (AppointmentRow, CancellationRequestRow, CustomerAliasRow)
            ),
            delete(ActivityRow).where(ActivityRow.customer_id == public_id),
            delete(PendingLinkRow).where(PendingLinkRow.customer_ref == public_id),
            delete(LinkConflictRow).where(LinkConflictRow.customer_id == public_id),
            delete(LinkProposalRow).where(LinkProposalRow.customer_id == public_id),
            delete(HostEventRow).where(HostEventRow.customer_id == public_id),
            delete(CustomerRow).where(CustomerRow.id == key),
        )
    )


def erase_stripe_customer(
    session: Session, stripe_customer: StripeId, on_behalf_of: str | None = None
) -> int:
    """Delete all that is kept of a Stripe customer, or what is of one merchant's, where it stays another one's customer; how many
    rows that were."""
    if on_behalf_of is not None:
        return sum(
            changed(
                session,
                delete(table).where(
                    is_object(table.account, table.stripe_customer_id, stripe_customer),
                    counts_for(table.account, table.on_behalf_of, on_behalf_of),
                ),
            )
            for table in (
                InvoiceRow,
                LinkConflictRow,
                LinkEvidenceRow,
                LinkProposalRow,
                StripeProfileRow,
                SubscriptionRow,
            )
        )
    return sum(
        changed(
            session,
            delete(table).where(
                is_object(table.account, table.stripe_customer_id, stripe_customer)
            ),
        )
        for table in (
            InvoiceRow,
            MethodChangeRow,
            DeletedStripeCustomerRow,
            PendingLinkRow,
            LinkConflictRow,
            LinkEvidenceRow,
            LinkProposalRow,
            StripeProfileRow,
            SubscriptionRow,
            CancellationRequestRow,
            HostEventRow,
        )
    )


def erase_namesakes(session: Session, account: Account, email: str) -> tuple[list[str], int]:
    """Delete what is kept of Stripe customers of an account with this address, and what people decided about them, where they are
    nobody's and no customer has the address any more; which they were, and how many rows went."""
    session.flush()
    if profiles.customers_with_email(session, account, [email]):
        return [], 0
    told = StripeProfileRow
    with_it = select(told.stripe_customer_id).where(
        told.account == account, profiles.has_email(told.email, [email])
    )
    alike = set(session.scalars(with_it))
    owned = select(CustomerRow.platform_stripe_customer_id).where(
        CustomerRow.account == account, CustomerRow.platform_stripe_customer_id.in_(alike)
    )
    nobodys = sorted(alike - set(session.scalars(owned)))
    gone = sum(
        changed(
            session,
            delete(table).where(table.account == account, table.stripe_customer_id.in_(nobodys)),
        )
        for table in (LinkProposalRow, StripeProfileRow)
    )
    return nobodys, gone


def erase_evidence(
    session: Session, customer: CustomerRow, business_id: str
) -> tuple[set[StripeId], int]:
    """Delete what names this customer, or named them before; the Stripe customers that it was about, and how many rows went."""

    def names(ref: Any, business: Any) -> ColumnElement[bool]:
        own = and_(ref == customer.external_id, business == business_id)
        return or_(ref == customer.public_id, own)

    mine = and_(
        LinkEvidenceRow.account == customer.account,
        LinkEvidenceRow.on_behalf_of == customer.on_behalf_of,
        names(LinkEvidenceRow.customer_ref, LinkEvidenceRow.business_ref),
    )
    stripe_ids = set(session.scalars(select(LinkEvidenceRow.stripe_customer_id).where(mine)))
    gone = changed(session, delete(LinkEvidenceRow).where(mine))
    changed(
        session,
        update(LinkEvidenceRow)
        .where(
            LinkEvidenceRow.account == customer.account,
            LinkEvidenceRow.on_behalf_of == customer.on_behalf_of,
            LinkEvidenceRow.stripe_customer_id.in_(stripe_ids),
            names(LinkEvidenceRow.previous_customer_ref, LinkEvidenceRow.previous_business_ref),
        )
        .values(previous_customer_ref=None, previous_business_ref=None),
    )
    for public_id in (customer.public_id, *aliases.of_customer(session, customer)):
        gone += changed(
            session,
            delete(OutboxEvent)
            .where(mentioned(OutboxEvent.body, public_id))
            .execution_options(synchronize_session=False),
        )
    account = Account(customer.account)
    return {StripeId(account, one) for one in stripe_ids}, gone
