"""What billing's entrypoints share: the things that are injected, and how much may be asked for at once."""

from __future__ import annotations

from typing import Final

from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.settings import Settings
from services.billing.workflows.accounts import AccountHolder
from shared.nameko_ext.database import Database
from shared.nameko_ext.loops import Waker
from shared.nameko_ext.rpc import RpcClient
from shared.outbox import Publisher

MOST_ROWS: Final = 500


class BillingEntrypoints:
    """Base of billing's entrypoints. The service, which mixes them together, injects what is declared here."""

    database: Database
    gateways: StripeGateways
    accounts: AccountHolder
    settings: Settings
    portal: RpcClient
    publisher: Publisher
    wake_relay: Waker
