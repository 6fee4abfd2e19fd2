"""Alembic's entry to the history of billing's database."""

from services.billing.models import Base
from shared.migrations import run

run(Base.metadata)
