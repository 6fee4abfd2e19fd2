"""What the RPC methods answer, from what the portal knows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from services.portal.domain.notice import State, state_of
from services.portal.domain.people import mask_email
from services.portal.domain.snapshot import Snapshot
from services.portal.handlers.customers import ContactDetails
from services.portal.models import BusinessRow, CustomerRow
from shared.contracts import host_api
from shared.contracts.rpc import portal as contract
from shared.contracts.rpc.recipients import Recipient
from shared.mode import OBSERVE


def business(row: BusinessRow, observes: bool) -> host_api.Business:
    """A business, for its host; `observes` as in `business_contact`."""
    return host_api.Business.of(
        row,
        reminder_policy=_policy(row.reminder_policy),
        observed=observes or row.mode == OBSERVE,
        stripe_account=row.account or None,
        on_behalf_of=row.on_behalf_of or None,
    )


def customer(row: CustomerRow, business_id: str) -> host_api.Customer:
    """A customer, for their host."""
    return host_api.Customer.of(row, customer_id=row.public_id, business_id=business_id)


def payment_state(found: Snapshot, now: dt.datetime) -> host_api.PaymentState:
    """What a customer owes."""
    return host_api.PaymentState.of(snapshot(found, now))


def _policy(stored: dict[str, Any] | None) -> contract.ReminderPolicy | None:
    return msgspec.convert(stored, contract.ReminderPolicy) if stored else None


def snapshot(found: Snapshot, now: dt.datetime) -> contract.CustomerSnapshot:
    """The answer of `lookup`."""
    owed, business = [], found.business
    for each in found.invoices:
        state = state_of(each, now, observed=business.observed, live_since=business.live_since)
        if state is None or state is State.PAID:
            continue
        left_alone = each.invoice.left_alone(
            observed=business.observed, live_since=business.live_since
        )
        owed.append(
            contract.OwedInvoice.of(
                each.invoice,
                invoice_id=each.invoice_id,
                state=state.value,
                since=each.invoice.first_failed_at,
                next_payment_attempt=each.retry_plan(now).at,
                retrying_since=None if left_alone else each.invoice.retrying_since,
            )
        )
    return contract.CustomerSnapshot.of(
        found,
        business=contract.Business.of(found.business),
        appointments=[contract.Appointment.of(each) for each in found.appointments],
        owed=owed,
    )


def business_contact(row: BusinessRow, platform: str, observes: bool) -> contract.BusinessContact:
    """The answer of `business_contact`; where the installation `observes`, whatever the business does."""
    about = contract.ContactBusiness.of(
        row,
        reminder_policy=_policy(row.reminder_policy),
        observed=observes or row.mode == OBSERVE,
    )
    return contract.BusinessContact(platform=platform, business=about)


def contact(
    person: ContactDetails, link: str, platform: str, observes: bool = False
) -> contract.Contact:
    """The answer of `contact`, and one of `contacts`; `observes` as in `business_contact`."""
    return contract.Contact.of(
        person,
        link=link,
        merged_ids=list(person.merged_ids),
        platform=platform,
        business=contract.ContactBusiness.of(
            person.business,
            reminder_policy=_policy(person.reminder_policy),
            sender_email=person.sender_email,
            observed=observes or person.business.mode == OBSERVE,
            live_since=person.live_since,
        ),
    )


def recipient(person: ContactDetails, *, addresses: bool) -> Recipient:
    """One of `recipients`: with the whole address, or one that nobody learns."""
    return Recipient.of(
        person,
        business_id=person.business.business_id,
        email=person.email if addresses else mask_email(person.email),
    )
