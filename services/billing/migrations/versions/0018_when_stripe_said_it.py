"""When what Stripe last told of a connected account's state happened there: two words that come together, after a time in which our
endpoint could not be reached, count in the order in which they were true

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "stripe_accounts", sa.Column("said_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("stripe_accounts", "said_at")
