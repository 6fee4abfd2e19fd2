"""Ends that only the business can plan, and subscriptions that keep their payment method

Revision ID: 0018
Revises: 0017
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

COLUMNS: dict[str, dict[str, Any]] = {
    "cancellation_requests": {
        "by_hand_at": sa.DateTime(timezone=True),
        "dashboard_url": sa.String(length=500),
        "by_hand_told_at": sa.DateTime(timezone=True),
        "by_hand_reminded_at": sa.DateTime(timezone=True),
    },
    "subscriptions": {
        "method_kept": sa.Boolean(),
        "method_kept_as_of": sa.DateTime(timezone=True),
    },
}


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    known = {table: {one["name"] for one in there.get_columns(table)} for table in COLUMNS}
    # A transaction a statement: a page that reads both tables would else meet the migration between them.
    with op.get_context().autocommit_block():
        for table, columns in COLUMNS.items():
            for name, kind in columns.items():
                if name not in known[table]:
                    op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
