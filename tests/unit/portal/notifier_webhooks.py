"""The notifier's webhook endpoints as the portal has them over RPC: the notifier's own methods, on tables in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.notifier.domain.hook_signing import Signer
from services.notifier.handlers.hooks import HookRules
from services.notifier.models import Base
from services.notifier.rpc.hooks import Hooks
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import RemoteFault, RpcError
from shared.nameko_ext.rpc import argument_checker
from tests.unit import tables

KEY = "h" * 32


class NotifierWebhooks:
    """A proxy of it. `calls`: what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.notifier: Any = Hooks()
        self.db = self.notifier.db = tables.empty(Base.metadata)
        self.notifier.hooks = SimpleNamespace(rules=HookRules(Signer([KEY])), there=True)
        self.notifier.wake_hooks = lambda: None

    def __contains__(self, name: str) -> bool:
        return "webhook" in name

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """As over the wire. Raises RemoteFault."""
        self.calls.append((name, arguments))
        method = getattr(self.notifier, name)
        try:
            given = argument_checker(getattr(Hooks, name))((), arguments)
            return plain(method(**given))
        except RpcError as error:
            raise RemoteFault(type(error).__name__, str(error)) from None
