"""Alembic's environment for the portal's tables; `shared.migrations.upgrade` runs it."""

from services.portal.models import Base
from shared.migrations import run

run(Base.metadata)
