"""The account of each Stripe object: part of its name (docs/adr/0025-an-account-is-part-of-a-name.md)

Each statement is a transaction of its own: a page that reads two of the tables would else meet the migration between them. On
PostgreSQL none rewrites a table. Run again after it was cut off, it goes on where it was.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = (
    "businesses",
    "customers",
    "invoices",
    "method_changes",
    "deleted_stripe_customers",
    "link_evidence",
    "waiting_links",
    "link_conflicts",
    "subscriptions",
    "cancellation_requests",
)


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    known = {table: {one["name"] for one in there.get_columns(table)} for table in TABLES}
    with op.get_context().autocommit_block():
        for table in TABLES:
            if "account" not in known[table]:
                op.add_column(table, _named("account"))
        if "on_behalf_of" not in known["businesses"]:
            op.add_column("businesses", _named("on_behalf_of"))


def downgrade() -> None:
    op.drop_column("businesses", "on_behalf_of")
    for table in reversed(TABLES):
        op.drop_column(table, "account")


def _named(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=255), nullable=False, server_default="")
