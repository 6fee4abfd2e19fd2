"""`/api/v1/customers`: customers, and which Stripe customer is whose."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET
from sqlalchemy.orm import Session

from services.portal import serializers
from services.portal.domain.people import COLUMNS
from services.portal.handlers import customers, host_lists, importing
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.host_api import (
    Customer,
    CustomerEntry,
    CustomerPage,
    CustomerPageArguments,
    CustomersArguments,
    StripeLinkArguments,
    StripeUnlinkArguments,
)
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import (
    CustomerArguments,
    CustomerLine,
    ImportResult,
    LinkedCustomer,
    UpsertedCustomer,
)

ONE: Final = "/customers/<customer_id>"


class ApiCustomers(ApiEntrypoints):
    """Routes about customers."""

    @route(
        "POST",
        "/customers",
        "customers:write",
        body=CustomerArguments,
        answer=UpsertedCustomer,
        creates=True,
    )
    def api_upsert_customer(self, session: Session, call: Call) -> Reply:
        """Make or change a customer, by your own id. A new one needs `name` and `email`; what is omitted of one who is there stays as it
        is, null clears it. Answers 201 when it made them."""
        done = customers.upsert_customer(session, call.given, call.now, alone=call.alone)
        return Reply(done, 201 if done.created else 200)

    @route(
        "POST",
        "/customers/bulk",
        "customers:write",
        body=CustomersArguments,
        answer=ImportResult,
        bulk=True,
        audited=("business_id", "customers"),
    )
    def api_upsert_customers(self, session: Session, call: Call) -> Reply:
        """Make or change up to 1,000 customers of one business, by your own ids. One that is wrong is left out and named by its place;
        the others are written."""
        done = importing.import_customers(
            session,
            business_id=call.given.business_id,
            lines=[_line(one) for one in call.given.customers],
            now=call.now,
            alone=call.alone,
        )
        return Reply(done.answer())

    @route("GET", "/customers", "customers:read", query=CustomerPageArguments, answer=CustomerPage)
    def api_list_customers(self, session: Session, call: Call) -> Reply:
        """List a business's customers, or find one by your own id or by Stripe's."""
        business_id = call.the_business
        rows, more = host_lists.customers(session, call.given, business_id)
        data = [serializers.customer(row, business_id) for row in rows]
        return Reply(CustomerPage(data=data, has_more=more))

    @route("GET", ONE, "customers:read", answer=Customer)
    def api_get_customer(self, session: Session, call: Call) -> Reply:
        """A customer, by Portico's id."""
        return Reply(serializers.customer(*host_lists.customer(session, call.customer_id)))

    @route(
        "POST",
        f"{ONE}/stripe_link",
        "customers:write",
        body=StripeLinkArguments,
        answer=LinkedCustomer,
        audited=("stripe_customer_id",),
    )
    def api_link_customer(self, session: Session, call: Call) -> Reply:
        """Your word that a customer is this Stripe customer. It replaces your earlier word and overrules metadata and Checkout
        references."""
        done = customers.link_customer(
            session,
            customer_id=call.customer_id,
            stripe_customer_id=call.given.stripe_customer_id,
            now=call.now,
            alone=call.alone,
        )
        return Reply(done)

    @route(
        "POST",
        f"{ONE}/stripe_unlink",
        "customers:write",
        body=StripeUnlinkArguments,
        answer=LinkedCustomer,
        audited=("stripe_customer_id", "withdraw_only"),
    )
    def api_unlink_customer(self, session: Session, call: Call) -> Reply:
        """Your word that a customer is *not* this Stripe customer; or, with `withdraw_only`, no word any more."""
        done = customers.unlink_customer(
            session,
            customer_id=call.customer_id,
            stripe_customer_id=call.given.stripe_customer_id,
            withdraw_only=call.given.withdraw_only,
            now=call.now,
        )
        return Reply(done)


def _line(entry: CustomerEntry | InvalidArgument) -> CustomerLine | InvalidArgument:
    """An entry as a line of an import, which has null for what is omitted and "" for what is cleared."""
    if isinstance(entry, InvalidArgument):
        return entry

    def cell(name: str) -> str | None:
        value = getattr(entry, name)
        return None if value is UNSET else value or ""

    return CustomerLine(**{name: cell(name) for name in COLUMNS})  # type: ignore[arg-type]
