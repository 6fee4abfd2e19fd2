"""Alembic's environment for the notifier's tables; `shared.migrations.upgrade` runs it."""

from services.notifier.models import Base
from shared.migrations import run

run(Base.metadata)
