"""On which Stripe account a business is: with it, all its customers (docs/adr/0029-on-whose-behalf.md)."""

from __future__ import annotations

import datetime as dt

from msgspec import UNSET
from sqlalchemy.orm import Session

from services.portal.domain.enrolment import Enrolment
from services.portal.handlers import arguments, existing
from services.portal.handlers.linking import release, settle
from services.portal.models import BusinessRow
from services.portal.queries import businesses, link_conflicts, links, profiles
from services.portal.queries import customers as people
from shared.contracts.accounts import OWN, Account, Merchant
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import BusinessArguments
from shared.schema import look


class AccountTaken(InvalidArgument):
    """Another business has this account."""


class CustomersLinked(InvalidArgument):
    """Customers are linked with Stripe customers of the account before."""


def assign_account(
    session: Session,
    business: str,
    account: Account,
    on_behalf_of: str,
    now: dt.datetime,
    *,
    release_links: bool = False,
) -> bool:
    """Put a business (the host's own id) on a Stripe account, its customers with it; whether that is another one than before.

    That Portico works on the account is for the caller to know, who may ask billing only outside of a transaction.
    A link names a Stripe customer of the account before. So a change while any customer is linked is refused, unless `release_links`:
    then all of them lose their link, and what was said on the new account decides. What was said on the old one is kept: whoever goes
    back has those links again.

    Raises NotFound; InvalidArgument for what another business has, for linked customers, and while the portal's tables can't tell
    two accounts' objects of one id apart.
    """
    links.lock(session)
    row = existing.business(session, business, lock=True)
    before, wanted = (
        Merchant(Account(row.account), row.on_behalf_of),
        Merchant(account, on_behalf_of),
    )
    if before == wanted:
        return False
    _refuse_taken(session, row, wanted)
    if wanted != Merchant(OWN) and (undone := look(session.connection(), "portal").after_roll):
        raise InvalidArgument(f"{_changed_field(before, wanted)}: {undone}")
    linked = links.linked_of_business(session, row.id)
    if linked and not release_links:
        raise CustomersLinked(
            f"{_changed_field(before, wanted)}: {len(linked)} customers are linked with Stripe customers of the account before; "
            "unlink them first, or give release_links to let all of them go"
        )
    let_go = release(session, before, linked, now)
    businesses.move(session, row, wanted, now)
    refuse_second_enrolling(session, row)
    profiles.forget_unneeded(session, before.account)
    link_conflicts.close_of_business(session, row.id, now)
    settle(session, before, let_go, (), now)  # they may be those of other businesses
    settle(session, wanted, (), links.named_of_business(session, row), now)
    # What is charged on a behalf that is named no more, or was not, is or was of those that name none.
    for one in (before, wanted):
        if one.on_behalf_of and (said := links.said_on_behalf(session, one)):
            settle(session, Merchant(one.account), said, (), now)
    return True


def _refuse_taken(session: Session, row: BusinessRow, wanted: Merchant) -> None:
    """Raises InvalidArgument where another business has the same. The installation's own account is shared by all that name no other."""
    if wanted == Merchant(OWN):
        return
    other = businesses.with_merchant(session, wanted)
    if other is None or other == row.business_id:
        return
    if wanted.on_behalf_of:
        raise AccountTaken(
            "on_behalf_of: another business has this account; each business needs one of its own"
        )
    raise AccountTaken(
        "stripe_account: another business has this account; two can share one only where it is a platform's, each with its own on_behalf_of"
    )


def refuse_second_enrolling(session: Session, row: BusinessRow) -> None:
    """Raises InvalidArgument for a business that would enrol whom another one enrols already: whose customers they became would depend
    on which of the two looked first."""
    if row.enrolment != Enrolment.FROM_STRIPE:
        return
    session.flush()
    for other in profiles.enrolling(session, Account(row.account)):
        if other.id != row.id and other.on_behalf_of == row.on_behalf_of:
            raise InvalidArgument(
                f"enrolment: {other.business_id} enrols the customers of this Stripe account already; "
                "give by_host here, or there first"
            )


def set_enrolment(session: Session, business: str) -> None:
    """What follows from where a business's customers come from now. The caller holds the lock. Raises InvalidArgument."""
    row = people.business(session, business)
    if row is not None:
        refuse_second_enrolling(session, row)
        profiles.forget_unneeded(session, Account(row.account))


def _changed_field(before: Merchant, wanted: Merchant) -> str:
    return "on_behalf_of" if before.account == wanted.account else "stripe_account"


def wanted_account(given: BusinessArguments, row: BusinessRow | None) -> Merchant:
    """What a business is to have after a call: what is given, else what it has. Raises InvalidArgument."""
    account, on_behalf_of = (row.account, row.on_behalf_of) if row is not None else (OWN, "")
    if given.stripe_account is not UNSET:
        account = arguments.stripe_account("stripe_account", given.stripe_account)
    if given.on_behalf_of is not UNSET:
        on_behalf_of = arguments.stripe_account("on_behalf_of", given.on_behalf_of)
    if on_behalf_of and on_behalf_of == account:
        raise InvalidArgument(
            "on_behalf_of: this is stripe_account itself; give null, or the connected account of that platform"
        )
    return Merchant(Account(account), on_behalf_of)
