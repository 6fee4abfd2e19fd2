"""What the host tells of its customers' appointments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET
from sqlalchemy.orm import Session

from services.portal.handlers import arguments, existing
from services.portal.handlers.customers import write_changes
from services.portal.models import AppointmentRow
from services.portal.queries import customers as people
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import AppointmentArgument, AppointmentCounts


def upsert_appointments(
    session: Session, *, customer_id: str, given: Sequence[AppointmentArgument], now: dt.datetime
) -> AppointmentCounts:
    """Make or change a customer's appointments by the host's ids; others, and what is not given of these, stay as they are."""
    checked = arguments.appointments(list(given))
    customer = existing.customer(session, customer_id, lock=True)
    known = people.appointments_of(session, customer.id, [each.external_id for each in checked])
    created = updated = 0
    for number, each in enumerate(checked):
        row = known.get(each.external_id)
        values = _appointment(f"appointments[{number}].", each, row)
        if row is None:
            session.add(
                AppointmentRow(
                    customer_pk=customer.id,
                    external_id=each.external_id,
                    updated_at=now,
                    **{"ends_at": None, "location": None, "status": "scheduled"} | values,
                )
            )
            created += 1
        elif write_changes(row, values, now):
            updated += 1
    return AppointmentCounts(
        created=created, updated=updated, unchanged=len(checked) - created - updated
    )


def delete_appointment(session: Session, *, customer_id: str, external_id: str) -> bool:
    """Take an appointment away; whether it was there. Raises NotFound for the customer."""
    customer = existing.customer(session, customer_id, lock=True)
    row = people.appointments_of(session, customer.id, [external_id]).get(external_id)
    if row is None:
        return False
    session.delete(row)
    return True


def _appointment(at: str, given: AppointmentArgument, row: AppointmentRow | None) -> dict[str, Any]:
    """What is given of an appointment, as it is stored. An end that is kept goes when the start moves past it. Raises InvalidArgument, which
    says where `at`."""
    values: dict[str, Any] = {
        name: value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value
        for name in ("title", "starts_at", "ends_at", "location", "status")
        if (value := getattr(given, name)) is not UNSET
    }
    if row is None:
        arguments.need(values, "title", "starts_at", at=at)
    starts_at = values["starts_at"] if "starts_at" in values or row is None else row.starts_at
    if (ends_at := values.get("ends_at")) is not None and ends_at <= starts_at:
        raise InvalidArgument(f"{at}ends_at: expected a time after starts_at")
    if "ends_at" not in values and row is not None and row.ends_at and row.ends_at <= starts_at:
        values["ends_at"] = None
    if "status" in values:
        values["status"] = values["status"] or "scheduled"
    return values
