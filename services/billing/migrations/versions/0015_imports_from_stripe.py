"""Imports from Stripe: how far each account's has come, and what is worth telling of the customers that it met

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stripe_imports",
        sa.Column("account", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("cursor", sa.String(length=255), nullable=True),
        sa.Column("customers", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("subscriptions", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("invoices", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("events", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("reads", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_stripe_imports")),
    )
    op.create_table(
        "stripe_import_customers",
        sa.Column("account", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=False),
        sa.Column("email_digest", sa.String(length=32), nullable=True),
        sa.Column("findings", sa.String(length=100), nullable=True),
        sa.Column("met_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "stripe_customer_id", name=op.f("pk_stripe_import_customers")
        ),
    )
    op.create_index(
        op.f("ix_stripe_import_customers_account"),
        "stripe_import_customers",
        ["account", "email_digest"],
    )


def downgrade() -> None:
    op.drop_table("stripe_import_customers")
    op.drop_table("stripe_imports")
