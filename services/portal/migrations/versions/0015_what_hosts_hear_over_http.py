"""Events that host applications list over HTTP, and finding what failed by when it did

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
UNPLACED = sa.text("position IS NULL")
FAILED = sa.text("first_failed_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "host_events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("noted_at", MOMENT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("business_pk", KEY, nullable=True),
        sa.Column("customer_id", sa.String(22), nullable=True),
        sa.Column("stripe_customer_id", sa.String(255), nullable=True),
        sa.Column("invoice_id", sa.String(255), nullable=True),
        sa.Column("subscription_id", sa.String(255), nullable=True),
        sa.Column("account", sa.String(255), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["business_pk"], ["businesses.id"], name=op.f("fk_host_events_business_pk_businesses")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host_events")),
    )
    op.create_index(
        op.f("ix_host_events_business_pk_position"), "host_events", ["business_pk", "position"]
    )
    op.create_index(op.f("ix_host_events_customer_id"), "host_events", ["customer_id"])
    op.create_index(op.f("ix_host_events_stripe_customer_id"), "host_events", ["stripe_customer_id"])
    op.create_index(op.f("ix_host_events_position"), "host_events", ["position"], unique=True)
    op.create_index(
        "ix_host_events_unplaced", "host_events", ["id"],
        postgresql_where=UNPLACED, sqlite_where=UNPLACED,
    )  # fmt: skip
    create_index(
        "ix_invoices_first_failed_at", "invoices", ["first_failed_at", "invoice_id"],
        postgresql_where=FAILED, sqlite_where=FAILED,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_invoices_first_failed_at", table_name="invoices")
    op.drop_table("host_events")
