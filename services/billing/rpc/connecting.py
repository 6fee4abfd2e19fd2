"""billing's RPC methods by which accounts are connected and let go; mixed into the service."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from services.billing.adapters.stripe.oauth import StripeConnect
from services.billing.domain.accounts import ACCOUNT, Way
from services.billing.models import SpentCode
from services.billing.queries import accounts as queries
from services.billing.rpc.entrypoints import BillingEntrypoints
from services.billing.rpc.errors import wire_errors, within
from shared.clock import utc_now
from shared.contracts.accounts import Account
from shared.contracts.deadlines import STRIPE_AT_A_CALL
from shared.contracts.rpc.billing import ConnectedAccount, DisconnectedAccount
from shared.contracts.rpc.errors import AccountNotConnected, CodeRefused, InvalidArgument
from shared.nameko_ext.rpc import audited_rpc
from shared.statements import insert_new, table_of
from shared.telemetry import get_logger

log = get_logger(__name__)

CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")


class Connecting(BillingEntrypoints):
    """Connecting accounts by OAuth (docs/adr/0028-connecting-by-oauth.md)."""

    oauth: StripeConnect

    @audited_rpc()
    def connect_account(self, code: str) -> ConnectedAccount:
        """Spend the code that a business brought back from Stripe, and work on its account from now on.

        Once: the same code again is a CodeRefused, without a word to Stripe, which would take the connection away. After
        StripeUnavailable, or no answer, it is not known whether the account is connected: let the business begin again, never
        call again. InvalidArgument: this schema takes no second account yet; the text says what to run.
        """
        if not CODE.fullmatch(code):
            raise InvalidArgument("code: expected what Stripe gave")
        with wire_errors():
            self._remember(code)
            with within(STRIPE_AT_A_CALL):
                found = self.oauth.connect(code)
            with self.database.transaction() as session:
                fresh = queries.connect(
                    session, found.account, livemode=found.livemode, now=utc_now()
                )
        self._told()
        log.info("account connected", account=found.account, fresh=fresh)
        return ConnectedAccount(account=found.account, livemode=found.livemode, fresh=fresh)

    @audited_rpc("account")
    def disconnect_account(self, account: str) -> DisconnectedAccount:
        """Let an account go, here and at Stripe: from now on nothing is mailed or charged for it. What is stored stays. Safe to repeat.

        It is let go here first, and stays so whatever Stripe says: AccountControlled, StripeUnavailable and the like tell that Stripe
        still has the connection. AccountNotConnected: neither of the two knew of one.
        """
        if not ACCOUNT.fullmatch(account):
            raise InvalidArgument("account: expected acct_…")
        known = self.accounts.directory.known(Account(account))
        keyed = known is not None and known.way is Way.OWN_KEY
        if keyed and self.accounts.directory.why_not_served(Account(account)) is None:
            raise InvalidArgument(
                "account: it works with a key of its own: take it out of STRIPE_ACCOUNTS_FILE"
            )
        with wire_errors():
            with self.database.transaction() as session:
                fresh = queries.disconnect(session, Account(account), utc_now())
            self._told()
            log.info("account disconnected", account=account, fresh=fresh)
            try:
                with within(STRIPE_AT_A_CALL):
                    self.oauth.disconnect(Account(account))
            except AccountNotConnected:
                if not fresh and known is None:
                    raise
        return DisconnectedAccount(account=account, fresh=fresh)

    def _remember(self, code: str) -> None:
        """Note, for good, that a code is about to be spent: a call that the broker brings a second time finds it. Raises CodeRefused."""
        row = {"digest": hashlib.sha256(code.encode()).hexdigest(), "spent_at": utc_now()}
        with self.database.transaction() as session:
            queries.refuse_while_expanding(session)
            if not insert_new(
                session, table_of(SpentCode), [row], conflict=["digest"], returning="digest"
            ):
                raise CodeRefused

    def _told(self) -> None:
        self.accounts.refresh(utc_now())
        self.wake_relay()
