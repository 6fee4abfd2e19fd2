"""What a service has once a process, injected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nameko.extensions import DependencyProvider


class OfProcess(DependencyProvider):
    """Injects one thing, the same into every worker of the process: what `make` makes of the service's settings when it starts."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def setup(self) -> None:
        self.made = self._make(self.container.config["settings"])

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self.made
