"""Asking billing about the Stripe account that a business is to have, before the transaction that writes it."""

from __future__ import annotations

from msgspec import UNSET

from services.portal.handlers import arguments
from services.portal.ports import Billing, BillingUnavailable
from services.portal.queries import customers as people
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import InvalidArgument, TemporarilyUnavailable
from shared.contracts.rpc.portal import BusinessArguments
from shared.database import Transactions


def check_account(db: Transactions, billing: Billing, given: BusinessArguments) -> None:
    """Raises InvalidArgument for a Stripe account that Portico doesn't work on, unless the business has it already, and
    TemporarilyUnavailable where billing can't be asked."""
    if given.stripe_account is UNSET or given.stripe_account is None:
        return
    account = Account(arguments.stripe_account("stripe_account", given.stripe_account))
    with db.reading() as session:
        row = people.business(session, given.business_id.strip())
        if account == (OWN if row is None else row.account):
            return
    try:
        seen = billing.account(account)
    except BillingUnavailable as error:
        raise TemporarilyUnavailable(
            f"stripe_account: billing can't be asked about it now ({error.reason}); try again"
        ) from error
    if seen.served:
        return
    connect = f"portico stripe connect --business {given.business_id.strip()}"
    if seen.livemode is None:
        raise InvalidArgument(
            f"stripe_account: Portico is not connected to it; connect it first: {connect}"
        )
    if seen.disconnected and seen.own_key:
        raise InvalidArgument(
            "stripe_account: its key is no longer in STRIPE_ACCOUNTS_FILE of billing; put it back, and try again seconds later"
        )
    if seen.disconnected:
        raise InvalidArgument(f"stripe_account: it is disconnected; connect it again: {connect}")
    mode, other = ("live", "test") if seen.livemode else ("test", "live")
    raise InvalidArgument(
        f"stripe_account: it was connected in {mode} mode, and this installation's key is of {other} mode"
    )
