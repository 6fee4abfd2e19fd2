"""`/api/v1/customers/<customer_id>/appointments`."""

from __future__ import annotations

from typing import Final

from sqlalchemy.orm import Session

from services.portal.handlers import appointments
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.host_api import AppointmentsArguments, DeletedAppointment
from shared.contracts.rpc.portal import AppointmentCounts

ALL: Final = "/customers/<customer_id>/appointments"


class ApiAppointments(ApiEntrypoints):
    """Routes about appointments."""

    @route("POST", ALL, "customers:write", body=AppointmentsArguments, answer=AppointmentCounts)
    def api_upsert_appointments(self, session: Session, call: Call) -> Reply:
        """Make or change a customer's appointments, by your own ids. A new one needs `title` and `starts_at`; what is omitted of one that
        is there stays as it is, null clears it. Others stay as they are."""
        done = appointments.upsert_appointments(
            session, customer_id=call.customer_id, given=call.given.appointments, now=call.now
        )
        return Reply(done)

    @route("DELETE", f"{ALL}/<path:external_id>", "customers:write", answer=DeletedAppointment)
    def api_delete_appointment(self, session: Session, call: Call) -> Reply:
        """Take an appointment away, by your own id. Safe to repeat."""
        external_id = call.values["external_id"]
        gone = appointments.delete_appointment(
            session, customer_id=call.customer_id, external_id=external_id
        )
        return Reply(DeletedAppointment(external_id=external_id, deleted=gone))
