"""What the RPC methods answer, from what the portal knows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from services.portal.domain.notice import State, state_of
from services.portal.domain.people import COLUMNS, NOT_FOR_LINKS, PROFILE, mask_email
from services.portal.domain.snapshot import Business, Snapshot
from services.portal.handlers.customers import ContactDetails
from services.portal.models import BusinessRow, CustomerRow
from shared.contracts import host_api
from shared.contracts.rpc import portal as contract
from shared.contracts.rpc.recipients import Recipient
from shared.mode import OBSERVE


def _business(row: Business | BusinessRow) -> dict[str, Any]:
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


def business(row: BusinessRow, observes: bool) -> host_api.Business:
    """A business, for its host; `observes` as in `business_contact`."""
    return host_api.Business(
        **_business(row),
        **_wishes(row),
        **_mode(row.mode, row.live_since, observes),
        service_note=row.service_note,
        charged_as=row.charged_as,
        currency=row.currency,
        stripe_account=row.account or None,
        on_behalf_of=row.on_behalf_of or None,
        enrolment=row.enrolment,
    )


def customer(row: CustomerRow, business_id: str) -> host_api.Customer:
    """A customer, for their host."""
    return host_api.Customer(
        **{name: getattr(row, name) for name in COLUMNS},
        customer_id=row.public_id,
        business_id=business_id,
        account=row.account,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def payment_state(found: Snapshot, now: dt.datetime) -> host_api.PaymentState:
    """What a customer owes."""
    whole = snapshot(found, now)
    return host_api.PaymentState(
        account=whole.account,
        customer_id=whole.customer_id,
        platform_stripe_customer_id=whole.platform_stripe_customer_id,
        can_manage_billing=whole.can_manage_billing,
        owed=whole.owed,
    )


def _wishes(row: BusinessRow | ContactDetails) -> dict[str, Any]:
    """What a business says of its customers' emails."""
    policy = row.reminder_policy
    return {
        "reminder_policy": msgspec.convert(policy, contract.ReminderPolicy) if policy else None,
        "sender_email": row.sender_email,
    }


def _mode(mode: str, live_since: dt.datetime | None, observes: bool) -> dict[str, Any]:
    """Whether a business observes, by itself or with the installation, and its line."""
    return {"observed": observes or mode == OBSERVE, "live_since": live_since}


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
            contract.OwedInvoice(
                invoice_id=each.invoice_id,
                state=state.value,
                amount_remaining=each.invoice.amount_remaining,
                currency=each.invoice.currency,
                number=each.invoice.number,
                purpose=each.invoice.purpose,
                purpose_more=each.invoice.purpose_more,
                since=each.invoice.first_failed_at,
                next_payment_attempt=each.retry_plan(now).at,
                retrying_since=None if left_alone else each.invoice.retrying_since,
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


def business_contact(row: BusinessRow, platform: str, observes: bool) -> contract.BusinessContact:
    """The answer of `business_contact`; where the installation `observes`, whatever the business does."""
    about = contract.ContactBusiness(
        **_business(row),
        **_wishes(row),
        **_mode(row.mode, row.live_since, observes),
        service_note=row.service_note,
        charged_as=row.charged_as,
    )
    return contract.BusinessContact(platform=platform, business=about)


def contact(
    person: ContactDetails, link: str, platform: str, observes: bool = False
) -> contract.Contact:
    """The answer of `contact`, and one of `contacts`; `observes` as in `business_contact`."""
    return contract.Contact(
        customer_id=person.customer_id,
        external_id=person.external_id,
        **{name: getattr(person, name) for name in PROFILE},
        link=link,
        next_appointment=person.next_appointment,
        disconnected=person.disconnected,
        can_manage_billing=person.can_manage_billing,
        merged_ids=list(person.merged_ids),
        account=person.account,
        on_behalf_of=person.on_behalf_of,
        stripe_customer_id=person.stripe_customer_id,
        platform=platform,
        business=contract.ContactBusiness(
            **_business(person.business),
            **_wishes(person),
            **_mode(person.business.mode, person.live_since, observes),
            service_note=person.business.service_note,
            charged_as=person.business.charged_as,
        ),
    )


def recipient(person: ContactDetails, *, addresses: bool) -> Recipient:
    """One of `recipients`: with the whole address, or one that nobody learns."""
    return Recipient(
        customer_id=person.customer_id,
        business_id=person.business.business_id,
        external_id=person.external_id,
        name=person.name,
        email=person.email if addresses else mask_email(person.email),
    )
