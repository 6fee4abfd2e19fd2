"""How much of an invoice is on its way from a bank

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("under_way_amount", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("invoices", "under_way_amount")
