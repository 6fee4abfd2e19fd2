"""The outbox, the notifier's own events."""

from __future__ import annotations

from typing import Final

from services.notifier.models import OutboxEvent
from shared.outbox import Outbox

OUTBOX: Final = Outbox(OutboxEvent)
