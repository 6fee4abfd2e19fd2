"""The statements by which the host claims an enrolled customer, and all that hangs on them becomes its own customer's."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session, aliased

from services.portal.domain.linking import Source
from services.portal.models import (
    ActivityRow,
    AppointmentRow,
    CancellationRequestRow,
    CustomerRow,
    HostEventRow,
    LinkConflictRow,
    LinkEvidenceRow,
    LinkProposalRow,
    PendingLinkRow,
)
from services.portal.queries import aliases
from shared.statements import changed


def host_refused(session: Session, row: CustomerRow, stripe_id: str) -> bool:
    """Whether the host says that a customer is not this Stripe customer, or has said, as far back as is known, that it is another one."""
    said = LinkEvidenceRow
    found = session.scalar(
        select(said.id)
        .where(
            said.account == row.account,
            said.object_id == row.public_id,
            said.source == Source.HOST,
            or_(
                and_(
                    said.denies.is_(True),
                    said.stripe_customer_id == stripe_id,
                    said.withdrawn_at.is_(None),
                ),
                and_(said.denies.is_(False), said.stripe_customer_id != stripe_id),
            ),
        )
        .limit(1)
    )
    return found is not None


def withdraw_host_words(
    session: Session, row: CustomerRow, stripe_id: str, now: dt.datetime
) -> None:
    """What the host said of a customer and a Stripe customer stands no more."""
    said = LinkEvidenceRow
    changed(
        session,
        update(said)
        .where(
            said.account == row.account,
            said.object_id == row.public_id,
            said.stripe_customer_id == stripe_id,
            said.source == Source.HOST,
            said.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=now),
    )


def hand_over(
    session: Session, merged: CustomerRow, customer: CustomerRow, stripe_customer_id: str
) -> None:
    """What hangs on a customer who is merged into another one, since both are this Stripe customer. Appointments, requests, evidence, events and what they did on the page are the other customer's from now on, and their id
    leads there. Where both have an appointment of one id, or did the same at the same time, that of the other one stays."""
    session.flush()
    old, new, account = merged.public_id, customer.public_id, merged.account
    theirs = aliased(AppointmentRow)
    both = select(theirs.external_id).where(theirs.customer_pk == customer.id)
    done = aliased(ActivityRow)
    same = (
        select(done.id)
        .where(
            done.customer_id == new,
            done.what == ActivityRow.what,
            done.bucket == ActivityRow.bucket,
        )
        .exists()
    )
    statements: tuple[Any, ...] = (
        delete(AppointmentRow).where(
            AppointmentRow.customer_pk == merged.id, AppointmentRow.external_id.in_(both)
        ),
        update(AppointmentRow)
        .where(AppointmentRow.customer_pk == merged.id)
        .values(customer_pk=customer.id),
        update(CancellationRequestRow)
        .where(CancellationRequestRow.customer_pk == merged.id)
        .values(customer_pk=customer.id),
        delete(ActivityRow).where(ActivityRow.customer_id == old, same),
        update(ActivityRow).where(ActivityRow.customer_id == old).values(customer_id=new),
        update(HostEventRow)
        .where(HostEventRow.account == account, HostEventRow.customer_id == old)
        .values(customer_id=new),
        update(PendingLinkRow)
        .where(PendingLinkRow.account == account, PendingLinkRow.customer_ref == old)
        .values(customer_ref=new),
        # Who is in conflict is decided anew, and a proposal was about the one who is gone.
        delete(LinkConflictRow).where(
            LinkConflictRow.account == account, LinkConflictRow.customer_id == old
        ),
        delete(LinkProposalRow).where(
            LinkProposalRow.account == account, LinkProposalRow.customer_id == old
        ),
        update(LinkEvidenceRow)
        .where(LinkEvidenceRow.account == account, LinkEvidenceRow.object_id == old)
        .values(object_id=new),
        update(LinkEvidenceRow)
        .where(LinkEvidenceRow.account == account, LinkEvidenceRow.customer_ref == old)
        .values(customer_ref=new),
        update(LinkEvidenceRow)
        .where(
            LinkEvidenceRow.account == account,
            LinkEvidenceRow.stripe_customer_id == stripe_customer_id,
            LinkEvidenceRow.previous_customer_ref == old,
        )
        .values(previous_customer_ref=new),
    )
    for statement in statements:
        changed(session, statement)
    aliases.lead(session, merged, customer)
