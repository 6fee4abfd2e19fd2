"""What a business's charges are called on a statement, the currency of its figures, and which new payment method Stripe did not
let us charge for an invoice

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("businesses", sa.Column("charged_as", sa.String(length=80), nullable=True))
    op.add_column("businesses", sa.Column("currency", sa.String(length=3), nullable=True))
    op.add_column("invoices", sa.Column("refused_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("invoices", "refused_since")
    op.drop_column("businesses", "currency")
    op.drop_column("businesses", "charged_as")
