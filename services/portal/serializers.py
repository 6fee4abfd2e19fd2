"""What the RPC methods answer: plain JSON, times in UTC as ISO 8601."""

from __future__ import annotations

import datetime as dt
from typing import Any

from services.portal.domain.notice import State, state_of
from services.portal.domain.people import NOT_FOR_LINKS, PROFILE
from services.portal.domain.snapshot import Business, Snapshot
from services.portal.handlers.customers import Person


def moment(value: dt.datetime | None) -> str | None:
    """`2026-03-03T17:00:00Z`."""
    return None if value is None else value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def business(row: Business) -> dict[str, Any]:
    """A business."""
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


def snapshot(found: Snapshot, now: dt.datetime) -> dict[str, Any]:
    """The answer of `lookup`."""
    owed = []
    for each in found.invoices:
        state = state_of(each, now)
        if state is None or state is State.PAID:
            continue
        owed.append(
            {
                "invoice_id": each.invoice_id,
                "state": state.value,
                "amount_remaining": each.invoice.amount_remaining,
                "currency": each.invoice.currency,
                "number": each.invoice.number,
                "purpose": each.invoice.purpose,
                "purpose_more": each.invoice.purpose_more,
                "since": moment(each.invoice.first_failed_at),
                "next_payment_attempt": moment(each.invoice.next_payment_attempt),
                "retrying_since": moment(each.invoice.retrying_since),
            }
        )
    return {
        "customer_id": found.customer_id,
        "external_id": found.external_id,
        **{name: getattr(found, name) for name in PROFILE if name not in NOT_FOR_LINKS},
        "business": business(found.business),
        "platform_stripe_customer_id": found.platform_stripe_customer_id,
        "can_manage_billing": found.can_manage_billing,
        "appointments": [
            {
                "external_id": each.external_id,
                "title": each.title,
                "starts_at": moment(each.starts_at),
                "ends_at": moment(each.ends_at),
                "location": each.location,
                "status": each.status,
            }
            for each in found.appointments
        ],
        "owed": owed,
    }


def contact(person: Person, link: str, platform: str) -> dict[str, Any]:
    """The answer of `contact`, and one of `contacts`."""
    return {
        "customer_id": person.customer_id,
        **{name: getattr(person, name) for name in PROFILE},
        "link": link,
        "next_appointment": moment(person.next_appointment),
        "platform": platform,
        "business": {
            **business(person.business),
            "reminder_policy": person.reminder_policy,
            "sender_email": person.sender_email,
            "service_note": person.business.service_note,
        },
    }
