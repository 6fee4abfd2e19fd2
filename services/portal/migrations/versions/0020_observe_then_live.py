"""Which businesses observe, and since when they are live

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Run again after it was cut off, it goes on where it was.
    known = {one["name"] for one in sa.inspect(op.get_bind()).get_columns("businesses")}
    mode = sa.Column("mode", sa.String(length=10), nullable=False, server_default="live")
    for column in (mode, sa.Column("live_since", sa.DateTime(timezone=True), nullable=True)):
        if column.name not in known:
            op.add_column("businesses", column)


def downgrade() -> None:
    op.drop_column("businesses", "live_since")
    op.drop_column("businesses", "mode")
