"""Subscriptions that Stripe doesn't let a platform change

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "platform_refusals",
        sa.Column("account", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("subscription_id", sa.String(length=255), nullable=False),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=False),
        sa.Column("on_behalf_of", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("application", sa.String(length=255), nullable=True),
        sa.Column("payment_method_id", sa.String(length=255), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "subscription_id", name=op.f("pk_platform_refusals")),
    )
    op.create_index(
        op.f("ix_platform_refusals_stripe_customer_id"), "platform_refusals", ["stripe_customer_id"]
    )


def downgrade() -> None:
    op.drop_table("platform_refusals")
