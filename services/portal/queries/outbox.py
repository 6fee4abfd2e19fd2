"""The outbox, the portal's own events."""

from __future__ import annotations

from typing import Final

from services.portal.models import OutboxEvent
from shared.outbox import Outbox

OUTBOX: Final = Outbox(OutboxEvent)
