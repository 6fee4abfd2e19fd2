"""On whose behalf a platform charges: part of whose a Stripe object is (docs/adr/0029-on-whose-behalf.md)

Each statement is a transaction of its own, as in 0012, and on PostgreSQL none rewrites a table. Run again after it was cut off, it goes
on where it was.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = ("link_evidence", "link_conflicts", "invoices", "subscriptions", "method_changes")


def upgrade() -> None:
    there = sa.inspect(op.get_bind())
    known = {table: {one["name"] for one in there.get_columns(table)} for table in TABLES}
    with op.get_context().autocommit_block():
        for table in TABLES:
            if "on_behalf_of" not in known[table]:
                op.add_column(table, sa.Column("on_behalf_of", sa.String(255), nullable=False, server_default=""))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "on_behalf_of")
