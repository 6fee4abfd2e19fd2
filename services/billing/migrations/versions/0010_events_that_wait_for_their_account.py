"""What is stored of accounts that are not served: found by account, once one is

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

WAITS = sa.text("status = 'connected'")


def upgrade() -> None:
    create_index(
        "ix_inbox_connected",
        "inbox",
        ["account", "received_at"],
        postgresql_where=WAITS,
        sqlite_where=WAITS,
    )


def downgrade() -> None:
    op.drop_index("ix_inbox_connected", "inbox")
