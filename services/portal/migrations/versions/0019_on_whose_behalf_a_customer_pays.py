"""On whose behalf a customer of a platform's account pays: that of the customer's business

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


INDEX = "ix_businesses_account_on_behalf_of"


def upgrade() -> None:
    # Run again after it was cut off, it goes on where it was.
    if "on_behalf_of" not in {one["name"] for one in sa.inspect(op.get_bind()).get_columns("customers")}:
        op.add_column(
            "customers",
            sa.Column("on_behalf_of", sa.String(length=255), nullable=False, server_default=""),
        )
    create_index(INDEX, "businesses", ["account", "on_behalf_of"])


def downgrade() -> None:
    op.drop_index(INDEX, "businesses")
    op.drop_column("customers", "on_behalf_of")
