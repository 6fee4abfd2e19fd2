"""Injects the looks of this process that are not written yet."""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider

from services.portal.domain.looks import WaitingLooks


class VisitLog(DependencyProvider):
    """Injects the process's `WaitingLooks`."""

    def setup(self) -> None:
        self.looks = WaitingLooks()

    def get_dependency(self, worker_ctx: Any) -> WaitingLooks:
        return self.looks
