"""Injects what this process remembers of the pages that it has shown, until it is written or asked about."""

from __future__ import annotations

from typing import Any

from services.portal.domain.activity import ActivityBuffer
from services.portal.domain.subscribed import ShownSubscriptions
from shared.nameko_ext.container import SharedProvider


class ActivityLog(SharedProvider):
    """Injects the process's `WaitingLooks`."""

    def setup(self) -> None:
        self.looks = ActivityBuffer()

    def get_dependency(self, worker_ctx: Any) -> ActivityBuffer:
        return self.looks


class ShownLog(SharedProvider):
    """Injects the process's `ShownSubscriptions`."""

    def setup(self) -> None:
        self.shown = ShownSubscriptions()

    def get_dependency(self, worker_ctx: Any) -> ShownSubscriptions:
        return self.shown
