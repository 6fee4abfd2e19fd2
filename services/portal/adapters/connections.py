"""Billing over RPC, as it connects accounts and lets them go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from services.portal.adapters.failures import FAILURES
from services.portal.domain.connecting import Outcome
from shared.contracts.accounts import Account
from shared.contracts.rpc import billing
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.errors import (
    AccountNotConnected,
    AccountOfOtherMode,
    CodeRefused,
    ConnectNotSetUp,
    InvalidArgument,
    RemoteFault,
    RpcError,
    StripeRefused,
)
from shared.telemetry import get_logger

log = get_logger(__name__)

MEANINGS: Final[tuple[tuple[type[RpcError], Outcome], ...]] = (
    (CodeRefused, Outcome.REFUSED),
    (AccountOfOtherMode, Outcome.OTHER_MODE),
    (ConnectNotSetUp, Outcome.NOT_READY),
    (InvalidArgument, Outcome.NOT_READY),
    (StripeRefused, Outcome.NOT_READY),
)


@dataclass(frozen=True, slots=True)
class Connected:
    """An account that billing works on now. `fresh`: it did not before."""

    account: Account
    fresh: bool


class RpcConnections:
    """Billing, asked once: a code must never be sent again."""

    def __init__(self, proxy: Any) -> None:
        self._billing = proxy

    def connect(self, code: str) -> Connected | Outcome:
        """What a code stands for, or why that is not known."""
        try:
            told = billing.CONNECT_ACCOUNT.call(self._billing, code=code)
        except (*FAILURES, UnreadableAnswer) as error:
            outcome = _meaning(error)
            say = log.error if outcome is Outcome.NOT_READY else log.warning
            say("account not connected", error=type(error).__name__, reason=_said(error))
            return outcome
        return Connected(Account(told.account), told.fresh)

    def let_go(self, account: Account) -> bool:
        """Disconnect an account; False: it may be connected still."""
        try:
            billing.DISCONNECT_ACCOUNT.call(self._billing, account=account)
        except (*FAILURES, UnreadableAnswer) as error:
            return isinstance(error, RemoteFault) and error.means(AccountNotConnected)
        return True


def _meaning(error: Exception) -> Outcome:
    if isinstance(error, RemoteFault):
        for kind, outcome in MEANINGS:
            if error.means(kind):
                return outcome
    return Outcome.UNAVAILABLE


def _said(error: Exception) -> str:
    return error.message if isinstance(error, RemoteFault) else str(error)
