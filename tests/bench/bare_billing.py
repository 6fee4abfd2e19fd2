"""Billing without its relay: for the comparison with services that have none. Everything else is billing as it ships."""

from __future__ import annotations

import shared.nameko_ext.green  # noqa: F401  (patches first)

import sys  # isort: skip
from collections.abc import Callable  # isort: skip
from typing import Any  # isort: skip

from nameko.extensions import DependencyProvider  # isort: skip

from services.billing.service import BillingService  # isort: skip
from services.billing.settings import load  # isort: skip
from shared.nameko_ext.database import Database  # isort: skip
from shared.nameko_ext.runtime import command_line  # isort: skip


class NoWaker(DependencyProvider):
    """Wakes nobody."""

    def get_dependency(self, worker_ctx: Any) -> Callable[[], None]:
        return lambda: None


class BareBilling(BillingService):
    """Takes webhooks; publishes, consumes and reconciles nothing."""

    name = "bare"
    database = Database(schema_of="billing")
    wake_relay = NoWaker()
    relay = None
    measure = None
    reconcile_by_itself = None
    on_event = None


if __name__ == "__main__":
    sys.exit(command_line(BareBilling, load))
