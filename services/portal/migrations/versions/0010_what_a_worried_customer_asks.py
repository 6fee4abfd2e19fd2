"""What an invoice is for; a business's own sender address, and its word on the service while something is owed

Revision ID: 0010
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("businesses", sa.Column("sender_email", sa.String(320), nullable=True))
    op.add_column("businesses", sa.Column("service_note", sa.String(200), nullable=True))
    op.add_column("invoices", sa.Column("purpose", sa.String(120), nullable=True))
    # A default at the server: a replica of the release before inserts rows without it.
    op.add_column("invoices", sa.Column("purpose_more", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in ("purpose", "purpose_more"):
        op.drop_column("invoices", name)
    for name in ("sender_email", "service_note"):
        op.drop_column("businesses", name)
