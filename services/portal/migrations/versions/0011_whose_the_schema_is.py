"""A mark that says whose the schema is: all services number their migrations alike

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schema_owner",
        sa.Column("service", sa.String(length=20), nullable=False),
        sa.CheckConstraint("service = 'portal'", name=op.f("ck_schema_owner_own")),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_schema_owner")),
    )
    op.execute("INSERT INTO schema_owner (service) VALUES ('portal')")


def downgrade() -> None:
    op.drop_table("schema_owner")
