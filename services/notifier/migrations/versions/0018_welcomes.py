"""Who is to be welcomed, and how fast

Two new tables, and an index of the emails that go out for them.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from shared.database import UtcDateTime
from shared.migrations import create_index
from shared.outbox import BigId

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INDEX = "ix_notifications_welcomes"
UNDER_WAY = sa.text("kind = 'welcome' AND status IN ('pending', 'sending')")
WAITING = sa.text("released_at IS NULL")


def upgrade() -> None:
    # Run again after it was cut off, it goes on where it was.
    known = sa.inspect(op.get_bind()).get_table_names()
    if "welcomes" not in known:
        op.create_table(
            "welcomes",
            sa.Column("welcome_id", BigId, primary_key=True, autoincrement=True),
            sa.Column("customer_id", sa.String(64), nullable=False),
            sa.Column("business_id", sa.String(100), nullable=False),
            sa.Column("timezone", sa.String(64)),
            sa.Column("asked_at", UtcDateTime(), nullable=False),
            sa.Column("released_at", UtcDateTime()),
            sa.Column("notification_id", sa.String(40)),
            sa.UniqueConstraint("customer_id", name="uq_welcomes_customer_id"),
        )
        op.create_index("ix_welcomes_business_id", "welcomes", ["business_id"])
        op.create_index(
            "ix_welcomes_waiting",
            "welcomes",
            ["business_id", "welcome_id", "timezone"],
            postgresql_where=WAITING,
            sqlite_where=WAITING,
        )
    if "welcome_runs" not in known:
        op.create_table(
            "welcome_runs",
            sa.Column("business_id", sa.String(100), primary_key=True),
            sa.Column("per_hour", sa.Integer(), nullable=False),
            sa.Column("asked_at", UtcDateTime(), nullable=False),
            sa.Column("due_at", UtcDateTime(), nullable=False),
            sa.Column("held", sa.String(40)),
            sa.Column("finished_at", UtcDateTime()),
        )
    create_index(
        INDEX,
        "notifications",
        ["business_id"],
        postgresql_where=UNDER_WAY,
        sqlite_where=UNDER_WAY,
    )


def downgrade() -> None:
    op.drop_index(INDEX, "notifications")
    op.drop_table("welcome_runs")
    op.drop_table("welcomes")
