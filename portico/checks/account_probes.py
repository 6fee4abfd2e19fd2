"""What `portico doctor` asks Stripe and the databases about the accounts beside the installation's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from portico.checks.accounts import MOST_NAMED, check_own_keys, check_reads, check_standing
from portico.checks.databases import opened
from portico.cli.findings import Finding
from services.billing.adapters.stripe.account import StripeAccount
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.queries import accounts, reads
from services.portal.queries import businesses
from services.portal.queries.businesses import ChargedAs
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import BillingError
from shared.database import DatabaseUnavailable, Transactions, make_engine


def look_at_accounts(billing: Any, portal: Any | None, account: str | None) -> Iterator[Finding]:
    """Reads, accounts on which nothing can be done, and keys of accounts; with `account` the key of that one alone. `billing` and `portal`
    are settings; without the portal's, what its database tells is left out."""
    if account is None:
        yield from _all_accounts(billing, portal)
    yield from _own_keys(billing, portal, account)


def _all_accounts(billing: Any, portal: Any | None) -> Iterator[Finding]:
    today = utc_now().date()

    def customers(named: list[Account]) -> dict[Account, int]:
        if others is None or not named:
            return {}
        with others.reading() as session:
            return businesses.customers_by_account(session, named)

    with (
        opened(billing, "billing") as database,
        nullcontext() if portal is None else opened(portal, "portal") as others,
    ):
        with database.reading() as session:
            connected = accounts.all_accounts(session)
            keyed = [one for one, _ in accounts.keyed_accounts(session)]
            pool = reads.pool_of(session, billing.stripe_read_pool, today)
            most = reads.most_read(session, today, MOST_NAMED // 4)
        yield from check_reads(pool, most, connected=bool(connected))
        yield from check_standing([*connected, *keyed], customers)


def _own_keys(billing: Any, portal: Any | None, account: str | None) -> Iterator[Finding]:
    keys = billing.stripe_accounts_file.keys if billing.stripe_accounts_file else {}
    gateways = StripeGateways(
        billing.stripe_api_key.reveal(),
        billing.stripe_api_base,
        lambda named: keys[named].key if named in keys else None,
    )
    engine = make_engine(portal.database_url.reveal()) if portal is not None else None

    def charged_as(named: Account) -> list[ChargedAs]:
        if engine is None:
            return []
        try:
            with Transactions(engine, "portal").reading() as session:
                return businesses.charged_as(session, named, MOST_NAMED)
        except (SQLAlchemyError, DatabaseUnavailable):
            return []  # away, or behind: the look at the database has told

    def own_id() -> str | None:
        try:
            return StripeAccount(gateways.at(OWN)).account_id()
        except BillingError:
            return None  # why, the look at the own account tells

    try:
        yield from check_own_keys(
            keys,
            own_id,
            lambda key: StripeAccount(gateways.at(key.account)),
            charged_as,
            account=account,
        )
    finally:
        gateways.close()
        if engine is not None:
            engine.dispose()
