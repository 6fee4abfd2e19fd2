"""What customers did on the page, counted

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "visits",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("customer_id", sa.String(length=22), nullable=False),
        sa.Column("what", sa.String(length=30), nullable=False),
        sa.Column("bucket", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visits")),
        sa.UniqueConstraint(
            "customer_id", "what", "bucket", name=op.f("uq_visits_customer_id_what_bucket")
        ),
    )
    op.create_index(op.f("ix_visits_first_at"), "visits", ["first_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_visits_first_at"), "visits")
    op.drop_table("visits")
