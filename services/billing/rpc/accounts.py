"""Entrypoints about the accounts beside the installation's own: which of them are served, and keeping up with that."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace
from nameko.extensions import DependencyProvider
from prometheus_client import Gauge

from services.billing.domain.accounts import Directory, KnownAccount
from services.billing.handlers import inbox
from services.billing.queries import reads
from services.billing.rpc.entrypoints import MOST_ROWS, BillingEntrypoints
from services.billing.rpc.errors import check_read
from services.billing.settings import Settings
from services.billing.workflows.accounts import AccountHolder
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.billing import StripeAccountPage, StripeAccountState, StripeReadPool
from shared.contracts.rpc.errors import InvalidArgument
from shared.nameko_ext.database import Database
from shared.nameko_ext.loops import loop
from shared.nameko_ext.rpc import rpc
from shared.telemetry import get_logger

log = get_logger(__name__)

MOST_NAME: Final = 255


FILE_REFUSED = Gauge(
    "portico_stripe_accounts_file_refused",
    "1 while STRIPE_ACCOUNTS_FILE is not taken as it is, and what was good in it last is used; else 0",
)


class Accounts(DependencyProvider):
    """Injects the process's `AccountHolder`: which accounts are served."""

    holder: AccountHolder

    def start(self) -> None:
        settings: Settings = self.container.config["settings"]
        database = next(each for each in self.container.dependencies if isinstance(each, Database))
        self.holder = AccountHolder(
            livemode=settings.livemode,
            database=database.transactions,
            file=settings.stripe_accounts_file,
        )

    def get_dependency(self, worker_ctx: Any) -> AccountHolder:
        return self.holder


class StripeAccounts(BillingEntrypoints):
    """Which accounts are served, for those who operate us and for the other services."""

    @rpc
    def stripe_account(self, account: str) -> StripeAccountState:
        """How a Stripe account stands to this installation, as this replica last saw it, a few seconds ago at most. Empty: the
        installation's own. One that nobody ever let us in is no error: it is not `served`."""
        if len(account) > MOST_NAME:
            raise InvalidArgument(f"account: expected at most {MOST_NAME} characters")
        return _state(_read(self.accounts), Account(account))

    @rpc
    def stripe_accounts(self, after: str | None = None, limit: int = 100) -> StripeAccountPage:
        """The Stripe accounts beside the installation's own, by their ids, in whatever state. `after`, the last one of a page, turns
        the page; `limit` is 1 to 500."""
        check_limit(limit, MOST_ROWS)
        directory = _read(self.accounts)
        rest = [one.account for one in directory if one.account > (after or "")]
        page, today = rest[:limit], utc_now().date()
        with self.database.reading() as session:
            counted = reads.reads_of(session, [OWN, *page], today)
            pool = reads.pool_of(session, self.settings.stripe_read_pool, today)
        states = [_state(directory, one) for one in page]
        return StripeAccountPage(
            accounts=[replace(one, reads=counted.get(Account(one.account), 0)) for one in states],
            has_more=len(rest) > limit,
            read_pool=StripeReadPool(size=pool.size, used=pool.used, own=counted.get(OWN, 0)),
        )

    @loop(poll=5.0)
    def refresh_accounts(self) -> bool:
        """See which accounts were connected or disconnected, by whatever process, and tell the others whose own key came or went."""
        now = utc_now()
        self.accounts.refresh(now)
        FILE_REFUSED.set(bool(self.accounts.problems))
        told = self.accounts.tell_own_keys(now)
        if told:
            log.info("told which accounts' own keys came or went", accounts=told)
            self.wake_relay()
        return False

    @loop(poll=30.0)
    def translate_again(self) -> bool:
        """What was stored of accounts before they were served, oldest first: a batch of one account a round."""
        with self.database.transaction() as session:
            told = inbox.translate_again(session, self.accounts.directory, utc_now())
        if told is None:
            return False
        self.wake_relay()
        log.info("stored webhooks translated again", account=told.account, events=told.events)
        return True


def _read(accounts: AccountHolder) -> Directory:
    directory = accounts.directory
    check_read(directory)
    return directory


def _state(directory: Directory, account: Account) -> StripeAccountState:
    known: KnownAccount | None = directory.known(account)
    refusal = directory.why_not_served(account)
    return StripeAccountState(
        account=account,
        way="own" if account == OWN else known.way.value if known else None,
        state=known.state.value if known else None,
        livemode=directory.livemode(account) if known or account == OWN else None,
        served=refusal is None,
        reason=refusal,
    )
