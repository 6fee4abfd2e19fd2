"""What of the portal's tables grows old: the ids of events that were acted upon."""

from __future__ import annotations

from typing import Final

from services.portal.models import ProcessedEventRow
from shared.retention import Rule

RULES: Final = (Rule(ProcessedEventRow, lambda before: ProcessedEventRow.processed_at < before),)
