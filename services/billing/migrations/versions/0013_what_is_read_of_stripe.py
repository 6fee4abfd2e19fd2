"""What is read of Stripe: how often, of which account, and which accounts there is cause to read

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stripe_reads",
        sa.Column("account", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("own_key", sa.Boolean(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "day", "own_key", name=op.f("pk_stripe_reads")),
    )
    op.create_index(op.f("ix_stripe_reads_day"), "stripe_reads", ["day"])
    op.add_column(
        "stripe_accounts", sa.Column("watched_until", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("stripe_accounts", "watched_until")
    op.drop_table("stripe_reads")
