"""Customers who are enrolled from Stripe: what Stripe tells of its customers, what people decided, links of merged pages

Run again after it was cut off, it goes on where it was.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
BY_EMAIL = ("stripe_profiles", "customers")


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    if "enrolment" not in {one["name"] for one in there.get_columns("businesses")}:
        op.add_column(
            "businesses",
            sa.Column("enrolment", sa.String(20), nullable=False, server_default="by_host"),
        )
    if "enrolled_at" not in {one["name"] for one in there.get_columns("customers")}:
        op.add_column("customers", sa.Column("enrolled_at", MOMENT, nullable=True))
    op.create_table(
        "customer_aliases",
        sa.Column("public_id", sa.String(22), nullable=False),
        sa.Column("customer_pk", KEY, nullable=False),
        sa.Column("link_generation", sa.BigInteger(), nullable=False),
        sa.Column("customer_generation", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_pk"],
            ["customers.id"],
            name=op.f("fk_customer_aliases_customer_pk_customers"),
        ),
        sa.PrimaryKeyConstraint("public_id", name=op.f("pk_customer_aliases")),
        if_not_exists=True,
    )
    op.create_table(
        "stripe_profiles",
        sa.Column("account", sa.String(255), nullable=False, server_default=""),
        sa.Column("stripe_customer_id", sa.String(255), nullable=False),
        sa.Column("on_behalf_of", sa.String(255), nullable=False, server_default=""),
        sa.Column("email", sa.String(320), nullable=True),
        sa.Column("name", sa.String(200), nullable=True),
        sa.Column("locale", sa.String(35), nullable=True),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("firm", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("pays", sa.String(20), nullable=True),
        sa.Column("pays_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint(
            "account", "stripe_customer_id", "on_behalf_of", name=op.f("pk_stripe_profiles")
        ),
        if_not_exists=True,
    )
    op.create_table(
        "link_proposals",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account", sa.String(255), nullable=False, server_default=""),
        sa.Column("on_behalf_of", sa.String(255), nullable=False, server_default=""),
        sa.Column("stripe_customer_id", sa.String(255), nullable=False),
        sa.Column("customer_id", sa.String(22), nullable=False),
        sa.Column("why", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_proposals")),
        sa.UniqueConstraint(
            "account",
            "stripe_customer_id",
            "customer_id",
            name=op.f("uq_link_proposals_account_stripe_customer_id_customer_id"),
        ),
        if_not_exists=True,
    )
    create_index("ix_customer_aliases_customer_pk", "customer_aliases", ["customer_pk"])
    create_index("ix_link_proposals_customer_id", "link_proposals", ["customer_id"])
    if op.get_context().dialect.name == "postgresql":
        for table in BY_EMAIL:
            create_index(f"ix_{table}_account_email", table, ["account", sa.text("lower(email)")])


def downgrade() -> None:
    # The release before reads no such source: whoever was enrolled stays who they are.
    op.execute("UPDATE link_evidence SET source = 'unknown' WHERE source = 'enrolled'")
    op.execute("UPDATE customers SET link_source = 'unknown' WHERE link_source = 'enrolled'")
    if op.get_context().dialect.name == "postgresql":
        op.drop_index("ix_customers_account_email", "customers")
    op.drop_table("link_proposals")
    op.drop_table("stripe_profiles")
    op.drop_table("customer_aliases")
    op.drop_column("customers", "enrolled_at")
    op.drop_column("businesses", "enrolment")
