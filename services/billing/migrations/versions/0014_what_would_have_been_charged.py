"""What would have been charged for businesses that observe

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "ix_payment_tries_observed"
OBSERVED = sa.text("outcome = 'observed'")


def upgrade() -> None:
    create_index(INDEX, "payment_tries", ["at"], postgresql_where=OBSERVED, sqlite_where=OBSERVED)
    op.add_column("payment_tries", sa.Column("amount", sa.BigInteger(), nullable=True))
    op.add_column("payment_tries", sa.Column("currency", sa.String(length=3), nullable=True))
    op.add_column("payment_tries", sa.Column("on_behalf_of", sa.String(length=255), nullable=True))


def downgrade() -> None:
    op.drop_index(INDEX, table_name="payment_tries")
    for column in ("on_behalf_of", "currency", "amount"):
        op.drop_column("payment_tries", column)
