"""A quarantined event that a person has closed: when, why, and who

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INBOX = sa.table("inbox", sa.column("status"))


def upgrade() -> None:
    op.add_column("inbox", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("inbox", sa.Column("closed_reason", sa.Text(), nullable=True))
    op.add_column("inbox", sa.Column("closed_by", sa.String(length=100), nullable=True))


def downgrade() -> None:
    op.execute(INBOX.update().where(INBOX.c.status == "closed").values(status="quarantined"))
    for name in ("closed_by", "closed_reason", "closed_at"):
        op.drop_column("inbox", name)
