"""When the customers of a business are reminded

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("businesses", sa.Column("reminder_policy", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("businesses") as table:
        table.drop_column("reminder_policy")
