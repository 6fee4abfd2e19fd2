"""What the RPC methods answer, from what the portal knows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from services.portal.domain.notice import State, state_of
from services.portal.domain.people import NOT_FOR_LINKS, PROFILE
from services.portal.domain.snapshot import Business, Snapshot
from services.portal.handlers.customers import ContactDetails
from shared.contracts.rpc import portal as contract


def _business(row: Business) -> dict[str, Any]:
    return {
        "business_id": row.business_id,
        "name": row.name,
        "email": row.email,
        "phone": row.phone,
        "website": row.website,
        "logo_url": row.logo_url,
        "color": row.color,
        "locale": row.locale,
        "timezone": row.timezone,
    }


def snapshot(found: Snapshot, now: dt.datetime) -> contract.CustomerSnapshot:
    """The answer of `lookup`."""
    owed = []
    for each in found.invoices:
        state = state_of(each, now)
        if state is None or state is State.PAID:
            continue
        owed.append(
            contract.OwedInvoice(
                invoice_id=each.invoice_id,
                state=state.value,
                amount_remaining=each.invoice.amount_remaining,
                currency=each.invoice.currency,
                number=each.invoice.number,
                purpose=each.invoice.purpose,
                purpose_more=each.invoice.purpose_more,
                since=each.invoice.first_failed_at,
                next_payment_attempt=each.invoice.next_payment_attempt,
                retrying_since=each.invoice.retrying_since,
            )
        )
    return contract.CustomerSnapshot(
        customer_id=found.customer_id,
        external_id=found.external_id,
        **{name: getattr(found, name) for name in PROFILE if name not in NOT_FOR_LINKS},
        business=contract.Business(**_business(found.business)),
        platform_stripe_customer_id=found.platform_stripe_customer_id,
        account=found.account,
        can_manage_billing=found.can_manage_billing,
        appointments=[
            contract.Appointment(
                external_id=each.external_id,
                title=each.title,
                starts_at=each.starts_at,
                ends_at=each.ends_at,
                location=each.location,
                status=each.status,
            )
            for each in found.appointments
        ],
        owed=owed,
    )


def contact(person: ContactDetails, link: str, platform: str) -> contract.Contact:
    """The answer of `contact`, and one of `contacts`."""
    policy = person.reminder_policy
    return contract.Contact(
        customer_id=person.customer_id,
        **{name: getattr(person, name) for name in PROFILE},
        link=link,
        next_appointment=person.next_appointment,
        platform=platform,
        business=contract.ContactBusiness(
            **_business(person.business),
            reminder_policy=msgspec.convert(policy, contract.ReminderPolicy) if policy else None,
            sender_email=person.sender_email,
            service_note=person.business.service_note,
        ),
    )
