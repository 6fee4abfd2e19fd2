"""Injects what this process remembers of the pages that it has shown, until it is written or asked about."""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider

from services.portal.domain.activity import ActivityBuffer
from services.portal.domain.subscribed import ShownSubscriptions


class ActivityLog(DependencyProvider):
    """Injects the process's `ActivityBuffer`."""

    def setup(self) -> None:
        self.looks = ActivityBuffer()

    def get_dependency(self, worker_ctx: Any) -> ActivityBuffer:
        return self.looks


class ShownLog(DependencyProvider):
    """Injects the process's `ShownSubscriptions`."""

    def setup(self) -> None:
        self.shown = ShownSubscriptions()

    def get_dependency(self, worker_ctx: Any) -> ShownSubscriptions:
        return self.shown
