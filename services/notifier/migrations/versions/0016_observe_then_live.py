"""What was observed instead of sent, and what a person accepted of it, or asked hosts to be told once more

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

INDEX = "ix_notifications_observed"
OBSERVED = sa.text("status = 'observed'")


def upgrade() -> None:
    # Run again after it was cut off, it goes on where it was.
    for table, column in (
        ("notifications", sa.Column("business_id", sa.String(length=100), nullable=True)),
        ("notifications", sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True)),
        ("hook_deliveries", sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True)),
    ):
        known = {one["name"] for one in sa.inspect(op.get_bind()).get_columns(table)}
        if column.name not in known:
            op.add_column(table, column)
    create_index(
        INDEX,
        "notifications",
        ["business_id", "finished_at", "notification_id"],
        postgresql_where=OBSERVED,
        sqlite_where=OBSERVED,
    )


def downgrade() -> None:
    op.drop_index(INDEX, "notifications")
    op.drop_column("hook_deliveries", "replayed_at")
    op.drop_column("notifications", "accepted_at")
    op.drop_column("notifications", "business_id")
