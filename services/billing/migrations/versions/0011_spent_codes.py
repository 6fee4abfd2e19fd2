"""Codes of Stripe's OAuth that were spent

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spent_codes",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent_codes")),
    )
    op.create_index(op.f("ix_spent_codes_spent_at"), "spent_codes", ["spent_at"])


def downgrade() -> None:
    op.drop_table("spent_codes")
