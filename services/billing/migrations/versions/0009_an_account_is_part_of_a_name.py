"""The account of each Stripe object: part of its name (docs/adr/0025-an-account-is-part-of-a-name.md)

Each statement is a transaction of its own: a page that reads two of the tables would else meet the migration between them. On
PostgreSQL none rewrites a table. Run again after it was cut off, it goes on where it was.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    "recovery_leases",
    "payment_method_changes",
    "payment_method_change_events",
    "payment_tries",
    "recovery_runs",
    "recoveries",
    "portal_configurations",
    "portal_permissions",
    "reconciliations",
)


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    known = {table: {one["name"] for one in there.get_columns(table)} for table in TABLES}
    with op.get_context().autocommit_block():
        for table in TABLES:
            if "account" not in known[table]:
                op.add_column(table, _named("account"))
        if not there.has_table("stripe_accounts"):
            op.create_table(
                "stripe_accounts",
                sa.Column("account", sa.String(length=255), nullable=False),
                sa.Column("state", sa.String(length=20), nullable=False),
                sa.Column("livemode", sa.Boolean(), nullable=False),
                sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
                sa.PrimaryKeyConstraint("account", name=op.f("pk_stripe_accounts")),
            )


def downgrade() -> None:
    op.drop_table("stripe_accounts")
    for table in reversed(TABLES):
        op.drop_column(table, "account")


def _named(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=255), nullable=False, server_default="")
