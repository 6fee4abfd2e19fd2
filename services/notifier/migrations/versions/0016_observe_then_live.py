"""What was observed instead of sent, and what a person accepted of it

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
    known = {one["name"] for one in sa.inspect(op.get_bind()).get_columns("notifications")}
    business = sa.Column("business_id", sa.String(length=100), nullable=True)
    for column in (business, sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True)):
        if column.name not in known:
            op.add_column("notifications", column)
    create_index(
        INDEX,
        "notifications",
        ["business_id", "finished_at", "notification_id"],
        postgresql_where=OBSERVED,
        sqlite_where=OBSERVED,
    )


def downgrade() -> None:
    op.drop_index(INDEX, "notifications")
    op.drop_column("notifications", "accepted_at")
    op.drop_column("notifications", "business_id")
