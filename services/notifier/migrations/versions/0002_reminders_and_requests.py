"""Reminders that wait, and emails that others ask for

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENTS = ("occurred_at", "ready_at", "finished_at")


def upgrade() -> None:
    for name in MOMENTS:
        op.add_column("notifications", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("notifications", sa.Column("context", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("notifications") as table:
        for name in (*MOMENTS, "context"):
            table.drop_column(name)
