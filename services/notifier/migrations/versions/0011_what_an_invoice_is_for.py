"""what an invoice is for"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("purpose", sa.String(120), nullable=True))
    # A default at the server: a replica of the release before inserts rows without it.
    op.add_column("incidents", sa.Column("purpose_more", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in ("purpose", "purpose_more"):
        op.drop_column("incidents", name)
