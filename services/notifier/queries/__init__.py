"""Every statement that the notifier sends to its database.

Locks are taken in one order everywhere, an incident before its notifications, so that an event, a sender and
SendGrid's webhook can meet at one invoice without a deadlock.
"""

from services.notifier.queries.incidents import (
    lock_incident,
    lock_incidents_of,
    lock_known_incident,
    read_incident,
    read_incidents,
    store_incident,
)
from services.notifier.queries.notifications import (
    Backlog,
    Leased,
    NewNotification,
    add_notification,
    attempt_is_told,
    backlog,
    by_id,
    by_key,
    count_resends,
    failed_notifications,
    lease_due,
    list_notifications,
    lock_leased,
    look_at_once,
    mail_under_way,
    suppress_waiting,
)
from services.notifier.queries.records import (
    NewSendGridEvent,
    address_suppressed,
    claim_event,
    claim_sendgrid_events,
    customer_deleted,
    event_outcome,
    known_invoices,
    note_deleted_customer,
    note_outcome,
    suppress_address,
)

__all__ = [
    "Backlog",
    "Leased",
    "NewNotification",
    "NewSendGridEvent",
    "add_notification",
    "address_suppressed",
    "attempt_is_told",
    "backlog",
    "by_id",
    "by_key",
    "claim_event",
    "claim_sendgrid_events",
    "count_resends",
    "customer_deleted",
    "event_outcome",
    "failed_notifications",
    "known_invoices",
    "lease_due",
    "list_notifications",
    "lock_incident",
    "lock_incidents_of",
    "lock_known_incident",
    "lock_leased",
    "look_at_once",
    "mail_under_way",
    "note_deleted_customer",
    "note_outcome",
    "read_incident",
    "read_incidents",
    "store_incident",
    "suppress_address",
    "suppress_waiting",
]
